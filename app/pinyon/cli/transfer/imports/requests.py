"""Turns rows into requests, and checks what JSON cannot say."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any, Literal

import msgspec
import numpy as np
import orjson

from pinyon.formats.layout import SPARSE, VALUES
from pinyon.formats.rows import Row, RowProblem

Kind = Literal["vectors", "texts"]
MOST_ROWS: dict[Kind, int] = {"vectors": 1_000, "texts": 96}
"""Rows of a request, as Pinecone allows."""
MOST_BYTES = 2_000_000
"""Bytes of a request: numbers count four bytes, texts as they are sent. Pinecone allows 2 MiB."""
OVERHEAD = 64
"""More than the bytes of a row that are not of its values or fields."""


class Target(msgspec.Struct, frozen=True):
    """An index that takes rows. text_field: what it embeds; None if it embeds nothing. sparse: it has no dense vectors.

    reembed: embed the texts of rows that bring vectors, too.
    """

    index: str
    text_field: str | None
    sparse: bool
    reembed: bool

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns of which each row needs at least one."""
        vector = SPARSE if self.sparse else VALUES
        if self.text_field is None:
            return (vector,)
        return (self.text_field,) if self.reembed else (self.text_field, vector)

    def kind(self, row: Row) -> Kind:
        """How a row is sent: with its vectors, or as a text to embed."""
        brings = row.sparse is not None if self.sparse else row.values is not None
        return "vectors" if self.text_field is None or (brings and not self.reembed) else "texts"

    def problem(self, row: Row) -> tuple[str, str | None] | None:
        """Why a row cannot be sent, and the column that it is about; None if it can be sent.

        Whether the index takes it is for the server to say.
        """
        for name, value in row.fields.items():
            if isinstance(value, float) and not isfinite(value):
                return f"there is {value}; expected: a finite number", name
        if self.kind(row) == "texts":
            if reserved := [name for name in ("id", "_id") if name in row.fields]:
                return f"the field '{reserved[0]}' is the id of records with text; name it otherwise with --map", None
            extra = row.values if self.sparse else row.sparse
            if extra is not None and not self.reembed:
                return f"its vector is of another kind than those of index {self.index}; --reembed leaves it out", None
            return None
        numbers = {VALUES: row.values, SPARSE: None if row.sparse is None else row.sparse.values}
        for column, values in numbers.items():
            if values is not None and not np.isfinite(values).all():
                return "a number is not finite, or too large for 32 bits; expected: finite numbers", column
        return None


def size_of(kind: Kind, row: Row) -> int:
    """Bytes that a row counts in a request."""
    size = len(row.id) + len(msgspec.json.encode(row.fields)) + OVERHEAD
    if kind == "vectors":
        size += 0 if row.values is None else 4 * len(row.values)
        size += 0 if row.sparse is None else 8 * len(row.sparse.indices)
    return size


def body(kind: Kind, namespace: str, rows: Sequence[Row]) -> bytes:
    """The body of an upsert: JSON for vectors, lines of JSON for texts."""
    if kind == "texts":
        return b"\n".join(msgspec.json.encode({**row.fields, "_id": row.id}) for row in rows)
    encoded = {"namespace": namespace, "vectors": [_vector(row) for row in rows]}
    return orjson.dumps(encoded, option=orjson.OPT_SERIALIZE_NUMPY)


def _vector(row: Row) -> dict[str, Any]:
    vector: dict[str, Any] = {"id": row.id, "metadata": row.fields}
    if row.values is not None:
        vector["values"] = np.ascontiguousarray(row.values)
    if row.sparse is not None:
        indices, values = row.sparse.indices, row.sparse.values
        vector["sparseValues"] = {"indices": np.ascontiguousarray(indices), "values": np.ascontiguousarray(values)}
    return vector


class Request(msgspec.Struct, frozen=True):
    """Rows that are sent together."""

    kind: Kind
    file: str
    namespace: str
    rows: list[Row]


def requests(target: Target, file: str, namespace: str, rows: Sequence[Row]) -> Iterator[Request | RowProblem]:
    """Rows as requests, and those that cannot be sent. Rows with the same id stay in their order."""
    waiting: dict[Kind, list[Row]] = {"vectors": [], "texts": []}
    sizes: dict[Kind, int] = {"vectors": 0, "texts": 0}
    ids: dict[str, Kind] = {}

    def flush(kind: Kind) -> Iterator[Request]:
        if waiting[kind]:
            yield Request(kind, file, namespace, waiting[kind])
        waiting[kind], sizes[kind] = [], 0

    for row in rows:
        problem = target.problem(row)
        if problem is not None:
            yield RowProblem(file, row.number, *problem, content_of(row))
            continue
        kind, size = target.kind(row), size_of(target.kind(row), row)
        if ids.get(row.id, kind) != kind:
            yield from flush(ids[row.id])
        if len(waiting[kind]) == MOST_ROWS[kind] or (waiting[kind] and sizes[kind] + size > MOST_BYTES):
            yield from flush(kind)
        waiting[kind].append(row)
        sizes[kind] += size
        ids[row.id] = kind
    for kind in waiting:
        yield from flush(kind)


def content_of(row: Row) -> dict[str, Any]:
    """A row as it is written to a file of refused rows: one that can be imported when it is mended."""
    content: dict[str, Any] = {"id": row.id}
    if row.values is not None:
        content["values"] = row.values.tolist()
    if row.sparse is not None:
        content["sparse_values"] = {"indices": row.sparse.indices.tolist(), "values": row.sparse.values.tolist()}
    return {**content, "metadata": row.fields}
