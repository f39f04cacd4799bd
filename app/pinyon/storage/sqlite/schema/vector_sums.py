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
from pinyon.storage.sqlite.schema.vector_tables import CHUNK_ROWS, CHUNK_VECTORS, CHUNKS

UNIT = 2.0**30
"""The integer that stands for 1. The sum of 2 ** 33 unit vectors fits into an int64."""

Vector = NDArray[np.float32]
Sum = NDArray[np.int64]
"""int64 [dimension]: the sum of unit vectors, in steps of 1 / UNIT."""


def are_kept(spec: IndexSpec) -> bool:
    """Whether the sums of this index are kept."""
    return spec.embed is not None and not spec.sparse


def sum_of(vectors: NDArray[np.float32]) -> Sum:
    """The sum of some vectors after each was divided by its length. vectors: float32 [n, dimension], n may be 0.

    A vector of zeros adds nothing. Processors differ in the last bit of a length, so a number may be off by 1 for each
    vector if the sum is computed elsewhere.
    """
    rows = vectors.astype(np.float64)
    lengths = np.sqrt(np.vecdot(rows, rows))[:, None]
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return np.asarray(np.rint(units * UNIT).astype(np.int64).sum(axis=0))


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
    return Centroid(total / (UNIT * count), count)


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
