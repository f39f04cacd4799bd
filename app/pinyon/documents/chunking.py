"""Splits the blocks of a document into chunks that a model reads whole.

A heading begins a new chunk and stays with what follows it. A block that fits is never split. A longer one is split at
the ends of its lines if it is code, a list or a table, then of sentences, then of words. Each chunk of a table begins
with the table's header.

Tokens are counted by the model's own tokenizer, many texts in one call. The tokens of two texts together are nearly the
sum of both. So pieces are put together by sums, every chunk is then counted as it is, and a chunk that is too long is
split once more.
"""

from collections.abc import Callable, Sequence
from itertools import takewhile

import msgspec

from pinyon.documents.blocks import Block, Kind
from pinyon.documents.splitting import LINE, OF_LINES, OF_PROSE, WORD, halves, split_at

CountTokens = Callable[[Sequence[str]], list[int]]
"""Tokens of each text as a model reads it, with everything that the model adds."""
BETWEEN_BLOCKS = "\n\n"
BETWEEN_HEADINGS = " > "
FEWEST_TOKENS = 32
"""The smallest limit of a chunk. A single character may have 18 tokens."""
MOST_BYTES = 16_000
"""The largest chunk as UTF-8. A tokenizer may take a word of any length for one token, so tokens do not bound it."""


PROSE: tuple[Kind, ...] = ("paragraph", "list")
"""Blocks that the next chunk may repeat the end of."""


class Chunk(msgspec.Struct, frozen=True):
    """A part of a document.

    heading: the headings above it, the outermost first, joined by " > ". page: where it begins, from 1; None if the
    document has no pages.
    """

    text: str
    heading: str = ""
    page: int | None = None


class _Piece(msgspec.Struct, frozen=True):
    """Text that stays together in one chunk.

    section: its number. joint: what stands between it and the piece before it, if both are in one chunk. header: of its
    table, if other rows come before it. tokens: of the text, and header_tokens of the header, without what the model
    adds to every text. splits: how often the block was split to get it.
    """

    text: str
    section: int
    kind: Kind
    page: int | None
    joint: str = BETWEEN_BLOCKS
    header: str = ""
    header_tokens: int = 0
    tokens: int = 0
    splits: int = 0


_Group = list[_Piece]
"""The pieces of one chunk, all of one section."""


