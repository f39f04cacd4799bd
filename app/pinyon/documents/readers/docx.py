"""Word documents (DOCX), by python-docx: body text, lists and tables."""

import re
import zipfile
from pathlib import Path

import docx
from docx.table import Table
from docx.text.paragraph import Paragraph

from pinyon.documents.blocks import BlockBuilder, Document
from pinyon.errors import InvalidArgument

MOST_UNPACKED, MOST_XML = 200 * 2**20, 20 * 2**20
"""Bytes that all parts of a file may have unpacked, and one of its XML parts. Small files can unpack to gigabytes."""
HEADING = re.compile(r"heading (\d)$", re.IGNORECASE)


def read(path: Path) -> Document:
    """Raises InvalidArgument if it is no DOCX file, is encrypted, or unpacks to too much."""
    _check_size(path)
    with path.open("rb") as stream:
        opened = docx.Document(stream)
    builder = BlockBuilder()
    for part in opened.iter_inner_content():
        if isinstance(part, Table):
            builder.table([_cells(part, row) for row in range(len(part.rows))])
        else:
            _add(part, builder)
    return builder.document(opened.core_properties.title or "")


def _check_size(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except zipfile.BadZipFile:
        raise InvalidArgument("it is no DOCX file; it is damaged, encrypted, or of an older format") from None
    unpacked = sum(part.file_size for part in parts)
    largest = max((part.file_size for part in parts if part.filename.endswith((".xml", ".rels"))), default=0)
    if unpacked > MOST_UNPACKED or largest > MOST_XML:
        raise InvalidArgument(
            f"it unpacks to {unpacked} bytes, the largest XML part to {largest}; at most {MOST_UNPACKED} and "
            f"{MOST_XML} are read"
        )


def _add(paragraph: Paragraph, builder: BlockBuilder) -> None:
    style = str(paragraph.style.name) if paragraph.style is not None else ""
    heading = HEADING.match(style)
    if heading or style == "Title":
        builder.heading(paragraph.text, int(heading[1]) if heading else 1)
    elif style.startswith("List") or (paragraph._p.pPr is not None and paragraph._p.pPr.numPr is not None):
        builder.list_item(paragraph.text, depth=0)
    else:
        builder.paragraph(paragraph.text)


def _cells(table: Table, row: int) -> list[str]:
    """The texts of a row. A cell that spans columns counts once."""
    cells = {cell._tc: cell.text for cell in table.rows[row].cells}
    return list(cells.values())
