"""What the columns of a file mean: one rule for Pinecone's import layout and for plain records.

`id` or `_id` is the id. `values` is a vector. `sparse_values` has `indices` and `values`. `metadata` is an object of
fields, or its JSON. Every other column is a field.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon import decoding
from pinyon.domain import Metadata, SparseVector
from pinyon.errors import shown
from pinyon.formats.rows import Row, RowProblem, UnreadableFile

CellType = Literal["text", "integer", "number", "boolean"]
"""What the cells of a CSV column are."""
VALUES, SPARSE, METADATA = "values", "sparse_values", "metadata"
IDS = ("_id", "id")
SHOWN = 60
"""Characters of a wrong value that a message repeats."""


class Columns(msgspec.Struct, frozen=True):
    """How a file is read.

    id: the column of ids; None for `_id` or `id`. names: new names of columns, by their names in the file. needed: each
    row needs at least one of these, by its new name; empty if an id is enough. types: of the columns of a CSV file, by
    their names in the file; None to look at the whole file first.
    """

    id: str | None = None
    names: Mapping[str, str] = {}
    needed: tuple[str, ...] = ()
    types: Mapping[str, CellType] | None = None

    def id_column(self, columns: Iterable[str]) -> str | None:
        """The column that has the ids; None if there is none."""
        present = set(columns)
        return next((name for name in ((self.id,) if self.id is not None else IDS) if name in present), None)

    def check(self, file: str, columns: Iterable[str]) -> None:
        """Raises UnreadableFile unless these columns are enough. The message lists them, and what is expected."""
        problem = self.problem(list(columns))
        if problem is not None:
            raise UnreadableFile(f"{file}: {problem}")

    def problem(self, columns: list[str]) -> str | None:
        """What is wrong with these columns, in words."""
        listed = ", ".join(map(repr, columns)) or "none"
        if self.id_column(columns) is None:
            wanted = repr(self.id) if self.id is not None else "'id' or '_id'"
            return f"there is no column of ids; the columns are: {listed}; expected: {wanted}"
        new = [self.names.get(name, name) for name in columns]
        if self.needed and not {*self.needed, METADATA} & set(new):  # a field may be in the metadata
            return f"the columns are: {listed}; expected beside the id: {self.in_words}"
        twice = [name for name in new if new.count(name) > 1]
        return f"two columns are named '{twice[0]}'; the columns are: {listed}" if twice else None

    @property
    def in_words(self) -> str:
        """What is needed."""
        return " or ".join(map(repr, self.needed))


class WrongCell(Exception):
    """A cell cannot be read. column: its name in the file."""

    def __init__(self, message: str, column: str | None = None) -> None:
        super().__init__(message)
        self.message, self.column = message, column

    def problem(self, file: str, row: int, content: Any) -> RowProblem:
        """The same for a row of a file."""
        return RowProblem(file, row, self.message, self.column, content)


def row_of(number: int, cells: Mapping[str, Any], columns: Columns) -> Row:
    """A row of the cells of one line, by the names of the columns in the file. Raises WrongCell."""
    id_column = columns.id_column(cells)
    if id_column is None:
        raise WrongCell(columns.problem(list(cells)) or "it has no id")
    fields: Metadata = {}
    nested: Metadata = {}
    values = sparse = metadata_column = None
    for name, cell in cells.items():
        if name == id_column or cell is None:
            continue
        new = columns.names.get(name, name)
        if new == VALUES:
            values = vector(cell, name)
        elif new == SPARSE:
            sparse = sparse_vector(cell, name)
        elif new == METADATA:
            nested, metadata_column = metadata(cell, name), name
        elif new in fields:
            raise WrongCell(f"two columns are named '{new}'", name)
        else:
            fields[new] = cell
    for name in nested:
        if name in fields:
            raise WrongCell(f"it has the field '{name}', which is also a column", metadata_column)
    fields |= nested
    present = {*fields, *([] if values is None else [VALUES]), *([] if sparse is None else [SPARSE])}
    if columns.needed and present.isdisjoint(columns.needed):
        listed = ", ".join(repr(name) for name, cell in cells.items() if cell is not None)
        raise WrongCell(f"the columns with a value are: {listed}; expected beside the id: {columns.in_words}")
    return Row(number, _id(cells[id_column], id_column), values, sparse, fields)


def _id(cell: Any, column: str) -> str:
    """An id. Whole numbers become their digits."""
    if isinstance(cell, str) and cell:
        return cell
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    raise _unexpected(cell, "an id: text that is not empty", column)


def vector(cell: Any, column: str) -> NDArray[np.float32]:
    """Numbers as float32 [n]. What is too large for it becomes infinite."""
    if isinstance(cell, np.ndarray):
        return cell
    try:
        numbers = decoding.convert(cell, list[float])
    except msgspec.ValidationError:
        raise _unexpected(cell, "a list of numbers", column) from None
    with np.errstate(over="ignore"):
        return np.asarray(numbers, dtype=np.float64).astype(np.float32)


def sparse_vector(cell: Any, column: str) -> SparseVector:
    """Sparse values from {"indices": [...], "values": [...]}."""
    if isinstance(cell, SparseVector):
        return cell
    if not isinstance(cell, dict) or set(cell) != {"indices", "values"}:
        raise _unexpected(cell, "an object with 'indices' and 'values'", column)
    values = vector(cell["values"], column)
    try:
        indices = decoding.convert(cell["indices"], list[int])
        unsigned = np.asarray(indices, dtype=np.uint32)
    except (msgspec.ValidationError, OverflowError):
        raise _unexpected(cell["indices"], "indices from 0 to 4294967295", column) from None
    if len(unsigned) != len(values):
        raise WrongCell(f"there are {len(unsigned)} indices and {len(values)} values; expected: as many", column)
    return SparseVector(unsigned, values)


def metadata(cell: Any, column: str) -> Metadata:
    """Fields from an object, or from its JSON."""
    fields = cell
    if isinstance(cell, str | bytes):
        try:
            fields = msgspec.json.decode(cell) if cell else {}
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            fields = None
    if not isinstance(fields, dict):
        raise _unexpected(cell, "a JSON object of fields", column)
    return fields


def _unexpected(cell: Any, expected: str, column: str | None = None) -> WrongCell:
    return WrongCell(f"there is {shown(cell, SHOWN)}; expected: {expected}", column)
