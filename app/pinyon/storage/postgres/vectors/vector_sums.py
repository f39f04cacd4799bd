"""The sum of the unit vectors of each namespace, from which its centroid follows. Plain functions on a connection.

Kept for indexes that embed text, because hybrid search compares a cosine with that of the centroid. A sum is written in
the transaction that writes the vectors.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Centroid, IndexSpec
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.connection.packed import vectors as unpacked
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.shared.centroids import Sum, are_kept, centroid_of, sum_of

READ_ROWS = 5_000
"""Vectors that a rebuild holds in memory at a time."""


async def add(connection: Connection, spec: IndexSpec, ns: Namespace, vectors: Sequence[NDArray[np.float32]]) -> None:
    """Add new vectors to the sum of their namespace."""
    if are_kept(spec) and vectors:
        await _change(connection, ns.number, sum_of(np.stack(vectors)))


async def subtract(connection: Connection, spec: IndexSpec, ns: Namespace, rows: Sequence[int]) -> None:
    """Subtract the stored vectors of these rows. Call before they are replaced or removed."""
    if are_kept(spec) and rows:
        cursor = connection.cursor(binary=True)
        await cursor.execute(f"SELECT embedding FROM vectors WHERE {ns.rows} AND record = ANY(%s)", (list(rows),))
        packed = [blob for (blob,) in await cursor.fetchall()]
        await _change(connection, ns.number, -sum_of(unpacked(packed, spec.dimension)))


async def rebuild(connection: Connection, spec: IndexSpec) -> None:
    """Compute the sums of all namespaces again from the stored vectors."""
    await connection.execute("DELETE FROM vector_sums")
    if not are_kept(spec):
        return
    namespaces = await (
        await connection.execute("SELECT ns, buckets FROM namespaces WHERE record_count > 0")
    ).fetchall()
    for ns in itertools.starmap(Namespace, namespaces):
        last = 0
        while True:
            cursor = connection.cursor(binary=True)
            await cursor.execute(
                f"SELECT record, embedding FROM vectors WHERE {ns.rows} AND record > %s ORDER BY record LIMIT %s",
                (last, READ_ROWS),
            )
            rows = await cursor.fetchall()
            if not rows:
                break
            await _change(connection, ns.number, sum_of(unpacked([blob for _, blob in rows], spec.dimension)))
            last = rows[-1][0]


async def centroid(connection: Connection, ns: int, count: int) -> Centroid | None:
    """The mean of the namespace's unit vectors; None if it has none. count: its records, more than 0."""
    total = await _stored(connection, ns)
    return None if total is None else centroid_of(total, count)


async def _stored(connection: Connection, ns: int) -> Sum | None:
    row = await (await connection.execute(f"SELECT sum FROM vector_sums WHERE ns = {ns}")).fetchone()
    return None if row is None else np.frombuffer(row[0], np.int64)


async def _change(connection: Connection, ns: int, difference: Sum) -> None:
    stored = await _stored(connection, ns)
    total = difference if stored is None else stored + difference
    await connection.execute(
        "INSERT INTO vector_sums (ns, sum) VALUES (%s, %s) ON CONFLICT (ns) DO UPDATE SET sum = excluded.sum",
        (ns, total.tobytes()),
    )
