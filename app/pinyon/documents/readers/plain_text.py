"""Plain text and source code: blocks between empty lines."""

import re

from pinyon.documents.blocks import BlockBuilder, Document
from pinyon.documents.readers.encoding import decoded

PARAGRAPH_END = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+(?=\S)")
"""Empty lines, and the indentation of the line after them."""
DEFINITION_END = re.compile(r"\n(?:[^\S\n]*\n)+(?=\S)")
"""Empty lines before a line that is not indented."""


def read_text(content: bytes) -> Document:
    """Each paragraph is a block. Raises InvalidArgument."""
    builder = BlockBuilder()
    for paragraph in PARAGRAPH_END.split(decoded(content)):
        builder.paragraph(paragraph)
    return builder.document()


def read_code(content: bytes) -> Document:
    """A block ends at an empty line before a line that is not indented, where a definition ends in most languages."""
    builder = BlockBuilder()
    for definition in DEFINITION_END.split(decoded(content)):
        builder.code(definition)
    return builder.document()
