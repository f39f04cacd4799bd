"""Reads vectors from the tables in which sqlite-vec stores them: plain functions on a connection.

vector_tables.py names these tables and has their layout.
"""

from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from pinyon.storage.shared.row_sets import Records, Vectors
from pinyon.storage.sqlite.schema.vector_tables import CHUNK_ROWS, CHUNK_VECTORS, CHUNKS, PLACES

ROWS_AT_ONCE = 4_096
"""Rows that iter_rows() reads per step."""
CHUNKS_AT_ONCE = 32
"""Chunks that iter_chunks() reads per step, so that the cost of the numpy calls does not show."""
FLOAT_BYTES = 4
PLACE = itemgetter(1, 2)
"""Chunk and offset, of a row number with both."""

Part = tuple[Records, Vectors]
"""Some row numbers, int64 [n], and their vectors, float32 [n, dimension]."""


def vector_of(connection: apsw.Connection, record: int) -> Vectors:
    """The stored vector of one row, float32 [dimension]."""
    blob = connection.execute("SELECT embedding FROM vectors WHERE rowid = ?", (record,)).get
    return np.frombuffer(blob, dtype=np.float32)


def chunk_ids(connection: apsw.Connection, ns: int) -> Records:
    """The numbers of the chunks of a namespace."""
    ids: Any = connection.execute(f"SELECT chunk_id FROM {CHUNKS} WHERE partition00 = ?", (ns,)).fetchall()
    return np.array(ids, dtype=np.int64).reshape(-1)


def row_numbers(connection: apsw.Connection, ns: int) -> Records:
    """The sorted numbers of all rows of a namespace."""
    blobs: Any = connection.execute(f"SELECT rowids, validity FROM {CHUNKS} WHERE partition00 = ?", (ns,)).fetchall()
    rows = np.frombuffer(b"".join(row[0] for row in blobs), dtype=np.int64)
    bits = np.frombuffer(b"".join(row[1] for row in blobs), dtype=np.uint8)
    return np.sort(rows[np.unpackbits(bits, bitorder="little").astype(bool)])


def placed_row_numbers(connection: apsw.Connection, ns: int) -> Records:
    """The sorted numbers of the rows that have a place in a chunk of a namespace: the same, in an undamaged file."""
    rows: Any = connection.execute(
        f"SELECT rowid FROM {PLACES} WHERE chunk_id IN"
        f" (SELECT chunk_id FROM {CHUNKS} WHERE partition00 = ?) ORDER BY rowid",
        (ns,),
    ).fetchall()
    return np.array(rows, np.int64).reshape(-1)


def read_rows(connection: apsw.Connection, ns: int, dimension: int, rows: Records) -> Part:
    """Those of the rows that the namespace has, in no particular order, and their vectors."""
    return _joined(list(iter_rows(connection, ns, dimension, rows)), dimension)


def read_chunks(connection: apsw.Connection, ns: int, dimension: int, chunks: Records) -> Part:
    """All rows of some chunks and their vectors. A chunk that does not exist has none."""
    parts = iter_chunks(connection, ns, dimension, chunks)
    return _joined([(rows.copy(), vectors.copy()) for rows, vectors in parts], dimension)


def iter_rows(connection: apsw.Connection, ns: int, dimension: int, rows: Records) -> Iterator[Part]:
    """Those of the rows that the namespace has, and their vectors, each read by itself."""
    size = dimension * FLOAT_BYTES
    blob: Any = None
    try:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            places: Any = connection.execute(
                f"SELECT value, chunk_id, chunk_offset FROM carray(?) CROSS JOIN {PLACES} AS place"
                " ON place.rowid = value"
                f" WHERE (SELECT partition00 FROM {CHUNKS} WHERE chunk_id = place.chunk_id) = ?",
                (apsw.carray(rows[start : start + ROWS_AT_ONCE]), ns),
            ).fetchall()
            if not places:
                continue
            places.sort(key=PLACE)
            vectors = np.empty((len(places), dimension), np.float32)
            target, open_chunk = memoryview(vectors.data).cast("B"), None
            for number, (_, chunk, offset) in enumerate(places):
                if blob is None:
                    blob = connection.blob_open("main", CHUNK_VECTORS, "vectors", chunk, False)
                elif chunk != open_chunk:
                    blob.reopen(chunk)
                open_chunk = chunk
                blob.seek(offset * size)
                blob.read_into(target, number * size, size)
            yield np.array([row for row, _, _ in places], dtype=np.int64), vectors
    finally:
        if blob is not None:
            blob.close()


def iter_chunks(connection: apsw.Connection, ns: int, dimension: int, chunks: Records | None = None) -> Iterator[Part]:
    """All rows of a namespace, or of some of its chunks, and their vectors. The next step overwrites the vectors.

    Blobs are read straight into one buffer. Through rows of a query they would be copied twice with Python's lock held,
    and searches would wait for each other.
    """
    sql = f"SELECT chunk_id, rowids, validity FROM {CHUNKS} WHERE partition00 = ?"
    bindings: tuple[object, ...] = (ns,)
    if chunks is not None:
        sql += " AND chunk_id IN (SELECT value FROM carray(?))"
        bindings = (ns, apsw.carray(chunks))
    buffer = np.empty((CHUNKS_AT_ONCE * CHUNK_ROWS, dimension), np.float32)
    chunk_bytes = CHUNK_ROWS * dimension * FLOAT_BYTES
    target = memoryview(buffer.data).cast("B")
    cursor, blob = connection.execute(sql, bindings), None
    try:
        while group := list(islice(cursor, CHUNKS_AT_ONCE)):
            for place, (chunk, _, _) in enumerate(group):
                if blob is None:
                    blob = connection.blob_open("main", CHUNK_VECTORS, "vectors", chunk, False)
                else:
                    blob.reopen(chunk)
                blob.read_into(target, place * chunk_bytes, chunk_bytes)
            rows = np.frombuffer(b"".join(row[1] for row in group), dtype=np.int64)
            bits = np.frombuffer(b"".join(row[2] for row in group), dtype=np.uint8)
            yield from _selected(rows, buffer[: len(rows)], np.unpackbits(bits, bitorder="little").astype(bool))
    finally:
        if blob is not None:
            blob.close()


def _selected(rows: Records, vectors: Vectors, wanted: NDArray[np.bool_]) -> Iterator[Part]:
    """The wanted rows, without a copy where that is all of them."""
    if wanted.all():
        yield rows, vectors
    elif wanted.any():
        yield rows[wanted], vectors[wanted]


def _joined(parts: list[Part], dimension: int) -> Part:
    if not parts:
        return np.empty(0, np.int64), np.empty((0, dimension), np.float32)
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([vectors for _, vectors in parts])
