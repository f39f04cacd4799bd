"""Sparse vectors: how they are kept, and which records share terms with a query. Plain functions on a connection."""

from collections.abc import Iterable

import apsw
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import SparseVector
from pinyon.search.ranking import idf
from pinyon.storage.sqlite.row_sets import Records


def to_blob(sparse: SparseVector | None) -> bytes | None:
    """A vector as it is stored: uint32 terms, then float32 weights."""
    return None if sparse is None else sparse.indices.tobytes() + sparse.values.tobytes()


def from_blob(blob: bytes | None) -> SparseVector | None:
    """The vector of a stored value."""
    if blob is None:
        return None
    half = len(blob) // 2
    return SparseVector(np.frombuffer(blob[:half], np.uint32), np.frombuffer(blob[half:], np.float32))


def add(connection: apsw.Connection, ns: int, rows: Iterable[tuple[int, SparseVector]]) -> None:
    """Post the terms of records."""
    connection.executemany(
        "INSERT INTO sparse_postings (ns, term, record, weight) VALUES (?, ?, ?, ?)",
        sorted(
            (ns, term, record, weight)
            for record, sparse in rows
            for term, weight in zip(sparse.indices.tolist(), sparse.values.tolist(), strict=True)
        ),
    )


def remove(connection: apsw.Connection, ns: int, rows: Iterable[tuple[int, SparseVector]]) -> None:
    """Remove the terms of records."""
    connection.executemany(
        "DELETE FROM sparse_postings WHERE ns = ? AND term = ? AND record = ?",
        [(ns, term, record) for record, sparse in rows for term in sparse.indices.tolist()],
    )


def dots(
    connection: apsw.Connection, ns: int, query: SparseVector, rare_of: int | None = None
) -> tuple[Records, NDArray[np.float64]]:
    """Records that share a term with the query, sorted int64 [n], and their dot products, float64 [n].

    rare_of: how many records the namespace has, to weigh each term of the query by how rare it is there; None: not to.
    Terms are added in ascending order, so that a record's product is the same whatever else is stored.
    """
    records, products = [np.empty(0, np.int64)], [np.empty(0, np.float64)]
    for place in np.argsort(query.indices):
        found = connection.execute(
            "SELECT record, weight FROM sparse_postings WHERE ns = ? AND term = ?", (ns, int(query.indices[place]))
        ).fetchall()
        if found:
            pairs = np.array(found, dtype=np.float64)  # row numbers are far below 2^53
            records.append(pairs[:, 0].astype(np.int64))
            rarity = 1.0 if rare_of is None else idf(rare_of, len(found))
            products.append(pairs[:, 1] * float(query.values[place]) * rarity)
    every, place_of = np.unique(np.concatenate(records), return_inverse=True)
    sums = np.bincount(place_of, weights=np.concatenate(products), minlength=len(every))
    return every, sums.astype(np.float64)
