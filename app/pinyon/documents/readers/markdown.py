"""Markdown, by markdown-it-py: CommonMark with tables."""

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from pinyon.documents.blocks import BlockBuilder, Document
from pinyon.documents.readers import html
from pinyon.documents.readers.encoding import decoded
from pinyon.errors import InvalidArgument

FRONT_MATTER = re.compile(r"\A---[^\S\n]*\n(.*?)\n(?:---|\.\.\.)[^\S\n]*(?:\n|\Z)", re.DOTALL)
"""Lines of YAML before the text, as static site generators read them."""
TITLE = re.compile(r"^title:[^\S\n]*(\S[^\n]*)$", re.MULTILINE)
MOST_NESTED = 100
"""Lists and quotes inside of each other, each counted with its items."""
QUOTES = "\"' "


def read(content: bytes) -> Document:
    """Raises InvalidArgument."""
    text, builder, title = decoded(content), BlockBuilder(), ""
    matter = FRONT_MATTER.match(text)
    if matter:
        text = text[matter.end() :]
        named = TITLE.search(matter[1])
        title = named[1].strip(QUOTES) if named else ""
        builder.code(matter[1])
    tokens = MarkdownIt("commonmark", {"maxNesting": MOST_NESTED}).enable("table").parse(text)
    if any(token.level >= MOST_NESTED - 1 for token in tokens):  # the parser leaves out what is deeper
        raise InvalidArgument("it is nested too deeply")
    _add(iter(tokens), builder)
    return builder.document(title)


def _add(tokens: Iterator[Token], builder: BlockBuilder) -> None:
    markers: list[str] = []  # of the lists around the current token, the innermost last
    for token in tokens:
        if token.type == "heading_open" and not markers:
            builder.heading(_text(next(tokens)), int(token.tag[1:]))
        elif token.type == "table_open" and not markers:
            builder.table(list(_rows(tokens)))
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            markers.append("-")
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            markers.pop()
        elif token.type == "list_item_open" and token.info:
            markers[-1] = f"{token.info}{token.markup}"
        elif token.type == "inline" and markers:
            builder.list_item(_text(token), len(markers) - 1, markers[-1])
        elif token.type in ("fence", "code_block") and markers:
            builder.list_item(token.content, len(markers) - 1, markers[-1])
        elif token.type == "inline":
            builder.paragraph(_text(token))
        elif token.type in ("fence", "code_block"):
            builder.code(token.content)
        elif token.type == "html_block":
            html.add(token.content, builder)


def _rows(tokens: Iterator[Token]) -> Iterator[list[str]]:
    """The rows of a table whose first token was taken, up to its end."""
    row: list[str] = []
    for token in tokens:
        if token.type == "table_close":
            return
        if token.type == "tr_open":
            row = []
        elif token.type == "inline":
            row.append(_text(token))
        elif token.type == "tr_close":
            yield row


def _text(inline: Token) -> str:
    """The text of a line without its markup. Addresses of links are left out."""
    return "".join(_texts(inline.children or ()))


def _texts(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            yield "\n"
        elif token.type == "image":
            yield from _texts(token.children or ())
        elif token.type != "html_inline":
            yield token.content
