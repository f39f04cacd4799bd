"""Finds the nearest vectors: exactly by a numpy scan, or approximately by an inverted file. Scores are always exact.

sqlite-vec's `MATCH` ends at k = 4096, has no dot product and breaks ties arbitrarily. The scan has none of these limits
and is about as fast. Tests compare the two.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Metric
from pinyon.search.bounds import bounded_scores
from pinyon.search.ranking import exact_scores, higher_is_better
from pinyon.storage.shared.row_sets import Records, RowSet, Vectors, distinct
from pinyon.storage.shared.top_k import best, kth_largest, lower_bound_of_kth
from pinyon.storage.sqlite.vectors.vector_source import NeedsReaderThread, VectorSource, vectors_of

INDEX_FROM = 256
"""Below this many rows, scoring all of them is faster than using the index."""
ROWS_PER_HIT = 40
"""With fewer rows per wanted hit, comparing all rows is faster than using the index."""
LOWEST = float(np.finfo(np.float32).min)
"""The lowest possible score. Rows that are not wanted count as minus infinity."""

Additions = tuple[Records, NDArray[np.float64]]
"""Sorted row numbers, and what is added to the dot product of each."""


def nearest(
    source: VectorSource,
    metric: Metric,
    query: Vectors,
    top_k: int,
    rows: RowSet | None = None,
    more: Additions | None = None,
) -> tuple[Records, NDArray[np.float32]]:
    """Row numbers and exact scores of the top_k best rows, and of every further row that ties with the last of them.

    query: float32 [dimension]. rows: the rows that match the filter; None: all rows of the namespace. more: the sparse
    part of the dot products of some rows. Returns int64 [n] and float32 [n], n >= min(top_k, rows), in no particular
    order. Raises NeedsReaderThread.

    There are two passes. The first computes fast scores of every row, each with a bound on its error. The second
    computes exact scores of the rows that may be among the best by that bound, which are few unless many rows are
    alike. With an inverted file the first pass scores only some of the rows, and may miss some of the best.
    """
    if rows is not None and rows.count == source.count:
        rows = None
    count = source.count if rows is None else rows.count
    wanted = min(top_k, count)
    if source.inverted is not None and more is None and count > INDEX_FROM:
        candidates = _candidates(source, query, wanted, rows)
        records, scores = _scored(source, metric, query, candidates)
        if len(records) >= wanted:
            return best(records, scores, top_k, metric)
    if source.inverted is not None and source.on_event_loop:
        raise NeedsReaderThread
    finalists, vectors = _finalists(source, metric, query, top_k, rows, more)
    if vectors is None:
        return best(*_scored(source, metric, query, finalists, more), top_k, metric)
    return best(finalists, exact_scores(metric, vectors, query, _added(finalists, more)), top_k, metric)


def _candidates(source: VectorSource, query: Vectors, wanted: int, rows: RowSet | None) -> Records:
    """Sorted numbers of the rows that an inverted file finds near, and of all rows that it may be wrong about.

    Returns no rows where comparing all rows is faster, or where it may have missed too many.
    """
    assert source.inverted is not None
    count = source.count if rows is None else rows.count
    if rows is not None and source.inverted.is_faster_among(wanted, count, count / source.count):
        near = source.inverted.candidates_among(query, rows.rows, wanted)
    elif count < ROWS_PER_HIT * wanted:
        return np.empty(0, np.int64)
    else:
        bits = None if rows is None else rows.bits
        candidates = source.inverted.candidates(query, wanted, count / source.count, bits, source.recall)
        if candidates is None:
            return np.empty(0, np.int64)
        near = candidates
    if source.changed is None or not len(source.changed):
        return near
    changed = source.changed if rows is None else source.changed[rows.contains(source.changed)]
    return distinct(np.concatenate([near, changed]))


def _scored(
    source: VectorSource, metric: Metric, query: Vectors, rows: Records, more: Additions | None = None
) -> tuple[Records, NDArray[np.float32]]:
    """Those of the rows that exist, and their exact scores."""
    if not len(rows):
        return rows, np.empty(0, np.float32)
    parts = [
        (part.rows, exact_scores(metric, part.vectors, query, _added(part.rows, more)))
        for part in vectors_of(source, RowSet.of_rows(rows))
    ]
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    return _joined([records for records, _ in parts]), _joined([scores for _, scores in parts])


def _finalists(
    source: VectorSource,
    metric: Metric,
    query: Vectors,
    top_k: int,
    wanted_rows: RowSet | None,
    more: Additions | None,
) -> tuple[Records, Vectors | None]:
    """Numbers of the rows that may be among the top_k best.

    With their vectors if these are still in memory; else None, and the numbers are sorted.
    """
    parts: list[tuple[Records, NDArray[np.floating[Any]], NDArray[np.float32]]] = []
    vectors = None
    for part in vectors_of(source, wanted_rows, may_add_others=True):
        quick, error = bounded_scores(metric, part.vectors, query, part.squares, part.codes)
        good = higher_is_better(metric, quick)
        if more is not None:
            good = good + _added(part.rows, more)
        if part.wanted is not None:
            good = np.where(part.wanted, good, -np.inf)
        vectors = part.vectors if not parts else None  # those of an earlier part are overwritten
        parts.append((part.rows, good, error))
    if not parts:
        return np.empty(0, np.int64), None
    rows, good = (_joined([part[place] for part in parts]) for place in (0, 1))
    if all(len(error) == 1 for _, _, error in parts):
        near = _may_be_best(good, float(max(error[0] for _, _, error in parts)), top_k)
    else:
        error = _joined([np.broadcast_to(error, values.shape) for _, values, error in parts])
        least = max(kth_largest(good - error, top_k), LOWEST)
        near = np.flatnonzero(good + error >= least)
    if vectors is not None:
        return rows[near], vectors[near]
    return np.sort(rows[near]), None


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """All parts as one array, without a copy if there is only one."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _added(records: Records, more: Additions | None) -> NDArray[np.float64] | float:
    """What is to be added to the score of each row, float64 [n]; 0 if nothing is added to any."""
    if more is None or not len(more[0]):
        return 0.0
    rows, values = more
    places = np.minimum(np.searchsorted(rows, records), len(rows) - 1)
    return np.where(rows[places] == records, values[places], 0.0)


def _may_be_best(good: NDArray[np.floating[Any]], error: float, k: int) -> Records:
    """Places of the values that may be among the k largest, if the error of each is at most `error`."""
    near = np.flatnonzero(good >= max(lower_bound_of_kth(good, k), LOWEST) - 2 * error)
    few = good[near]
    return near[few >= max(kth_largest(few, k), LOWEST) - 2 * error]
