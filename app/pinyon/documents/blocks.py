"""A document as blocks of text: what every reader makes, and what the chunker splits."""

from collections.abc import Sequence
from typing import Literal

import msgspec

Kind = Literal["heading", "paragraph", "list", "table", "code"]


class Block(msgspec.Struct, frozen=True):
    """A part of a document that belongs together.

    text: without white space at its ends, never empty. A table has a line for each row, its header first. A list has a
    line for each item. level: of a heading, from 1. page: where the block begins, from 1; None if the document has no
    pages.
    """

    kind: Kind
    text: str
    level: int = 0
    page: int | None = None


class Document(msgspec.Struct, frozen=True):
    """title: as the document says it, or its first heading; empty if it has neither."""

    title: str
    blocks: list[Block]


class BlockBuilder:
    """Collects the blocks of a document in their order. Blocks without text are left out.

    page: of the blocks that are added from now on.
    """

    def __init__(self) -> None:
        self.page: int | None = None
        self._blocks: list[Block] = []
        self._items: list[str] = []

    def heading(self, text: str, level: int) -> None:
        """Add a heading. Line breaks in it become spaces."""
        self._add("heading", " ".join(text.split()), level)

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self._add("paragraph", text.strip())

    def code(self, text: str) -> None:
        """Add lines of code. Their indentation stays."""
        self._add("code", text.strip("\r\n").rstrip())

    def list_item(self, text: str, depth: int, marker: str = "-") -> None:
        """Add an item to the list. depth: of the list in others, from 0. Items in a row are one block."""
        if text.strip():
            self._items.append(f"{'  ' * depth}{marker} {text.strip()}")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Add a table. The first row is its header. Each cell becomes one line."""
        lines = [" | ".join(" ".join(cell.split()) for cell in row) for row in rows if any(map(str.strip, row))]
        self._add("table", "\n".join(lines).strip())

    def document(self, title: str = "") -> Document:
        """The document. Without a title, the first heading is the title."""
        self._end_list()
        first = next((block.text for block in self._blocks if block.kind == "heading"), "")
        return Document(_storable(" ".join(title.split())) or first, self._blocks)

    def _add(self, kind: Kind, text: str, level: int = 0) -> None:
        self._end_list()
        text = _storable(text)
        if text.strip():
            self._blocks.append(Block(kind, text, level, self.page))

    def _end_list(self) -> None:
        items, self._items = self._items, []
        if items:
            self._blocks.append(Block("list", _storable("\n".join(items)), page=self.page))


def _storable(text: str) -> str:
    """The text without characters that UTF-8 or a database does not have. Damaged files bring halves of characters."""
    return text.replace("\0", "").encode(errors="replace").decode()
