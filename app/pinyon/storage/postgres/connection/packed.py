"""Many values at once, between PostgreSQL's binary formats and numpy arrays. Pure, but for copy_in().

One long binary value is read many times as fast as a row for each number. PostgreSQL's numbers are big-endian.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from psycopg import sql

from pinyon.storage.postgres.connection.database import Connection

ENCODED = ("vector", "jsonb")
"""Types whose values are given in their binary format: see vector_bytes() and jsonb_bytes()."""
JSONB_VERSION = b"\1"
VECTOR_HEADER = 4
"""Bytes before the numbers of a vector of pgvector: the dimension, and two bytes that are not used."""


def integers(packed: bytes | None) -> NDArray[np.int64]:
    """int64 [n], from string_agg(int8send(column), '')."""
    return np.frombuffer(packed or b"", ">i8").astype(np.int64)


def vectors(packed: Sequence[bytes], dimension: int) -> NDArray[np.float32]:
    """float32 [n, dimension], from vectors of pgvector in their binary format."""
    row = np.dtype([("header", f"V{VECTOR_HEADER}"), ("values", ">f4", (dimension,))])
    return np.frombuffer(b"".join(packed), row)["values"].astype(np.float32).reshape(len(packed), dimension)


def vector_bytes(vector: NDArray[np.float32]) -> bytes:
    """A vector in pgvector's binary format. vector: float32 [dimension]."""
    return len(vector).to_bytes(2) + b"\0\0" + vector.astype(">f4").tobytes()


def jsonb_bytes(text: bytes) -> bytes:
    """A value of type jsonb in its binary format. text: JSON."""
    return JSONB_VERSION + text


def vector_text(vector: NDArray[np.float32]) -> str:
    """A vector as pgvector reads it in SQL: '[1.5,2]'. vector: float32 [dimension]."""
    return orjson.dumps(np.ascontiguousarray(vector), option=orjson.OPT_SERIALIZE_NUMPY).decode()


def lists_by_term(rows: Iterable[tuple[int, bytes]], posting: np.dtype[np.void]) -> dict[int, NDArray[np.void]]:
    """Inverted lists by term, each sorted by record. posting: what they consist of, with a field `record`.

    rows: a term and a packed list, which is sorted; once for each bucket of the namespace that has the term.
    """
    parts: dict[int, list[NDArray[np.void]]] = {}
    for term, packed in rows:
        parts.setdefault(term, []).append(np.frombuffer(packed, posting))
    return {term: lists[0] if len(lists) == 1 else _merged(lists) for term, lists in parts.items()}


def _merged(lists: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    postings = np.concatenate(lists)
    return postings[np.argsort(postings["record"])]


async def copy_in(connection: Connection, table: str, columns: dict[str, str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows by COPY. columns: names and types of the table's columns. Those in ENCODED are bytes."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["bytea" if kind in ENCODED else kind for kind in columns.values()])
        for row in rows:
            await copy.write_row(row)
