"""How many cells of an inverted file a query must look into (nprobe), measured on its own vectors when it is built.

The queries are midpoints between two vectors, with as much noise on them as they are long. Like real queries, they are
close to none of the vectors, and closer to some of them. Pure; knows neither Faiss nor SQL.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Metric
from pinyon.storage.shared.row_sets import Records, Vectors

QUERIES = 512
MEASURED_K = (10, 100, 1_000)
LARGEST_K = max(MEASURED_K)
TARGET_RECALL = {10: 0.9985, 100: 0.9965, 1_000: 0.9975}
"""Target recall relative to searching all cells, per k. Real queries then find 0.99 of their nearest vectors."""
TAIL = 0.97
"""Up to this recall, the needed cells are counted. Beyond it too few queries tell. There the needed cells are taken to
be spread exponentially: among real queries, every 180 cells or so of 1,264 halve what is missed."""
TINY = np.finfo(np.float32).tiny


class MeasuredNprobe(msgspec.Struct, frozen=True, rename={"k": "depth", "nprobe": "cells"}):
    """The number of cells that a query for k hits must look into. The other names are those of saved files."""

    k: int
    nprobe: int


class CalibrationQueries:
    """Made-up queries, and which of the vectors added so far are really the nearest to each."""

    def __init__(self, sample: Vectors, metric: Metric, count: int = QUERIES) -> None:
        """sample: float32 [n, dimension], vectors drawn at random; for cosine of unit length."""
        random = np.random.default_rng(0)
        one, other = sample[random.choice(len(sample), (2, min(count, len(sample))))]
        length = (_lengths(one) + _lengths(other)) / 2
        noise = random.standard_normal(one.shape, dtype=np.float32)
        middle = one + other
        self.vectors: Vectors = length * (middle / np.maximum(_lengths(middle), TINY) + noise / _lengths(noise))
        self._metric = metric
        self._scores = np.empty((len(self.vectors), 0), np.float32)
        self._rows = np.empty((len(self.vectors), 0), np.int64)

    def add(self, rows: Records, vectors: Vectors) -> None:
        """Compare the queries with more vectors. rows: int64 [n]; vectors: float32 [n, dimension]."""
        scores = self.vectors @ vectors.T
        if self._metric == "euclidean":
            scores = 2 * scores - np.einsum("ij,ij->i", vectors, vectors)
        scores = np.concatenate([self._scores, scores], axis=1)
        all_rows = np.concatenate([self._rows, np.broadcast_to(rows, (len(self.vectors), len(rows)))], axis=1)
        if scores.shape[1] > LARGEST_K:
            best = np.argpartition(scores, -LARGEST_K, axis=1)[:, -LARGEST_K:]
            scores, all_rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(all_rows, best, axis=1)
        self._scores, self._rows = scores, all_rows

    def nearest(self) -> Records:
        """The nearest rows to each query, the nearest first, int64 [queries, at most LARGEST_K]."""
        return np.take_along_axis(self._rows, np.argsort(-self._scores, axis=1), axis=1)


def smallest_nprobe(is_found: NDArray[np.bool_], cell_ranks: NDArray[np.int64], recall: float) -> int:
    """About the smallest number of cells that reaches a recall relative to searching all cells.

    is_found: bool [queries, k], whether searching all cells finds a nearest row. cell_ranks: int64 [queries, k], the
    place of its cell in the order in which the query looks into cells, from 0.
    """
    needed = np.sort(cell_ranks[is_found]) + 1
    if not len(needed):
        return 1
    counted = int(needed[int(np.ceil(min(recall, TAIL) * len(needed))) - 1])
    beyond = needed[needed > counted] - counted
    if recall <= TAIL or not len(beyond):
        return counted
    return int(np.ceil(counted + beyond.mean() * np.log((1 - TAIL) / (1 - recall))))


def nprobe_for(calibration: Sequence[MeasuredNprobe], k: float, most: int) -> int:
    """The number of cells for k hits, at most `most`: between and beyond the measured values on a log scale."""
    ks = np.log([each.k for each in calibration])
    nprobes = np.log([each.nprobe for each in calibration])
    wanted = np.interp(np.log(max(k, 1.0)), ks, nprobes)
    if k > calibration[-1].k and len(nprobes) > 1:
        slope = (nprobes[-1] - nprobes[-2]) / (ks[-1] - ks[-2])
        wanted = nprobes[-1] + max(slope, 0.2) * (np.log(k) - ks[-1])
    return int(np.clip(np.ceil(np.exp(wanted)), 1, most))


def _lengths(vectors: Vectors) -> Vectors:
    return np.asarray(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
