"""Exact nearest neighbours: a numpy scan over the chunks in which sqlite-vec keeps the vectors.

SQL's `MATCH` ends at k = 4096, has no dot product and breaks ties as it likes; the scan has none of these limits and
is about as fast. Tests compare the two. Layout of sqlite-vec 0.1.9 that this file relies on:
    vectors_chunks(chunk_id, partition00, validity, rowids)   a bit and an int64 per slot
    vectors_vector_chunks00(rowid = chunk_id, vectors)        a float32 [dimension] per slot
    vectors_rowids(rowid, chunk_id, chunk_offset)             where a row lies
"""

from collections.abc import Iterator
from itertools import islice

import apsw
import numpy as np
from numpy.typing import NDArray

from app.domain import Metric
from app.ranking import exact_scores, goodness, scores

CHUNKS_AT_ONCE = 32
"""Chunks per numpy call: enough that the cost of the call does not show."""

Records = NDArray[np.int64]
Vectors = NDArray[np.float32]


def nearest(
    connection: apsw.Connection,
    ns: int,
    metric: Metric,
    query: Vectors,
    top_k: int,
    kept: Records | None = None,
) -> tuple[Records, NDArray[np.float32]]:
    """Row numbers and exact scores of the top_k best, and of every further one that ties with the last of them.

    query: float32 [dimension]. kept: sorted row numbers that a filter left; None: all of the namespace. Returns
    int64 [n] and float32 [n], n >= min(top_k, rows), in no particular order.
    """
    best = _Best(metric, query, top_k)
    for records, vectors in _chunks(connection, ns, len(query), kept):
        best.add(records, vectors)
    return best.result()


def vector_of(connection: apsw.Connection, record: int) -> Vectors:
    """The stored vector of one row, float32 [dimension]."""
    blob = connection.execute("SELECT embedding FROM vectors WHERE rowid = ?", (record,)).get
    return np.frombuffer(blob, dtype=np.float32)


def _chunks(
    connection: apsw.Connection, ns: int, dimension: int, kept: Records | None
) -> Iterator[tuple[Records, Vectors]]:
    """Live rows and their vectors, many chunks at a time; with a filter, only chunks that hold a kept row."""
    sql = (
        "SELECT c.rowids, c.validity, v.vectors FROM vectors_chunks c"
        " JOIN vectors_vector_chunks00 v ON v.rowid = c.chunk_id WHERE c.partition00 = ?"
    )
    bindings: tuple[object, ...] = (ns,)
    if kept is not None:
        if not len(kept):
            return
        sql += " AND c.chunk_id IN (SELECT chunk_id FROM vectors_rowids WHERE rowid IN (SELECT value FROM carray(?)))"
        bindings = (ns, apsw.carray(kept))
    cursor = connection.execute(sql, bindings)
    while group := list(islice(cursor, CHUNKS_AT_ONCE)):
        records = np.frombuffer(b"".join(row[0] for row in group), dtype=np.int64)
        bits = np.frombuffer(b"".join(row[1] for row in group), dtype=np.uint8)
        vectors = np.frombuffer(b"".join(row[2] for row in group), dtype=np.float32).reshape(-1, dimension)
        live = np.unpackbits(bits, bitorder="little").astype(bool)
        if kept is not None:
            live &= _contains(kept, records)
        yield (records, vectors) if live.all() else (records[live], vectors[live])


def _contains(ordered: Records, wanted: Records) -> NDArray[np.bool_]:
    places = np.searchsorted(ordered, wanted)
    places[places == len(ordered)] = 0
    return np.asarray(ordered[places] == wanted)


class _Best:
    """Keeps every row that may still be among the best, judged by quick float32 scores with a margin for their
    rounding; result() scores those few exactly."""

    def __init__(self, metric: Metric, query: Vectors, top_k: int) -> None:
        self._metric, self._query, self._top_k = metric, query, top_k
        self._scale = float(np.sqrt(np.square(query.astype(np.float64)).sum()))
        self._margin, self._floor, self._size = 0.0, -np.inf, 0
        self._records: list[Records] = []
        self._vectors: list[Vectors] = []
        self._good: list[NDArray[np.float32]] = []

    def add(self, records: Records, vectors: Vectors) -> None:
        if not len(records):
            return
        with np.errstate(over="ignore", invalid="ignore"):
            good = goodness(self._metric, scores(self._metric, vectors, self._query)).astype(np.float32)
        if not np.isfinite(good).all():  # beyond float32: squares of values above 1e19
            good = goodness(self._metric, exact_scores(self._metric, vectors, self._query))
        self._margin = max(self._margin, self._rounding(good, vectors))
        may = good >= self._floor - self._margin
        if may.any():
            self._records.append(records[may])
            self._vectors.append(vectors[may])
            self._good.append(good[may])
            self._size += int(may.sum())
            if self._size > 2 * self._top_k + 4096:
                self._prune()

    def _rounding(self, good: NDArray[np.float32], vectors: Vectors) -> float:
        """How far a float32 score may be from the exact one: 1e-5 of the largest term that went into it."""
        if self._metric == "cosine":
            return 1e-5
        longest = float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64).max()))
        if self._metric == "dotproduct":
            return 1e-5 * self._scale * longest
        return 1e-5 * (self._scale + longest) ** 2

    def _prune(self) -> None:
        good = np.concatenate(self._good)
        if len(good) > self._top_k:
            self._floor = float(np.partition(good, -self._top_k)[-self._top_k])
        may = good >= self._floor - self._margin
        self._records = [np.concatenate(self._records)[may]]
        self._vectors = [np.concatenate(self._vectors)[may]]
        self._good = [good[may]]
        self._size = int(may.sum())

    def result(self) -> tuple[Records, NDArray[np.float32]]:
        if not self._records:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        self._prune()
        records, exact = self._records[0], exact_scores(self._metric, self._vectors[0], self._query)
        if len(records) > self._top_k:
            good = goodness(self._metric, exact)
            enough = good >= np.partition(good, -self._top_k)[-self._top_k]
            records, exact = records[enough], exact[enough]
        return records, exact
