"""Parquet files in Pinecone's import layout, or with a column for each field. Needs pyarrow, an extra."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from types import ModuleType
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import SparseVector
from pinyon.errors import FailedPrecondition
from pinyon.formats.layout import METADATA, SPARSE, VALUES, Columns, WrongCell, row_of
from pinyon.formats.rows import Row, RowProblem, UnreadableFile

READ_ROWS = 500
"""Rows that are decoded together."""
BUFFER = 1024 * 1024
"""Bytes of a column that are read together. Without it a row group, which may be the whole file, would be in memory."""
GROUP_ROWS, GROUP_NUMBERS = 10_000, 8_000_000
"""A row group that is written has at most so many rows, and about so many numbers."""


def _libraries() -> tuple[Any, Any]:
    """pyarrow, and its part for Parquet. Raises FailedPrecondition without them."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise FailedPrecondition(
            "Parquet files need pyarrow, which is not installed; install it with: pip install 'pinyon[parquet]'"
        ) from None
    return pyarrow, parquet


def row_count(stream: BinaryIO, file: str) -> int:
    """How many rows a file has. Raises UnreadableFile."""
    return int(_open(stream, file).metadata.num_rows)


def rows(stream: BinaryIO, file: str, columns: Columns, skip: int) -> Iterator[Row | RowProblem]:
    """The rows of a file, each as a row or as why it is none. The stream must be seekable.

    skip: rows at the beginning that are not read. Raises UnreadableFile.
    """
    arrow, _ = _libraries()
    parquet = _open(stream, file)
    names = parquet.schema_arrow.names
    columns.check(file, names)
    for name, kind in zip(names, parquet.schema_arrow.types, strict=True):
        if columns.names.get(name, name) not in (VALUES, SPARSE, METADATA) and not _is_field(arrow.types, kind):
            raise UnreadableFile(
                f"{file}, column '{name}': its type is {kind}; expected: text, numbers, booleans, lists of text, times"
            )
    first, groups = 0, list[int]()  # rows of the groups that are left out, and the other groups
    for group in range(parquet.num_row_groups):
        count = parquet.metadata.row_group(group).num_rows
        if not groups and first + count <= skip:
            first += count
        else:
            groups.append(group)
    number = first + 1
    batches = parquet.iter_batches(READ_ROWS, groups) if groups else iter(())
    while True:
        try:
            batch = next(batches, None)
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise UnreadableFile(f"{file}, row {number} or one after it: it cannot be read: {error}") from None
        if batch is None:
            return
        count = batch.num_rows
        if number + count - 1 > skip:
            yield from _rows_of(arrow, batch, file, columns, number, max(0, skip + 1 - number))
        number += count


def _open(stream: BinaryIO, file: str) -> Any:
    arrow, parquet = _libraries()
    try:
        return parquet.ParquetFile(stream, pre_buffer=False, buffer_size=BUFFER)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise UnreadableFile(f"{file}: it is no Parquet file: {error}") from None


def _is_field(types: ModuleType, kind: Any) -> bool:
    """Whether a column of this type can be a field."""
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
        return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))
    tests = (
        types.is_string,
        types.is_large_string,
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_temporal,
        types.is_null,
    )
    return any(test(kind) for test in tests) and not types.is_duration(kind)


def _rows_of(arrow: Any, batch: Any, file: str, columns: Columns, number: int, skip: int) -> Iterator[Row | RowProblem]:
    """The rows of a batch whose first row has this number, without the first `skip`."""
    cells = [
        _cells(arrow, array, columns.names.get(name, name))
        for name, array in zip(batch.schema.names, batch, strict=True)
    ]
    names = batch.schema.names
    for place, row in enumerate(zip(*cells, strict=True)):
        if place < skip:
            continue
        named = dict(zip(names, row, strict=True))
        try:
            yield row_of(number + place, named, columns)
        except WrongCell as error:
            yield error.problem(file, number + place, named)


def _cells(arrow: Any, array: Any, name: str) -> Sequence[Any]:
    if name == VALUES:
        return _vectors(arrow, array) or array.to_pylist()
    if name == SPARSE:
        return _sparse_vectors(arrow, array) or array.to_pylist()
    if arrow.types.is_temporal(array.type):
        return [_iso(value) for value in array.to_pylist()]
    return list(array.to_pylist())


def _iso(value: Any) -> str | None:
    return value.isoformat() if isinstance(value, date | datetime) else None if value is None else str(value)


