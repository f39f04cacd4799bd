"""JSON lines: one object a line."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import msgspec
import orjson

from pinyon.formats.layout import Columns, WrongCell, row_of
from pinyon.formats.rows import BYTE_ORDER_MARK, Row, RowProblem

LONGEST_LINE = 8 * 1024 * 1024
"""Bytes of the longest line that is read. The largest vector and the largest metadata together have less."""


def rows(stream: BinaryIO, file: str, columns: Columns, skip: int) -> Iterator[Row | RowProblem]:
    """The lines of a file, each as a row or as why it is none. Empty lines count, and are left out.

    skip: lines at the beginning that are not read.
    """
    decoder = msgspec.json.Decoder()
    for number, line in enumerate(_lines(stream), start=1):
        if number <= skip or not line.strip():
            continue
        if len(line) > LONGEST_LINE:
            yield RowProblem(file, number, f"the line is longer than {LONGEST_LINE} bytes")
            continue
        cells: Any = None
        try:
            cells = decoder.decode(line)
            if not isinstance(cells, dict):
                raise WrongCell(f"there is a JSON {_kind(cells)}; expected: one JSON object a line")
            yield row_of(number, cells, columns)
        except WrongCell as error:
            yield error.problem(file, number, cells)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = line.decode(errors="replace").rstrip("\r\n")
            yield RowProblem(file, number, f"the line is no JSON: {error}; expected: one JSON object", content=text)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines; of one that is too long, the beginning."""
    line = stream.readline(LONGEST_LINE + 1).removeprefix(BYTE_ORDER_MARK)
    while line:
        yield line
        while len(line) > LONGEST_LINE and not line.endswith(b"\n"):  # the rest of a line that is too long
            rest = stream.readline(LONGEST_LINE)
            if not rest or rest.endswith(b"\n"):
                break
        line = stream.readline(LONGEST_LINE + 1)


def _kind(value: Any) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


class JsonlWriter:
    """Writes rows in Pinecone's layout, each number with the shortest text that gives the same float32."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, rows: Sequence[Row]) -> None:
        """Write some rows."""
        self._stream.write(b"".join(map(_line, rows)))

    def close(self) -> None:
        """Write what is left. The stream stays open."""
        self._stream.flush()


def _line(row: Row) -> bytes:
    line: dict[str, Any] = {"id": row.id}
    if row.values is not None:
        line["values"] = row.values
    if row.sparse is not None:
        line["sparse_values"] = {"indices": row.sparse.indices, "values": row.sparse.values}
    if row.fields:
        line["metadata"] = row.fields
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
