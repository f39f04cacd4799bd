"""Learned sparse vectors of the texts of a dense index: a side of hybrid search. Plain functions on a connection.

They are beside the records, so that they never appear as sparse values of the user's own. Candidates come from the
other sides, so there is no inverted index: a search reads the vectors of its candidates. It also needs the mean product
of the query with all texts of the namespace, which follows from the sums of the weights of each term.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import SparseVector
from pinyon.search import fusion
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.connection.packed import copy_in
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.shared.row_sets import Records
from pinyon.storage.shared.sparse import LEARNED_UNIT, products, query_weights, term_sums, to_blob

COLUMNS = {"ns": "int8", "record": "int8", "vector": "bytea"}


async def store(connection: Connection, ns: Namespace, rows: Iterable[tuple[int, int, SparseVector]]) -> None:
    """Store vectors of records that have none. rows: the buckets and row numbers of records, and their vectors."""
    blobs = [(bucket, row, to_blob(vector)) for bucket, row, vector in rows]
    if blobs:
        await copy_in(connection, "learned_vectors", COLUMNS, blobs)
        await count(connection, ns.number, [blob for *_, blob in blobs if blob is not None], 1)


async def remove(connection: Connection, ns: Namespace, rows: Sequence[int]) -> None:
    """Remove the vectors of those records that have one. rows: row numbers."""
    cursor = await connection.execute(
        f"DELETE FROM learned_vectors WHERE {ns.rows} AND record = ANY(%s) RETURNING vector", (list(rows),)
    )
    removed = await cursor.fetchall()
    await count(connection, ns.number, [blob for (blob,) in removed], -1)


async def read(connection: Connection, ns: Namespace, rows: Sequence[int]) -> dict[int, bytes]:
    """The vectors of these rows as they are stored, by row; rows without one are left out."""
    cursor = await connection.execute(
        f"SELECT record, vector FROM learned_vectors WHERE {ns.rows} AND record = ANY(%s)", (list(rows),)
    )
    return dict(await cursor.fetchall())


async def scores(connection: Connection, ns: Namespace, records: Records, query: SparseVector) -> NDArray[np.float64]:
    """What the vectors of records say about a query: float64 [n], as fusion.learned_words() returns it.

    records: int64 [n], row numbers of the namespace. query: has at least one weight.
    """
    weights = query_weights(query)
    cursor = await connection.execute(
        f"SELECT record, vector FROM learned_vectors WHERE {ns.rows} AND record = ANY(%s)", (records.tolist(),)
    )
    rows = await cursor.fetchall()
    of_rows = products(weights, [blob for _, blob in rows])
    by_record = dict(zip([record for record, _ in rows], of_rows.tolist(), strict=True))
    of_records = np.array([by_record.get(record, np.nan) for record in records.tolist()], np.float64)
    sums = await (
        await connection.execute(
            f"SELECT term, sum FROM learned_sums WHERE ns = {ns.number} AND term = ANY(%s) ORDER BY term",
            (query.indices.tolist(),),
        )
    ).fetchall()
    total = sum(float(weights[term]) * number for term, number in sums) / LEARNED_UNIT
    row = await (await connection.execute(f"SELECT learned FROM namespaces WHERE ns = {ns.number}")).fetchone()
    assert row is not None
    return fusion.learned_words(of_records, float(weights @ weights), total, row[0])


async def count(connection: Connection, ns: int, blobs: Sequence[bytes], sign: int) -> None:
    """Add vectors to the sums and to the count of their namespace. sign: 1, or -1 to subtract them."""
    if not blobs:
        return
    terms, sums = term_sums(blobs)
    await connection.execute(
        "INSERT INTO learned_sums (ns, term, sum)"
        f" SELECT {ns}, term, sum FROM unnest(%s::bigint[], %s::bigint[]) AS new (term, sum)"
        " ON CONFLICT (ns, term) DO UPDATE SET sum = learned_sums.sum + excluded.sum",
        (terms.tolist(), (sign * sums).tolist()),
    )
    await connection.execute(f"UPDATE namespaces SET learned = learned + %s WHERE ns = {ns}", (sign * len(blobs),))
