"""What readers of files give, and what writers take."""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Metadata, SparseVector
from pinyon.errors import InvalidArgument

Format = Literal["jsonl", "csv", "tsv", "parquet"]
FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""The format of a file, by the end of its name."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some programs put before UTF-8. It is no part of the text."""


class Row(msgspec.Struct, frozen=True):
    """A row of a file: a vector, a text with its fields, or both.

    number: its place in the file, from 1; the header of a CSV file does not count. values: float32 [n], as in the file.
    sparse: the sparse values. fields: the metadata; the text of a record is one of them. Ids, lengths and fields are
    not compared with the limits of an index.
    """

    number: int
    id: str
    values: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    fields: Metadata = {}


class RowProblem(msgspec.Struct, frozen=True):
    """A row that was refused. message: what is there, and what is expected.

    column: where, if it is about one. content: the row as far as it could be read, for a file of refused rows.
    """

    file: str
    row: int
    message: str
    column: str | None = None
    content: Any = None

    def __str__(self) -> str:
        where = f"{self.file}, row {self.row}"
        return f"{where}, column '{self.column}': {self.message}" if self.column else f"{where}: {self.message}"


class Batch(msgspec.Struct, frozen=True):
    """Some rows of a file, in their order. problems: those that were refused.

    last: the number of the last row that was read. share: how much of the file has been read, 0..1; None if its size is
    not known.
    """

    rows: list[Row]
    problems: list[RowProblem]
    last: int
    share: float | None


class UnreadableFile(InvalidArgument):
    """A file cannot be read, or not beyond some row. The message names both."""


def format_of(name: str) -> Format | None:
    """The format of a file with this name; None if its end says nothing."""
    lower = name.lower()
    return next((format for end, format in FORMATS.items() if lower.endswith(end)), None)
