"""How many cells of an inverted file a query must look into: measured on the very data, when the file is built.

The questions are vectors of the data with as much noise on them as they are long: of all that was tried, this is the
nearest to how real questions lie among the texts that answer them. Pure; knows neither Faiss nor SQL.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.domain import Metric
from app.storage.arrays import Records, Vectors

QUESTIONS = 512
DEPTHS = (10, 100, 1_000)
DEEPEST = max(DEPTHS)
REACHED = {10: 0.997, 100: 0.995, 1_000: 0.996}
"""Of what every cell together would find for the questions, the share that is enough, by how many are wanted.

Chosen so that real questions find 0.99 of their nearest.
"""


class Cells(msgspec.Struct, frozen=True):
    """What a query for `depth` hits must look into."""

    depth: int
    cells: int


class Questions:
    """Made-up queries, and which of the vectors seen so far are really the nearest to each."""

    def __init__(self, sample: Vectors, metric: Metric) -> None:
        """sample: float32 [n, dimension], vectors drawn at random; for cosine of unit length."""
        random = np.random.default_rng(0)
        some = sample[random.choice(len(sample), min(QUESTIONS, len(sample)), replace=False)]
        noise = random.standard_normal(some.shape, dtype=np.float32)
        lengths = np.linalg.norm(some, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
        self.vectors: Vectors = some + noise * lengths
        self._metric = metric
        self._scores = np.empty((len(some), 0), np.float32)
        self._rows = np.empty((len(some), 0), np.int64)

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
    """The least number of cells in which that share is found of what is found in all of them.

    found, places [questions, depth]: whether a nearest row is found at all, and which place its cell has in the order
    in which the question looks into cells, from 0.
    """
    needed = np.sort(places[found]) + 1
    return int(needed[min(len(needed) - 1, int(np.ceil(share * len(needed))) - 1)]) if len(needed) else 1


def cells_for(calibration: Sequence[Cells], depth: float, most: int) -> int:
    """How many cells, up to `most`, for that many hits: between and beyond the measured depths on a log scale."""
    depths = np.log([each.depth for each in calibration])
    cells = np.log([each.cells for each in calibration])
    wanted = np.interp(np.log(max(depth, 1.0)), depths, cells)
    if depth > calibration[-1].depth and len(cells) > 1:
        slope = (cells[-1] - cells[-2]) / (depths[-1] - depths[-2])
        wanted = cells[-1] + max(slope, 0.2) * (np.log(depth) - depths[-1])
    return int(np.clip(np.ceil(np.exp(wanted)), 1, most))
