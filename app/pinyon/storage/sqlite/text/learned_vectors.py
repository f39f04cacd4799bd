"""Learned sparse vectors of the texts of a dense index: a side of hybrid search. Plain functions on a connection.

They are beside the records, so that they never appear as sparse values of the user's own. Candidates come from the
other sides, so there is no inverted index: a search reads the vectors of its candidates. It also needs the mean product
of the query with all texts of the namespace, which follows from the sums of the weights of each term. A sum is written
in the transaction that writes the vectors. Its numbers are integers: so the order of writes does not matter, and what
was added can be subtracted without a rest.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import SparseVector
from pinyon.search import fusion
from pinyon.storage.shared.row_sets import Records
from pinyon.storage.shared.sparse import LEARNED_UNIT, products, query_weights, term_sums, to_blob


def store(connection: apsw.Connection, ns: int, rows: Iterable[tuple[int, SparseVector]]) -> None:
    """Store vectors of records that have none. rows: row numbers and vectors."""
    blobs = [(row, to_blob(vector)) for row, vector in rows]
    connection.executemany("INSERT INTO learned_vectors (record, vector) VALUES (?, ?)", blobs)
    _count(connection, ns, [blob for _, blob in blobs if blob is not None], 1)


def remove(connection: apsw.Connection, ns: int, rows: Sequence[int]) -> None:
    """Remove the vectors of those records that have one. rows: row numbers."""
    if not rows or not connection.execute("SELECT learned FROM namespaces WHERE ns = ?", (ns,)).get:
        return
    removed: list[Any] = connection.execute(
        "DELETE FROM learned_vectors WHERE record IN (SELECT value FROM carray(?)) RETURNING vector",
        (apsw.carray(np.array(rows, np.int64)),),
    ).fetchall()
    _count(connection, ns, [blob for (blob,) in removed], -1)


def remove_all(connection: apsw.Connection, ns: int) -> None:
    """Remove every vector of a namespace. Call before its records are deleted."""
    connection.execute("DELETE FROM learned_vectors WHERE record IN (SELECT record FROM records WHERE ns = ?)", (ns,))
    connection.execute("DELETE FROM learned_sums WHERE ns = ?", (ns,))
    connection.execute("UPDATE namespaces SET learned = 0 WHERE ns = ?", (ns,))


def replace_all(connection: apsw.Connection, sql: str) -> None:
    """Replace the vectors of all namespaces. sql: reads the new ones, as (record, vector)."""
    connection.execute("DELETE FROM learned_vectors")
    connection.execute("DELETE FROM learned_sums")
    connection.execute("UPDATE namespaces SET learned = 0")
    connection.execute(f"INSERT INTO learned_vectors (record, vector) {sql}")
    numbers: list[int] = [ns for (ns,) in connection.execute("SELECT ns FROM namespaces")]
    for ns in numbers:
        _count(connection, ns, _blobs(connection, ns), 1)


def read(connection: apsw.Connection, rows: NDArray[np.int64]) -> dict[int, bytes]:
    """The vectors of these rows as they are stored, by row; rows without one are left out."""
    vectors: Any = connection.execute(
        "SELECT record, vector FROM carray(?) CROSS JOIN learned_vectors ON record = value",
        (apsw.carray(np.sort(rows)),),
    )
    return dict(vectors)


def scores(connection: apsw.Connection, ns: int, records: Records, query: SparseVector) -> NDArray[np.float64]:
    """What the vectors of records say about a query: float64 [n], as fusion.learned_words() returns it.

    records: int64 [n], row numbers of the namespace. query: has at least one weight; its terms are numbers of a
    vocabulary, so that an array may be as long as the largest of them.
    """
    weights = query_weights(query)
    rows: list[Any] = connection.execute(
        "SELECT record, vector FROM carray(?) CROSS JOIN learned_vectors ON record = value",
        (apsw.carray(np.sort(records)),),
    ).fetchall()
    of_rows = products(weights, [blob for _, blob in rows])
    by_record = dict(zip([record for record, _ in rows], of_rows.tolist(), strict=True))
    of_records = np.array([by_record.get(record, np.nan) for record in records.tolist()], np.float64)
    sums: list[Any] = connection.execute(
        "SELECT term, sum FROM carray(?) CROSS JOIN learned_sums ON ns = ? AND term = value",
        (apsw.carray(query.indices.astype(np.int64)), ns),
    ).fetchall()
    total = sum(float(weights[term]) * number for term, number in sums) / LEARNED_UNIT
    count = int(connection.execute("SELECT learned FROM namespaces WHERE ns = ?", (ns,)).get)
    return fusion.learned_words(of_records, float(weights @ weights), total, count)


def are_right(connection: apsw.Connection, ns: int) -> bool:
    """Whether the sums and the count of a namespace fit its vectors. Reads all of them."""
    blobs = list(_blobs(connection, ns))
    terms, sums = term_sums(blobs)
    stored: list[Any] = connection.execute(
        "SELECT term, sum FROM learned_sums WHERE ns = ? AND sum <> 0 ORDER BY term", (ns,)
    ).fetchall()
    count = int(connection.execute("SELECT learned FROM namespaces WHERE ns = ?", (ns,)).get)
    is_counted = sums != 0
    expected = list(zip(terms[is_counted].tolist(), sums[is_counted].tolist(), strict=True))
    return count == len(blobs) and stored == expected


def _blobs(connection: apsw.Connection, ns: int) -> Iterable[bytes]:
    rows: Any = connection.execute("SELECT vector FROM learned_vectors JOIN records USING (record) WHERE ns = ?", (ns,))
    return (blob for (blob,) in rows)


def _count(connection: apsw.Connection, ns: int, blobs: Iterable[bytes], sign: int) -> None:
    """Add vectors to the sums and to the count of their namespace. sign: 1, or -1 to subtract them."""
    blobs = list(blobs)
    terms, sums = term_sums(blobs)
    connection.executemany(
        "INSERT INTO learned_sums (ns, term, sum) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET sum = sum + excluded.sum",
        [(ns, term, sign * number) for term, number in zip(terms.tolist(), sums.tolist(), strict=True)],
    )
    if blobs:
        connection.execute("UPDATE namespaces SET learned = learned + ? WHERE ns = ?", (sign * len(blobs), ns))