class Chunker:
    """Splits documents.

    count: of the model's tokenizer. max_tokens: of a chunk, at least FEWEST_TOKENS. overlap: tokens that a chunk
    repeats at most of the one before it in the same section, fewer than half of max_tokens. Code and tables are not
    repeated. Raises ValueError if the numbers are out of range.
    """

    def __init__(self, count: CountTokens, max_tokens: int, overlap: int = 0) -> None:
        if max_tokens < FEWEST_TOKENS:
            raise ValueError(f"a chunk must have room for {FEWEST_TOKENS} tokens or more, got {max_tokens}")
        if not 0 <= overlap < max_tokens / 2:
            raise ValueError(f"the overlap must be at least 0 and less than half of {max_tokens} tokens, got {overlap}")
        self._count, self._overlap = count, overlap
        one, two = count(["a", "a a"])
        self._added = max(2 * one - two, 0)
        self._room = max_tokens - self._added

    def chunks(self, blocks: Sequence[Block]) -> list[Chunk]:
        """The chunks in the order of the blocks. No text is lost, and none has more than max_tokens."""
        headings, pieces = _sections(blocks)
        groups = self._fitted(self._packed(self._split(self._counted(pieces))))
        texts = self._overlapped(groups) if self._overlap else [_text(group) for group in groups]
        rows = zip(texts, groups, strict=True)
        return [Chunk(text, headings[group[0].section], group[0].page) for text, group in rows if text.strip()]

    def _tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without what the model adds to every text. Texts over MOST_BYTES are not read for it."""
        read = [text for text in texts if len(text.encode()) <= MOST_BYTES]
        tokens = iter(self._count(read) if read else [])
        return [
            max(next(tokens) - self._added, 0) if len(text.encode()) <= MOST_BYTES else self._room + 1 for text in texts
        ]

    def _counted(self, pieces: Sequence[_Piece]) -> list[_Piece]:
        tokens = self._tokens([piece.text for piece in pieces])
        return [msgspec.structs.replace(piece, tokens=n) for piece, n in zip(pieces, tokens, strict=True)]

    def _fit(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text, counted as it is, fits into a chunk."""
        rows = zip(texts, self._tokens(texts), strict=True)
        return [tokens <= self._room and len(text.encode()) <= MOST_BYTES for text, tokens in rows]

    def _too_long(self, piece: _Piece) -> bool:
        tokens, size = piece.header_tokens + piece.tokens, len((piece.header + piece.text).encode())
        return (tokens > self._room or size > MOST_BYTES) and not _smallest(piece)

    def _split(self, pieces: Sequence[_Piece]) -> list[_Piece]:
        """The pieces, with those that do not fit into a chunk split until all do."""
        pieces = list(pieces)
        while long := [piece for piece in pieces if self._too_long(piece)]:
            split = [self._parts(piece) for piece in long]
            counted = iter(self._counted([part for parts in split for part in parts]))
            smaller = iter([[next(counted) for _ in parts] for parts in split])
            pieces = [part for piece in pieces for part in (next(smaller) if self._too_long(piece) else [piece])]
        return pieces

    def _parts(self, piece: _Piece) -> list[_Piece]:
        """The parts of a piece that is too long."""
        if piece.kind == "table" and not piece.splits:
            return self._rows(piece)
        ends = OF_PROSE if piece.kind in ("paragraph", "heading") else OF_LINES
        for splits in range(piece.splits, len(ends)):
            texts = split_at(piece.text, ends[splits])
            if len(texts) > 1:
                return _divided(piece, texts, splits + 1)
        return _halves(piece)

    def _rows(self, table: _Piece) -> list[_Piece]:
        """The rows of a table. All but the first get its header, unless it takes more than half of a chunk."""
        first, *others = split_at(table.text, LINE)
        (tokens,) = self._tokens([first])
        if tokens > self._room / 2 or len(first.encode()) > MOST_BYTES / 2:
            return _divided(table, [first, *others], OF_LINES.index(LINE) + 1)
        header = msgspec.structs.replace(table, header=first, header_tokens=tokens)
        rows = _divided(header, [first, *others], OF_LINES.index(LINE) + 1)
        return [msgspec.structs.replace(rows[0], header="", header_tokens=0), *rows[1:]]

    def _packed(self, pieces: Sequence[_Piece]) -> list[_Group]:
        """As many pieces in a row in each group as fit by the sum of their tokens."""
        groups: list[_Group] = []
        tokens = size = 0
        for piece in pieces:
            together = bool(groups) and groups[-1][0].section == piece.section
            length = len(piece.text.encode()) + len(piece.joint)
            if together and tokens + piece.tokens <= self._room and size + length <= MOST_BYTES:
                groups[-1].append(piece)
            else:
                groups.append([piece])
                tokens = piece.header_tokens + (self._overlap if together and _repeats(groups[-2], groups[-1]) else 0)
                size = len(piece.header.encode())
            tokens, size = tokens + piece.tokens, size + length
        return groups

    def _fitted(self, groups: Sequence[_Group]) -> list[_Group]:
        """The groups, with those split whose text, counted as it is, is too long for a chunk."""
        rows = [(group, False) for group in groups]
        while waiting := [group for group, fits in rows if not fits]:
            fit = iter(self._fit([_text(group) for group in waiting]))
            rows = [
                row
                for group, fits in rows
                for row in ([(group, True)] if fits or next(fit) else [(half, False) for half in _halved(group)])
            ]
            rows = [(group, fits or (len(group) == 1 and _smallest(group[0]))) for group, fits in rows]
        return [group for group, _ in rows]

    def _overlapped(self, groups: Sequence[_Group]) -> list[str]:
        """The text of each group, after the last words of the one before it."""
        texts = [_text(group) for group in groups]
        repeated: dict[int, list[str]] = {}
        for place in range(1, len(groups)):
            if _repeats(groups[place - 1], groups[place]):
                repeated[place] = self._last(split_at(_prose_at_end(groups[place - 1]), WORD))
        while repeated := {place: words for place, words in repeated.items() if words}:
            joined = {
                place: ("".join(words) + groups[place][0].joint).lstrip() + texts[place]
                for place, words in repeated.items()
            }
            for place, fits in zip(joined, self._fit(list(joined.values())), strict=True):
                words = repeated.pop(place)
                if fits:
                    texts[place] = joined[place]
                else:
                    repeated[place] = words[len(words) // 2 + 1 :]
        return texts

    def _last(self, words: Sequence[str]) -> list[str]:
        """As many of the last words as have the tokens of the overlap, by their sum."""
        words = words[-self._overlap :]
        begin, tokens = len(words), 0
        for place, n in reversed(list(enumerate(self._tokens(words)))):
            tokens += n
            if tokens > self._overlap:
                break
            begin = place
        return list(words[begin:])


def _sections(blocks: Sequence[Block]) -> tuple[list[str], list[_Piece]]:
    """The headings above each section, and the pieces of all sections. Headings in a row begin one section."""
    headings: list[str] = [""]
    pieces: list[_Piece] = []
    above: list[Block] = []
    for place, block in enumerate(blocks):
        if block.kind == "heading":
            above = [*(heading for heading in above if heading.level < block.level), block]
            path = BETWEEN_HEADINGS.join(heading.text for heading in above)
            if place and blocks[place - 1].kind == "heading":
                headings[-1] = path
            else:
                headings.append(path)
        pieces.append(_Piece(block.text, len(headings) - 1, block.kind, block.page))
    return headings, pieces


def _text(group: _Group) -> str:
    """The text of a chunk, without empty lines at its ends."""
    first, *rest = group
    header = first.header.rstrip() + "\n" if first.header else ""
    text = first.text + "".join(piece.joint + piece.text for piece in rest)
    return header + text.strip("\n").rstrip()


def _smallest(piece: _Piece) -> bool:
    """Whether nothing can be taken away."""
    return len(piece.text) == 1 and not piece.header


def _divided(piece: _Piece, texts: Sequence[str], splits: int) -> list[_Piece]:
    """The piece in parts with these texts."""
    replace = msgspec.structs.replace
    return [
        replace(piece, text=text, joint="" if place else piece.joint, splits=splits) for place, text in enumerate(texts)
    ]


def _halves(piece: _Piece) -> list[_Piece]:
    """Both halves of a piece. One character has none; it loses the header, so that it has more room."""
    if len(piece.text) == 1:
        return [msgspec.structs.replace(piece, header="", header_tokens=0)]
    return _divided(piece, halves(piece.text), len(OF_LINES))


def _halved(group: _Group) -> list[_Group]:
    """The group in two, or its only piece in two."""
    middle = len(group) // 2
    return [group[:middle], group[middle:]] if middle else [[half] for half in _halves(group[0])]


def _repeats(before: _Group, group: _Group) -> bool:
    """Whether a chunk may repeat the end of the one before it."""
    return before[0].section == group[0].section and before[-1].kind in PROSE and group[0].kind in PROSE


def _prose_at_end(group: _Group) -> str:
    """The text of the last pieces of a group, as far back as they are prose."""
    prose = list(takewhile(lambda piece: piece.kind in PROSE, reversed(group)))
    return "".join(piece.joint + piece.text for piece in reversed(prose))