def _vectors(arrow: Any, array: Any) -> list[NDArray[np.float32] | None] | None:
    """Lists of numbers as float32 [n] each, without a Python object for each number; None if they have another type."""
    types = arrow.types
    if types.is_fixed_size_list(array.type):
        size = array.type.list_size
        offsets = np.arange(array.offset, array.offset + len(array) + 1) * size
    elif types.is_list(array.type) or types.is_large_list(array.type):
        offsets = array.offsets.to_numpy()
    else:
        return None
    numbers = array.values
    if not (types.is_floating(numbers.type) or types.is_integer(numbers.type)) or numbers.null_count:
        return None
    with np.errstate(over="ignore"):
        flat = numbers.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    valid = array.is_valid().to_pylist()
    return [flat[offsets[place] : offsets[place + 1]] if is_valid else None for place, is_valid in enumerate(valid)]


def _sparse_vectors(arrow: Any, array: Any) -> list[SparseVector | None] | None:
    """Structs of indices and values as sparse vectors; None if they have another type, or not all are right."""
    if not arrow.types.is_struct(array.type) or {field.name for field in array.type} != {"indices", "values"}:
        return None
    fields = dict(zip([field.name for field in array.type], array.flatten(), strict=True))
    indices, values = fields["indices"], _vectors(arrow, fields["values"])
    if not arrow.types.is_list(indices.type) and not arrow.types.is_large_list(indices.type):
        return None
    numbers = indices.values
    if values is None or numbers.null_count or not arrow.types.is_integer(numbers.type):
        return None
    flat, offsets = numbers.to_numpy(zero_copy_only=False), indices.offsets.to_numpy()
    if len(flat) and (flat.min() < 0 or flat.max() > 2**32 - 1):
        return None
    flat = flat.astype(np.uint32, copy=False)
    vectors: list[SparseVector | None] = []
    for place, is_valid in enumerate(array.is_valid().to_pylist()):
        weights, terms = values[place], flat[offsets[place] : offsets[place + 1]]
        if not is_valid:
            vectors.append(None)
        elif weights is None or len(terms) != len(weights):
            return None
        else:
            vectors.append(SparseVector(terms, weights))
    return vectors


class ParquetWriter:
    """Writes rows in the layout that Pinecone's import takes: id, values, sparse_values, metadata as JSON.

    values, sparse: whether there is a column for them. Raises FailedPrecondition without pyarrow.
    """

    def __init__(self, stream: BinaryIO, values: bool = True, sparse: bool = True) -> None:
        self._arrow, parquet = _libraries()
        arrow = self._arrow
        terms = arrow.struct([("indices", arrow.list_(arrow.uint32())), ("values", arrow.list_(arrow.float32()))])
        columns = [("id", arrow.string())]
        columns += [(VALUES, arrow.list_(arrow.float32()))] if values else []
        columns += [(SPARSE, terms)] if sparse else []
        self._schema = arrow.schema([*columns, (METADATA, arrow.string())])
        self._writer = parquet.ParquetWriter(stream, self._schema)
        self._waiting: list[Row] = []
        self._numbers = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Write some rows. The last ones wait for the next row group."""
        for row in rows:
            self._waiting.append(row)
            self._numbers += 0 if row.values is None else len(row.values)
            if len(self._waiting) >= GROUP_ROWS or self._numbers >= GROUP_NUMBERS:
                self._write_group()

    def close(self) -> None:
        """Write what waits, and the end of the file. The stream stays open."""
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        if not self._waiting:
            return
        arrow, rows = self._arrow, self._waiting
        columns = {
            "id": arrow.array([row.id for row in rows], arrow.string()),
            VALUES: self._lists([row.values for row in rows], np.float32),
            SPARSE: self._sparse([row.sparse for row in rows]),
            METADATA: arrow.array(
                [msgspec.json.encode(row.fields).decode() if row.fields else None for row in rows], arrow.string()
            ),
        }
        chosen = [columns[name] for name in self._schema.names]
        self._writer.write_table(arrow.Table.from_arrays(chosen, schema=self._schema))
        self._waiting, self._numbers = [], 0

    def _lists(self, vectors: Sequence[NDArray[Any] | None], kind: Any) -> Any:
        arrow = self._arrow
        lengths = [0 if vector is None else len(vector) for vector in vectors]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        present = [vector for vector in vectors if vector is not None]
        flat = np.concatenate(present).astype(kind, copy=False) if present else np.empty(0, kind)
        empty = arrow.array([vector is None for vector in vectors])
        return arrow.ListArray.from_arrays(arrow.array(offsets), arrow.array(flat), mask=empty)

    def _sparse(self, vectors: Sequence[SparseVector | None]) -> Any:
        arrow = self._arrow
        indices = self._lists([None if each is None else each.indices for each in vectors], np.uint32)
        values = self._lists([None if each is None else each.values for each in vectors], np.float32)
        empty = arrow.array([each is None for each in vectors])
        return arrow.StructArray.from_arrays([indices, values], names=["indices", "values"], mask=empty)
