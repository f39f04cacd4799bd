"""The hits of the columns as the page shows them: texts cut and marked, ranks compared across the columns. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pinyon.console.page_weight import address_bytes, first_within, html_bytes, within
from pinyon.console.search import bars
from pinyon.console.search.bars import Bar
from pinyon.console.search.columns import Column
from pinyon.console.search.marking import Piece, QueryWords
from pinyon.domain import Match

CARD_BYTES, MARK_BYTES = 1_500, len("<mark></mark>")
"""What a hit takes on a page without its links, fields and text, and what a marked word takes beside its letters."""
BEGINNING = 320
"""Characters of a text that are shown without opening it."""
MOST_FIELDS, VALUE_CHARACTERS, NAME_CHARACTERS = 6, 60, 40
"""How much of the other fields of a hit is shown."""


class Place(msgspec.Struct, frozen=True):
    """Where a hit is in another column. place: of the column, from 0. rank: None if it is not among its hits."""

    column: str
    place: int
    rank: int | None


class Card(msgspec.Struct, frozen=True):
    """A hit.

    number: the same in every column for the same record. compared: whether there is a column before that answered.
    moved: how many ranks it is higher than in that column; None if it is not there. beginning, rest: its text in
    pieces. cut: characters that are not shown. fields: names and values. more_fields: how many others it has.
    linked: whether there is room for links with its id.
    """

    number: int
    id: str
    rank: int
    score: float
    compared: bool
    moved: int | None
    elsewhere: list[Place]
    beginning: list[Piece]
    rest: list[Piece]
    cut: int
    fields: list[tuple[str, str]]
    more_fields: int
    linked: bool
    bars: list[Bar]


def of_columns(
    columns: Sequence[Column],
    words: QueryWords | None,
    text_field: str | None,
    fields: Sequence[str] | None,
    namespace: str,
    room: int,
) -> list[list[Card]]:
    """The cards of each column, best first. words: what is marked; None for nothing. text_field: shown as the text.

    fields: which fields are shown; None for all. namespace: of the hits. room: bytes that all cards may take together.
    """
    hits = [column.result.hits if column.result else [] for column in columns]
    ranks = [{hit.id: rank for rank, hit in enumerate(of_column, start=1)} for of_column in hits]
    numbers = {id: number for number, id in enumerate(dict.fromkeys(hit.id for each in hits for hit in each))}
    texts = _Texts(words, text_field, fields, namespace, room // max(1, sum(map(len, hits))) - CARD_BYTES)
    cards: list[list[Card]] = []
    for place, of_column in enumerate(hits):
        best = max((hit.metadata["_explain"]["score"] for hit in of_column), default=0.0)
        cards.append([])
        for rank, hit in enumerate(of_column, start=1):
            before = ranks[place - 1].get(hit.id) if place else None
            others = [
                Place(column.name, other, ranks[other].get(hit.id))
                for other, column in enumerate(columns)
                if other != place and column.result is not None
            ]
            explained = hit.metadata["_explain"]
            shown = texts.of(hit)
            cards[-1].append(
                Card(
                    numbers[hit.id],
                    hit.id,
                    rank,
                    hit.score,
                    place > 0 and columns[place - 1].result is not None,
                    None if before is None else before - rank,
                    others,
                    *shown,
                    bars.of_hit(explained, best),
                )
            )
    return cards


Shown = tuple[list[Piece], list[Piece], int, list[tuple[str, str]], int, bool]


class _Texts:
    """Cuts and marks the text of each record once, however many columns show it."""

    def __init__(
        self,
        words: QueryWords | None,
        text_field: str | None,
        fields: Sequence[str] | None,
        namespace: str,
        room: int,
    ) -> None:
        self._words, self._text_field, self._fields = words, text_field, fields
        self._namespace_bytes, self._room = address_bytes(namespace), room
        self._known: dict[str, Shown] = {}

    def of(self, hit: Match) -> Shown:
        """What its card shows: beginning, rest, cut, fields, more_fields and linked."""
        if hit.id not in self._known:
            self._known[hit.id] = self._shown(hit.id, hit.metadata)
        return self._known[hit.id]

    def _shown(self, id: str, metadata: Mapping[str, Any]) -> Shown:
        room = self._room
        links = self._namespace_bytes + address_bytes(id) + 3 * html_bytes(id)
        linked = links <= room // 2
        room -= links if linked else 0
        chosen = {
            name: value
            for name, value in metadata.items()
            if name != "_explain" and (self._fields is None or "*" in self._fields or name in self._fields)
        }
        text = chosen.pop(self._text_field, "") if self._text_field else ""
        text = text if isinstance(text, str) else str(text)
        others = [(_short(name, NAME_CHARACTERS), _short(_words(value))) for name, value in chosen.items()]
        fields = first_within(others[:MOST_FIELDS], room // 3, _field_bytes)
        room -= sum(map(_field_bytes, fields))
        kept = within(text, room * 3 // 4)
        beginning, rest = kept[:BEGINNING], kept[BEGINNING:]
        if rest and (end := beginning.rfind(" ") + 1) > BEGINNING // 2:  # no word is split
            beginning, rest = kept[:end], kept[end:]
        most = room // 4 // MARK_BYTES
        marked = self._marked(beginning, most)
        more = self._marked(rest, most - sum(is_word for _, is_word in marked))
        return marked, more, len(text) - len(kept), fields, len(others) - len(fields), linked

    def _marked(self, text: str, most: int) -> list[Piece]:
        """The text in pieces, with at most so many marked words."""
        pieces = [(text, False)] if self._words is None else self._words.pieces(text)
        places = [place for place, (_, is_word) in enumerate(pieces) if is_word]
        end = len(pieces) if len(places) <= most else places[most]
        rest = "".join(piece for piece, _ in pieces[end:])
        return [piece for piece in (*pieces[:end], (rest, False)) if piece[0]]


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value[:20]))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _field_bytes(pair: tuple[str, str]) -> int:
    """What a field takes on the page."""
    return html_bytes("".join(pair)) + len('<div><dt></dt><dd dir="auto"></dd></div>')


def _short(text: str, most: int = VALUE_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
