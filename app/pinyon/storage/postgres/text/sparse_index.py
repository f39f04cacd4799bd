"""The index of sparse vectors: which records share terms with a query. Plain functions on a connection."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import SparseVector
from pinyon.search.ranking import idf
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.connection.packed import copy_in, lists_by_term
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.shared.records import StoredRecord
from pinyon.storage.shared.row_sets import Records
from pinyon.storage.shared.sparse import added_products, from_blob

POSTING = np.dtype([("record", ">i8"), ("weight", ">f4")])
COLUMNS = {"ns": "int8", "term": "int8", "record": "int8", "weight": "float4"}


def _vectors(records: Iterable[StoredRecord]) -> list[tuple[StoredRecord, SparseVector]]:
    vectors = ((record, from_blob(record.sparse)) for record in records)
    return [(record, vector) for record, vector in vectors if vector is not None]


async def add(connection: Connection, ns: Namespace, records: Sequence[StoredRecord]) -> None:
    """Index the terms of records."""
    rows = [
        (ns.bucket(record.id), term, record.row, weight)
        for record, vector in _vectors(records)
        for term, weight in zip(vector.indices.tolist(), vector.values.tolist(), strict=True)
    ]
    if rows:
        await copy_in(connection, "sparse_postings", COLUMNS, sorted(rows))


async def remove(connection: Connection, ns: Namespace, records: Sequence[StoredRecord]) -> None:
    """Remove the terms of records from the index."""
    pairs = [(term, record.row) for record, vector in _vectors(records) for term in vector.indices.tolist()]
    if pairs:
        await connection.execute(
            "DELETE FROM sparse_postings USING unnest(%s::bigint[], %s::bigint[]) AS gone (term, record)"
            f" WHERE {ns.rows} AND sparse_postings.term = gone.term AND sparse_postings.record = gone.record",
            ([term for term, _ in pairs], [row for _, row in pairs]),
        )


async def dots(
    connection: Connection, ns: Namespace, query: SparseVector, rare_of: int | None = None
) -> tuple[Records, NDArray[np.float64]]:
    """The records that share a term with the query, int64 [n] and sorted, and their dot products, float64 [n].

    rare_of: the number of records in the namespace, to multiply each term of the query by its inverse document
    frequency there. None: no such weights. Terms are added in ascending order, so that the product of a record is the
    same whatever else is stored.
    """
    cursor = connection.cursor(binary=True)
    await cursor.execute(
        "SELECT term, string_agg(int8send(record) || float4send(weight), '' ORDER BY record) FROM sparse_postings"
        f" WHERE {ns.rows} AND term = ANY(%s) GROUP BY ns, term",
        (query.indices.tolist(),),
    )
    by_term = lists_by_term(await cursor.fetchall(), POSTING)
    parts: list[tuple[Records, NDArray[np.float64]]] = []
    for place in np.argsort(query.indices):
        postings = by_term.get(int(query.indices[place]))
        if postings is not None:
            rarity = 1.0 if rare_of is None else idf(rare_of, len(postings))
            products = postings["weight"].astype(np.float64) * float(query.values[place]) * rarity
            parts.append((postings["record"].astype(np.int64), products))
    return added_products(parts)
