"""HTML, by selectolax (the parser lexbor)."""

import re
from collections.abc import Iterator
from itertools import chain

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pinyon.documents.blocks import BlockBuilder, Document
from pinyon.documents.readers.encoding import decoded
from pinyon.errors import InvalidArgument

CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
SPACES = re.compile(r"\s+")
FIRST_BYTES = 1_024
"""Where a page must name its encoding, by the HTML standard."""
NOT_READ = {"head", "script", "style", "noscript", "template", "svg", "nav", "iframe", "object", "select", "-comment"}
"""What is not the text of a page, or leads to other pages."""
# fmt: off
INLINE = {
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "button", "cite", "code", "data", "del", "dfn", "em", "font",
    "i", "img", "ins", "kbd", "label", "mark", "meter", "output", "progress", "q", "ruby", "rb", "rp", "rt", "s",
    "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
}
# fmt: on
"""Elements that a line of text goes on in. All others begin and end a block."""
TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*)(?=[\s/>])")
# fmt: off
OPEN = {
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "p", "li",
    "dt", "dd", "tr", "td", "th", "thead", "tbody", "option",
}
# fmt: on
"""Elements that have no end, or whose end pages may leave out."""
MOST_NESTED = 5_000
"""Elements inside of each other. The time that the parser takes grows with the square of it."""
HEADINGS = {f"h{level}": level for level in range(1, 7)}


def read(content: bytes) -> Document:
    """Raises InvalidArgument."""
    charset = CHARSET.search(content[:FIRST_BYTES])
    page = _parsed(decoded(content, charset[1].decode() if charset else "utf-8"))
    builder = BlockBuilder()
    if page.body is not None:
        _Walk(builder).add(page.body)
    title = page.css_first("head > title")
    return builder.document(title.text() if title is not None else "")


def add(fragment: str, builder: BlockBuilder) -> None:
    """Add the blocks of a piece of HTML. Raises InvalidArgument."""
    body = _parsed(fragment).body
    if body is not None:
        _Walk(builder).add(body)


def _parsed(text: str) -> LexborHTMLParser:
    depth = 0
    for tag in TAG.finditer(text):
        if tag[2].lower() not in OPEN:
            depth = max(depth + (-1 if tag[1] else 1), 0)
            if depth > MOST_NESTED:
                raise InvalidArgument("it is nested too deeply")
    return LexborHTMLParser(text)


class _Walk:
    """Adds the blocks of an element in the order of its text.

    A table inside of a table, and everything inside of a list or a table, is text of the outer one.
    """

    def __init__(self, builder: BlockBuilder) -> None:
        self._builder = builder
        self._words: list[str] = []  # of the line so far, white space included
        self._lists: list[str] = []  # names of the lists around the current element
        self._numbers: list[int] = []  # of their current items
        self._rows: list[list[str]] = []
        self._tables = self._preformatted = 0

    def add(self, root: LexborNode) -> None:
        for begins, node in _events(root):
            name = str(node.tag)
            if name == "-text":
                text = str(node.text_content)
                self._words.append(text if self._preformatted else SPACES.sub(" ", text))
            elif name == "br":
                self._words.append("\n" if begins else "")
            elif name not in INLINE:
                self._end_line(name if not begins else "")
                (self._begin if begins else self._end)(name)
        self._end_line("")

    def _begin(self, name: str) -> None:
        if name == "table":
            self._tables += 1
        elif name == "tr" and self._tables == 1:
            self._rows.append([])
        elif name in ("td", "th") and self._tables == 1 and self._rows:
            self._rows[-1].append("")
        elif name in ("ul", "ol"):
            self._lists.append(name)
            self._numbers.append(0)
        elif name == "li" and self._numbers:
            self._numbers[-1] += 1
        elif name == "pre":
            self._preformatted += 1

    def _end(self, name: str) -> None:
        if name == "table":
            self._tables -= 1
            if not self._tables:
                rows, self._rows = self._rows, []
                self._builder.table(rows)
        elif name in ("ul", "ol"):
            self._lists.pop()
            self._numbers.pop()
        elif name == "pre":
            self._preformatted -= 1

    def _end_line(self, ending: str) -> None:
        """Add the words so far. ending: the element that ends here, or nothing."""
        text = "".join(self._words)
        self._words = []
        if not text.strip():
            return
        if not self._preformatted:
            text = "\n".join(line.strip() for line in text.strip().split("\n"))
        if self._tables and self._rows and self._rows[-1]:
            self._rows[-1][-1] += f" {text}"
        elif self._lists:
            marker = f"{self._numbers[-1]}." if self._lists[-1] == "ol" else "-"
            self._builder.list_item(text.replace("\n", " "), len(self._lists) - 1, marker)
        elif ending in HEADINGS:
            self._builder.heading(text, HEADINGS[ending])
        elif self._preformatted:
            self._builder.code(text)
        else:
            self._builder.paragraph(text)


def _events(root: LexborNode) -> Iterator[tuple[bool, LexborNode]]:
    """Each element with True where it begins and with False where it ends. It does not recurse: pages nest deeply."""
    waiting: list[Iterator[tuple[bool, LexborNode]]] = [iter([(True, root)])]
    while waiting:
        event = next(waiting[-1], None)
        if event is None:
            waiting.pop()
            continue
        begins, node = event
        if begins and node.tag in NOT_READ:
            continue
        yield event
        if begins and node.tag != "-text":
            inside = ((True, child) for child in node.iter(include_text=True))
            waiting.append(chain(inside, [(False, node)]))
