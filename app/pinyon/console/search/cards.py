"""The hits of the columns as the page shows them: texts cut and marked, ranks compared across the columns. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import msgspec

from pinyon.console.search import bars
from pinyon.console.search.bars import Bar
from pinyon.console.search.columns import Column
from pinyon.console.search.marking import Piece, QueryWords
from pinyon.domain import Match

TEXT_BYTES = 40_000
"""Bytes of HTML that the texts of all hits of a page may have together."""
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
    bars: list[Bar]


def of_columns(
    columns: Sequence[Column], words: QueryWords | None, text_field: str | None, fields: Sequence[str] | None
) -> list[list[Card]]:
    """The cards of each column, best first. words: what is marked; None for nothing. text_field: shown as the text.

    fields: which fields are shown; None for all.
    """
    hits = [column.result.hits if column.result else [] for column in columns]
    ranks = [{hit.id: rank for rank, hit in enumerate(of_column, start=1)} for of_column in hits]
    numbers = {id: number for number, id in enumerate(dict.fromkeys(hit.id for each in hits for hit in each))}
    budget = TEXT_BYTES // max(1, sum(map(len, hits)))
    texts = _Texts(words, text_field, fields, budget)
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


Shown = tuple[list[Piece], list[Piece], int, list[tuple[str, str]], int]


class _Texts:
    """Cuts and marks the text of each record once, however many columns show it."""

    def __init__(
        self, words: QueryWords | None, text_field: str | None, fields: Sequence[str] | None, budget: int
    ) -> None:
        self._words, self._text_field, self._fields, self._budget = words, text_field, fields, budget
        self._known: dict[str, Shown] = {}

    def of(self, hit: Match) -> Shown:
        """The beginning of the text, the rest, how much was cut, the other fields, and how many more there are."""
        if hit.id not in self._known:
            self._known[hit.id] = self._shown(hit.metadata)
        return self._known[hit.id]

    def _shown(self, metadata: Mapping[str, Any]) -> Shown:
        chosen = {
            name: value
            for name, value in metadata.items()
            if name != "_explain" and (self._fields is None or "*" in self._fields or name in self._fields)
        }
        text = chosen.pop(self._text_field, "") if self._text_field else ""
        text = text if isinstance(text, str) else str(text)
        kept = within(text, self._budget)
        beginning, rest = kept[:BEGINNING], kept[BEGINNING:]
        if rest and (end := beginning.rfind(" ") + 1) > BEGINNING // 2:  # no word is split
            beginning, rest = kept[:end], kept[end:]
        others = list(chosen.items())
        fields = [(_short(name, NAME_CHARACTERS), _short(_words(value))) for name, value in others[:MOST_FIELDS]]
        return self._marked(beginning), self._marked(rest), len(text) - len(kept), fields, len(others) - len(fields)

    def _marked(self, text: str) -> list[Piece]:
        if not text:
            return []
        return [(text, False)] if self._words is None else self._words.pieces(text)


def within(text: str, size: int) -> str:
    """The beginning of a text that takes at most so many bytes as HTML."""
    text = text[:size]
    while len(escape(text).encode()) > size:
        text = text[: len(text) * 3 // 4]
    return text


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value[:20]))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(text: str, most: int = VALUE_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
