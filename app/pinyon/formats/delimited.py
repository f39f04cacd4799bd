"""CSV and TSV: a header with the names of the columns, then a row for each record."""

import csv
import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, BinaryIO, cast

import msgspec

from pinyon.formats.layout import METADATA, SPARSE, VALUES, CellType, Columns, WrongCell, row_of
from pinyon.formats.rows import BYTE_ORDER_MARK, Row, RowProblem, UnreadableFile

LONGEST_CELL, LONGEST_LINE = 8 * 1024 * 1024, 16 * 1024 * 1024
"""Characters of the longest cell that is read, and bytes of the longest line. A vector is one cell."""
INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,15})\Z")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
BOOLEANS = {"true": True, "false": False}
SPECIAL = (VALUES, SPARSE, METADATA)
"""Columns whose cells are JSON."""


def header(stream: BinaryIO, file: str, delimiter: str) -> list[str]:
    """The names of the columns. Raises UnreadableFile."""
    return _Reader(stream, file, delimiter).header


def cell_types(stream: BinaryIO, file: str, delimiter: str, columns: Columns, most: int | None) -> dict[str, CellType]:
    """What the columns of fields are: by all cells, or by those of the first `most` rows. Empty cells say nothing.

    007 is text, because a number would lose its zeros. The id, and columns whose cells are JSON, are left out. Raises
    UnreadableFile.
    """
    reader = _Reader(stream, file, delimiter)
    columns.check(file, reader.header)
    id_column = columns.id_column(reader.header)
    fields = [
        (place, name)
        for place, name in enumerate(reader.header)
        if name != id_column and columns.names.get(name, name) not in SPECIAL
    ]
    types: dict[str, CellType | None] = {name: None for _, name in fields}
    for cells in islice(reader, most):
        for place, name in fields:
            if types[name] != "text" and place < len(cells) and cells[place]:
                types[name] = _common(types[name], _type_of(cells[place]))
    return {name: kind or "text" for name, kind in types.items()}


def rows(
    stream: BinaryIO, file: str, delimiter: str, columns: Columns, types: Mapping[str, CellType], skip: int
) -> Iterator[Row | RowProblem]:
    """The rows of a file, each as a row or as why it is none. types: as cell_types() gives them.

    skip: rows after the header that are not read. Raises UnreadableFile.
    """
    reader = _Reader(stream, file, delimiter)
    header = reader.header
    columns.check(file, header)
    kinds: list[CellType | None] = [
        None if columns.names.get(name, name) in SPECIAL else types.get(name, "text") for name in header
    ]
    id_column = columns.id_column(header)
    kinds[header.index(cast(str, id_column))] = "text"
    for number, cells in enumerate(reader, start=1):
        if number <= skip or not cells:  # an empty line
            continue
        try:
            if len(cells) != len(header):
                raise WrongCell(f"there are {len(cells)} cells; expected: {len(header)}, as in the header")
            named = {
                name: _value(cell, kind, name) for name, cell, kind in zip(header, cells, kinds, strict=True) if cell
            }
            if id_column not in named:
                raise WrongCell("the id is empty", id_column)
            yield row_of(number, named, columns)
        except WrongCell as error:
            yield error.problem(file, number, dict(zip(header, cells, strict=False)))


class _Reader:
    """The lines of a file as lists of cells. header: the first one. Raises UnreadableFile."""

    def __init__(self, stream: BinaryIO, file: str, delimiter: str) -> None:
        csv.field_size_limit(LONGEST_CELL)  # of the whole process, which has no other reader
        self._file, self._row = file, -1
        self._cells = csv.reader(self._lines(stream), delimiter=delimiter, strict=True)
        self.header = next(self, [])
        if not self.header:
            raise UnreadableFile(f"{file}: the file has no header; expected: the names of its columns")

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        self._row += 1
        try:
            return next(self._cells)
        except (csv.Error, UnicodeDecodeError) as error:
            where = f"row {self._row}" if self._row else "the header"
            raise UnreadableFile(
                f"{self._file}, {where}: it cannot be read: {error}; expected: UTF-8, and quotes in pairs"
            ) from None

    def _lines(self, stream: BinaryIO) -> Iterator[str]:
        line = stream.readline(LONGEST_LINE).removeprefix(BYTE_ORDER_MARK)
        while line:
            if len(line) == LONGEST_LINE:
                raise csv.Error(f"a line is longer than {LONGEST_LINE} bytes")
            yield line.decode()
            line = stream.readline(LONGEST_LINE)


def _type_of(cell: str) -> CellType:
    if INTEGER.match(cell):
        return "integer"
    if NUMBER.match(cell) and math.isfinite(float(cell)):
        return "number"
    return "boolean" if cell.lower() in BOOLEANS else "text"


def _common(one: CellType | None, other: CellType) -> CellType:
    """The type of cells of both types."""
    if one is None or one == other:
        return other
    return "number" if {one, other} == {"integer", "number"} else "text"


def _value(cell: str, kind: CellType | None, column: str) -> Any:
    """What a cell says. kind: None for JSON."""
    if kind == "text":
        return cell
    try:
        if kind is None:
            return msgspec.json.decode(cell)
        if kind == "boolean":
            return BOOLEANS[cell.lower()]
        if kind == "integer":
            return int(cell)
        if NUMBER.match(cell):
            return float(cell)
    except (msgspec.DecodeError, RecursionError, KeyError, ValueError):
        pass
    expected = {None: "JSON", "boolean": "true or false", "integer": "a whole number", "number": "a number"}[kind]
    raise WrongCell(f"there is '{cell[:60]}'; expected: {expected}", column)
