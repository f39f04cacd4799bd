"""The sum of the unit vectors of each namespace, from which its centroid follows. Plain functions on a connection.

Kept for indexes that embed text, because hybrid search compares a cosine with that of the centroid. A sum is written in
the transaction that writes the vectors. Its numbers are integers: so the order of writes does not matter, and what was
added can be subtracted without a rest.
"""

from collections.abc import Sequence
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Centroid, IndexSpec
from pinyon.storage.shared.centroids import Sum, are_kept, centroid_of, sum_of
from pinyon.storage.sqlite.schema.vector_tables import CHUNK_ROWS, CHUNK_VECTORS, CHUNKS

Vector = NDArray[np.float32]


def add(connection: apsw.Connection, spec: IndexSpec, ns: int, vectors: Sequence[Vector]) -> None:
    """Add new vectors to the sum of their namespace."""
    if are_kept(spec) and vectors:
        _change(connection, ns, sum_of(np.stack(vectors)))


def subtract(connection: apsw.Connection, spec: IndexSpec, ns: int, rows: Sequence[int]) -> None:
    """Subtract the stored vectors of these rows. Call before they are replaced or removed."""
    if are_kept(spec) and rows:
        blobs: list[Any] = connection.execute(
            "SELECT embedding FROM carray(?) CROSS JOIN vectors ON rowid = value",
            (apsw.carray(np.array(rows, np.int64)),),
        ).fetchall()
        stored = np.frombuffer(b"".join(blob for (blob,) in blobs), np.float32)
        _change(connection, ns, -sum_of(stored.reshape(-1, spec.dimension)))


def remove(connection: apsw.Connection, ns: int) -> None:
    """Forget the sum of a namespace, because all of its vectors are removed."""
    connection.execute("DELETE FROM vector_sums WHERE ns = ?", (ns,))


def are_missing(connection: apsw.Connection, spec: IndexSpec) -> bool:
    """Whether a namespace has vectors and no sum: the file was written by an earlier version of Pinyon."""
    return are_kept(spec) and bool(
        connection.execute(
            "SELECT EXISTS (SELECT 1 FROM namespaces WHERE record_count AND ns NOT IN (SELECT ns FROM vector_sums))"
        ).get
    )


def rebuild(connection: apsw.Connection, spec: IndexSpec) -> None:
    """Compute the sums of all namespaces again from the stored vectors."""
    connection.execute("DELETE FROM vector_sums")
    if are_kept(spec):
        numbers: list[int] = [ns for (ns,) in connection.execute("SELECT ns FROM namespaces WHERE record_count")]
        for ns in numbers:
            _change(connection, ns, _computed(connection, spec, ns))


def centroid(connection: apsw.Connection, spec: IndexSpec, ns: int, count: int) -> Centroid:
    """The mean of the namespace's unit vectors. count: its records, more than 0.

    Reads all vectors of a namespace without a sum. There are such if a start ended after the schema was brought up to
    date and before the sums were computed, and the file is now opened only to read.
    """
    stored = _stored(connection, ns)
    total = _computed(connection, spec, ns) if stored is None else stored
    return centroid_of(total, count)


def is_right(connection: apsw.Connection, spec: IndexSpec, ns: int) -> bool:
    """Whether the sum of a namespace fits its vectors. Reads all of them."""
    stored = _stored(connection, ns)
    count = int(connection.execute("SELECT record_count FROM namespaces WHERE ns = ?", (ns,)).get)
    if stored is None:
        return not count
    return len(stored) == spec.dimension and bool((np.abs(stored - _computed(connection, spec, ns)) <= count).all())


def _stored(connection: apsw.Connection, ns: int) -> Sum | None:
    blob = connection.execute("SELECT sum FROM vector_sums WHERE ns = ?", (ns,)).get
    return None if blob is None else np.frombuffer(blob, np.int64)


def _computed(connection: apsw.Connection, spec: IndexSpec, ns: int) -> Sum:
    total: Sum = np.zeros(spec.dimension, np.int64)
    chunks: Any = connection.execute(
        f"SELECT validity, vectors FROM {CHUNKS} JOIN {CHUNK_VECTORS} ON {CHUNK_VECTORS}.rowid = chunk_id"
        " WHERE partition00 = ?",
        (ns,),
    )
    for validity, blob in chunks:
        is_used = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little").astype(bool)
        total += sum_of(np.frombuffer(blob, np.float32).reshape(CHUNK_ROWS, spec.dimension)[is_used])
    return total


def _change(connection: apsw.Connection, ns: int, difference: Sum) -> None:
    stored = _stored(connection, ns)
    total = difference if stored is None else stored + difference
    connection.execute("INSERT OR REPLACE INTO vector_sums (ns, sum) VALUES (?, ?)", (ns, total.tobytes()))
