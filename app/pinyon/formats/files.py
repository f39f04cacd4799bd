"""Reads and writes files of every format: the one place that knows all of them."""

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Protocol

from pinyon.formats import delimited, jsonl, parquet
from pinyon.formats.layout import CellType, Columns
from pinyon.formats.rows import Batch, Format, Row, RowProblem, UnreadableFile

BATCH_ROWS, BATCH_NUMBERS = 1_000, 2_000_000
"""A batch has at most so many rows, and about so many numbers in vectors."""
DELIMITERS: dict[Format, str] = {"csv": ",", "tsv": "\t"}


class RowWriter(Protocol):
    """Writes rows to a stream, which the caller opens and closes."""

    def write(self, rows: Sequence[Row]) -> None:
        """Write some rows."""
        ...

    def close(self) -> None:
        """Write what is left. The stream stays open."""
        ...


def batches(
    stream: BinaryIO,
    file: str,
    format: Format,
    columns: Columns = Columns(),  # noqa: B008  (frozen)
    skip: int = 0,
    most: int = BATCH_ROWS,
) -> Iterator[Batch]:
    """The rows of a file in batches, each in its order. A batch is all that is in memory.

    file: its name in messages. skip: rows at the beginning that are not read, for an import that goes on. most: rows of
    a batch. Raises UnreadableFile, and FailedPrecondition if a library is missing; what was read before is right.
    """
    size = _size(stream)
    total = None
    if format == "parquet":
        if size is None:
            raise UnreadableFile(f"{file}: a Parquet file cannot be read from a pipe; name a file")
        total = parquet.row_count(stream, file)
        rows = parquet.rows(stream, file, columns, skip)
    elif format == "jsonl":
        rows = jsonl.rows(stream, file, columns, skip)
    else:
        types = columns.types
        if types is None:
            if size is None:
                raise UnreadableFile(f"{file}: the types of its columns have to be given, because it is a pipe")
            types = infer_types(stream, file, format, columns)
        rows = delimited.rows(stream, file, DELIMITERS[format], columns, types, skip)
    done: list[Row] = []
    problems: list[RowProblem] = []
    numbers = last = 0
    for row in rows:
        if isinstance(row, Row):
            done.append(row)
            last = row.number
            numbers += 0 if row.values is None else len(row.values)
        else:
            problems.append(row)
            last = row.row
        if len(done) + len(problems) >= most or numbers >= BATCH_NUMBERS:
            yield Batch(done, problems, last, _share(stream, size, last, total))
            done, problems, numbers = [], [], 0
    if done or problems:
        yield Batch(done, problems, last, 1.0)


def infer_types(
    stream: BinaryIO,
    file: str,
    format: Format,
    columns: Columns = Columns(),  # noqa: B008  (frozen)
    most: int | None = None,
) -> dict[str, CellType]:
    """What the columns of a CSV or TSV file are, by all rows or by the first `most`; the stream is at its start again.

    Files of the other formats say it themselves: no types. Raises UnreadableFile.
    """
    if format not in DELIMITERS:
        return {}
    types = delimited.cell_types(stream, file, DELIMITERS[format], columns, most)
    stream.seek(0)
    return types


def writer(stream: BinaryIO, format: Format, values: bool = True, sparse: bool = True) -> RowWriter:
    """What writes rows in this format, in the layout that Pinecone's import takes.

    values, sparse: whether a Parquet file has a column for them. Raises UnreadableFile for CSV and TSV, in which no
    vector can be written exactly.
    """
    if format == "parquet":
        return parquet.ParquetWriter(stream, values, sparse)
    if format == "jsonl":
        return jsonl.JsonlWriter(stream)
    raise UnreadableFile(f"Nothing is written in the format {format}; allowed are: jsonl, parquet")


def _size(stream: BinaryIO) -> int | None:
    """Bytes of a file; None for a pipe."""
    if not stream.seekable():
        return None
    here = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return size


def _share(stream: BinaryIO, size: int | None, last: int, total: int | None) -> float | None:
    if total is not None:
        return last / total if total else 1.0
    if size is None:
        return None
    return stream.tell() / size if size else 1.0
