"""How many cells of an inverted file a query must look into: measured on the very data, when the file is built.

The questions are midpoints between two vectors, with as much noise on them as they are long: like real questions, they
are near to none of the data, and nearer to some of it. Pure; knows neither Faiss nor SQL.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Metric
from pinyon.storage.sqlite.row_sets import Records, Vectors

QUESTIONS = 512
DEPTHS = (10, 100, 1_000)
DEEPEST = max(DEPTHS)
REACHED = {10: 0.9985, 100: 0.9965, 1_000: 0.9975}
"""Of what every cell together would find for the questions, the share that is enough, by how many are wanted.

Chosen so that real questions find 0.99 of their nearest.
"""
TAIL = 0.97
"""Up to this share the cells that are needed are counted; beyond, where few questions tell, they are taken to be spread
exponentially: among real questions, every 180 cells or so of 1,264 halve what is missed."""
TINY = np.finfo(np.float32).tiny


class Cells(msgspec.Struct, frozen=True):
    """What a query for `depth` hits must look into."""

    depth: int
    cells: int


class Questions:
    """Made-up queries, and which of the vectors seen so far are really the nearest to each."""

    def __init__(self, sample: Vectors, metric: Metric, count: int = QUESTIONS) -> None:
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

    def see(self, rows: Records, vectors: Vectors) -> None:
        """Remember which of these are nearer than what was there."""
        scores = self.vectors @ vectors.T
        if self._metric == "euclidean":
            scores = 2 * scores - np.einsum("ij,ij->i", vectors, vectors)
        scores = np.concatenate([self._scores, scores], axis=1)
        all_rows = np.concatenate([self._rows, np.broadcast_to(rows, (len(self.vectors), len(rows)))], axis=1)
        if scores.shape[1] > DEEPEST:
            best = np.argpartition(scores, -DEEPEST, axis=1)[:, -DEEPEST:]
            scores, all_rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(all_rows, best, axis=1)
        self._scores, self._rows = scores, all_rows

    def nearest(self) -> Records:
        """Row numbers, the nearest first, [questions, at most DEEPEST]."""
        return np.take_along_axis(self._rows, np.argsort(-self._scores, axis=1), axis=1)


def enough(found: NDArray[np.bool_], places: NDArray[np.int64], share: float) -> int:
    """About the least number of cells in which that share is found of what is found in all of them.

    found, places [questions, depth]: whether a nearest row is found at all, and which place its cell has in the order
    in which the question looks into cells, from 0.
    """
    needed = np.sort(places[found]) + 1
    if not len(needed):
        return 1
    counted = int(needed[int(np.ceil(min(share, TAIL) * len(needed))) - 1])
    beyond = needed[needed > counted] - counted
    if share <= TAIL or not len(beyond):
        return counted
    return int(np.ceil(counted + beyond.mean() * np.log((1 - TAIL) / (1 - share))))


def cells_for(calibration: Sequence[Cells], depth: float, most: int) -> int:
    """How many cells, up to `most`, for that many hits: between and beyond the measured depths on a log scale."""
    depths = np.log([each.depth for each in calibration])
    cells = np.log([each.cells for each in calibration])
    wanted = np.interp(np.log(max(depth, 1.0)), depths, cells)
    if depth > calibration[-1].depth and len(cells) > 1:
        slope = (cells[-1] - cells[-2]) / (depths[-1] - depths[-2])
        wanted = cells[-1] + max(slope, 0.2) * (np.log(depth) - depths[-1])
    return int(np.clip(np.ceil(np.exp(wanted)), 1, most))


def _lengths(vectors: Vectors) -> Vectors:
    return np.asarray(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
