"""Exact nearest neighbours: a numpy scan over the chunks in which sqlite-vec keeps the vectors.

SQL's `MATCH` ends at k = 4096, has no dot product and breaks ties as it likes; the scan has none of these limits and
is about as fast. Tests compare the two. Layout of sqlite-vec 0.1.9 that this file relies on:
    vectors_chunks(chunk_id, partition00, validity, rowids)   a bit and an int64 per slot
    vectors_vector_chunks00, at row id chunk_id: vectors      a float32 [dimension] per slot
    vectors_rowids(rowid, chunk_id, chunk_offset)             where a row lies
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import apsw
import msgspec
import numpy as np
from numpy.typing import NDArray

from app.domain import Metric
from app.ranking import bounded_scores, exact_scores, goodness
from app.storage.migrations import CHUNK_ROWS
from app.storage.vector_cache import Held, VectorCache

MANY = 0.05
"""Share of the rows from which on all chunks are read."""
ROWS_AT_ONCE = 4_096
NOT_KEPT = -1
FLOAT_BYTES = 4
CHUNKS_AT_ONCE = 32
"""Chunks per numpy call: enough that the cost of the call does not show."""

Records = NDArray[np.int64]
Vectors = NDArray[np.float32]
Additions = tuple[Records, NDArray[np.float64]]
"""Sorted row numbers, and a number for each."""


class Source(msgspec.Struct, frozen=True):
    """Where the vectors of a namespace are, as one snapshot sees them. count: its records. handle: of the index."""

    connection: apsw.Connection
    ns: int
    dimension: int
    count: int
    version: int
    cache: VectorCache
    handle: str

    @property
    def key(self) -> tuple[str, int]:
        """What the cache knows the namespace by."""
        return self.handle, self.ns


def nearest(
    source: Source,
    metric: Metric,
    query: Vectors,
    top_k: int,
    kept: Records | None = None,
    more: Additions | None = None,
) -> tuple[Records, NDArray[np.float32]]:
    """Row numbers and exact scores of the top_k best, and of every further one that ties with the last of them.

    query: float32 [dimension]. kept: sorted row numbers that a filter left; None: all of the namespace. more: what to
    add to the dot products of some rows (their sparse part). Returns int64 [n] and float32 [n],
    n >= min(top_k, rows), in no particular order.

    Two passes: quick float32 scores of every row, each with a bound on its rounding error; then exact scores of the
    rows that may be among the best by that bound, which are few unless many are alike.
    """
    finalists = _finalists(source, metric, query, top_k, kept, more)
    if not len(finalists):
        return finalists, np.empty(0, np.float32)
    found = [
        (records, exact_scores(metric, vectors, query, _added(records, more)))
        for records, vectors in _rows(source, finalists)
    ]
    records = np.concatenate([rows for rows, _ in found])
    exact = np.concatenate([values for _, values in found])
    return best(records, exact, top_k, metric)


def best(
    records: Records, scores: NDArray[np.float32], top_k: int, metric: Metric = "dotproduct"
) -> tuple[Records, NDArray[np.float32]]:
    """The top_k best, and every further one that ties with the last of them."""
    good = goodness(metric, scores)
    enough = good >= _kth_largest(good, top_k)
    return records[enough], scores[enough]


def _finalists(
    source: Source,
    metric: Metric,
    query: Vectors,
    top_k: int,
    kept: Records | None,
    more: Additions | None,
) -> Records:
    """Sorted numbers of the rows that may be among the top_k best."""
    all_records, lows, highs = [np.empty(0, np.int64)], [np.empty(0, np.float64)], [np.empty(0, np.float64)]
    for records, vectors in _rows(source, kept, around=True):
        quick, error = bounded_scores(metric, vectors, query)
        good = goodness(metric, quick) + _added(records, more)
        there = records != NOT_KEPT
        all_records.append(records[there])
        lows.append((good - error)[there])
        highs.append((good + error)[there])
    may = np.concatenate(highs) >= _kth_largest(np.concatenate(lows), top_k)
    return np.sort(np.concatenate(all_records)[may])


def _added(records: Records, more: Additions | None) -> NDArray[np.float64]:
    """What is to be added for each of the rows, float64 [n]."""
    if more is None or not len(more[0]):
        return np.zeros(len(records))
    rows, values = more
    places = np.minimum(np.searchsorted(rows, records), len(rows) - 1)
    return np.where(rows[places] == records, values[places], 0.0)


def _kth_largest(values: NDArray[np.floating[Any]], k: int) -> float:
    """The k-th largest value, or minus infinity if there are fewer."""
    return float(np.partition(values, -k)[-k]) if len(values) >= k else -np.inf


def vector_of(connection: apsw.Connection, record: int) -> Vectors:
    """The stored vector of one row, float32 [dimension]."""
    blob = connection.execute("SELECT embedding FROM vectors WHERE rowid = ?", (record,)).get
    return np.frombuffer(blob, dtype=np.float32)


def _rows(source: Source, kept: Records | None, around: bool = False) -> Iterator[tuple[Records, Vectors]]:
    """Live rows and their vectors, many at a time; with a filter, only the kept ones.

    What is yielded is overwritten by the next step. around: where a quarter or more is kept, the others may come too,
    numbered NOT_KEPT: scoring them costs less than copying the vectors around them.
    """
    around = around and kept is not None and 4 * len(kept) >= source.count
    if kept is not None and not len(kept):
        return
    held = source.cache.get(source.key, source.version)
    many = kept is None or len(kept) >= MANY * source.count
    if held is None and many:
        size = source.count * source.dimension * FLOAT_BYTES
        if source.cache.worth_keeping(source.key, source.version, size):
            held = _held(source)
            source.cache.put(source.key, held)
    allowed = None
    if kept is not None:
        allowed = np.zeros(kept[-1] + 1, dtype=bool)
        allowed[kept] = True
    if held is None:
        yield from _chunks(source, allowed, None if many else kept)
        return
    wanted = None if allowed is None else _among(allowed, held.records)
    for start in range(0, len(held.records), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        if wanted is None or wanted[part].all():
            yield held.records[part], held.vectors[part]
        elif around:
            yield np.where(wanted[part], held.records[part], NOT_KEPT), held.vectors[part]
        elif wanted[part].any():
            places = start + np.flatnonzero(wanted[part])
            yield held.records[places], held.vectors[places]


def _among(allowed: NDArray[np.bool_], records: Records) -> NDArray[np.bool_]:
    """Which of the rows are allowed; allowed has a place for every row number up to its own last."""
    return np.asarray(allowed[np.minimum(records, len(allowed) - 1)] & (records < len(allowed)))


def _held(source: Source) -> Held:
    """All live rows, read into memory."""
    records = np.empty(source.count, np.int64)
    vectors = np.empty((source.count, source.dimension), np.float32)
    end = 0
    for some, rows in _chunks(source, None, None):
        records[end : end + len(some)], vectors[end : end + len(some)] = some, rows
        end += len(some)
    assert end == source.count
    return Held(source.version, records, vectors)


def _chunks(
    source: Source, allowed: NDArray[np.bool_] | None, only: Records | None
) -> Iterator[tuple[Records, Vectors]]:
    """The same from the file, chunk by chunk; only: read no chunks but those of these rows.

    Blobs are read straight into one buffer: through rows of a query they would be copied twice, with Python's lock
    held, and searches would wait for each other.
    """
    sql = "SELECT chunk_id, rowids, validity FROM vectors_chunks WHERE partition00 = ?"
    bindings: tuple[object, ...] = (source.ns,)
    if only is not None:
        sql += " AND chunk_id IN (SELECT chunk_id FROM vectors_rowids WHERE rowid IN (SELECT value FROM carray(?)))"
        bindings = (source.ns, apsw.carray(only))
    buffer = np.empty((CHUNKS_AT_ONCE * CHUNK_ROWS, source.dimension), np.float32)
    chunk_bytes = CHUNK_ROWS * source.dimension * FLOAT_BYTES
    target = memoryview(buffer.data).cast("B")
    cursor, blob = source.connection.execute(sql, bindings), None
    try:
        while group := list(islice(cursor, CHUNKS_AT_ONCE)):
            for place, (chunk, _, _) in enumerate(group):
                if blob is None:
                    blob = source.connection.blob_open("main", "vectors_vector_chunks00", "vectors", chunk, False)
                else:
                    blob.reopen(chunk)
                blob.read_into(target, place * chunk_bytes, chunk_bytes)
            records = np.frombuffer(b"".join(row[1] for row in group), dtype=np.int64)
            bits = np.frombuffer(b"".join(row[2] for row in group), dtype=np.uint8)
            vectors = buffer[: len(records)]
            live = np.unpackbits(bits, bitorder="little").astype(bool)
            if allowed is not None:
                live &= _among(allowed, records)
            if live.all():
                yield records, vectors
            elif live.any():
                yield records[live], vectors[live]
    finally:
        if blob is not None:
            blob.close()
