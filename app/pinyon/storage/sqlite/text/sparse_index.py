"""The index of sparse vectors: how vectors are stored, and which records share terms with a query.

Plain functions on a connection.
"""

from collections.abc import Iterable

import apsw
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import SparseVector
from pinyon.search.ranking import idf
from pinyon.storage.shared.row_sets import Records
from pinyon.storage.shared.sparse import added_products


def add(connection: apsw.Connection, ns: int, rows: Iterable[tuple[int, SparseVector]]) -> None:
    """Index the terms of records. rows: row numbers and vectors."""
    connection.executemany(
        "INSERT INTO sparse_postings (ns, term, record, weight) VALUES (?, ?, ?, ?)",
        sorted(
            (ns, term, record, weight)
            for record, sparse in rows
            for term, weight in zip(sparse.indices.tolist(), sparse.values.tolist(), strict=True)
        ),
    )


def remove(connection: apsw.Connection, ns: int, rows: Iterable[tuple[int, SparseVector]]) -> None:
    """Remove the terms of records from the index. rows: row numbers and vectors."""
    connection.executemany(
        "DELETE FROM sparse_postings WHERE ns = ? AND term = ? AND record = ?",
        [(ns, term, record) for record, sparse in rows for term in sparse.indices.tolist()],
    )


def dots(
    connection: apsw.Connection, ns: int, query: SparseVector, rare_of: int | None = None
) -> tuple[Records, NDArray[np.float64]]:
    """The records that share a term with the query, int64 [n] and sorted, and their dot products, float64 [n].

    rare_of: the number of records in the namespace, to multiply each term of the query by its inverse document
    frequency there. None: no such weights. Terms are added in ascending order, so that the product of a record is the
    same whatever else is stored.
    """
    parts: list[tuple[Records, NDArray[np.float64]]] = []
    for place in np.argsort(query.indices):
        postings = connection.execute(
            "SELECT record, weight FROM sparse_postings WHERE ns = ? AND term = ?", (ns, int(query.indices[place]))
        ).fetchall()
        if postings:
            pairs = np.array(postings, dtype=np.float64)  # exact, because row numbers are far below 2^53
            rarity = 1.0 if rare_of is None else idf(rare_of, len(postings))
            parts.append((pairs[:, 0].astype(np.int64), pairs[:, 1] * float(query.values[place]) * rarity))
    return added_products(parts)
