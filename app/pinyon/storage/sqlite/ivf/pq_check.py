"""Whether what short codes cut off may have been among the nearest. Pure; knows neither Faiss nor SQL.

Product quantisation orders rows by a score that is off by some error. The rows it brings are scored again by longer
codes, so that the errors of this very query are seen. With them, and with how fast rows become more numerous towards
lower scores, follows how many of the rows that were cut off are better than the last one that is wanted.
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Metric
from pinyon.storage.sqlite.row_sets import Vectors

DEEPER = 1.5
"""Steps in which more rows are tried."""
TRIES = 3
"""Searches of one query; then all rows are compared."""
LARGEST_SHARE = 0.25
"""Of the rows: where more would have to be looked at, comparing all of them takes less."""
LEAST_SEEN = 8
"""Rows whose errors tell something."""
USUAL_TIMES, ALWAYS_TIMES, USUAL_SHARE = 2.0, 3.0, 0.99
"""A vector is coded badly if its error is so many times the median one and larger than that share of all; or so many
times the median one in any case."""
CUT_OFF = 50.0
"""Exponents beyond which a count is as good as infinite."""
Scores = NDArray[np.float32]


class CodeErrors(msgspec.Struct, frozen=True):
    """What the short codes of a namespace leave out, measured when they were made.

    variances: of the error, by number, float32 [dimension]. most: length of an error beyond which a vector is coded
    badly, and is scored by the longer codes for every query.
    """

    variances: Vectors
    most: float

    @classmethod
    def measured(cls, left_out: Vectors) -> "CodeErrors":
        """left_out: vectors minus what their codes stand for, float32 [n, dimension], of a sample."""
        lengths = np.linalg.norm(left_out, axis=1)
        median, large = float(np.median(lengths)), float(np.quantile(lengths, USUAL_SHARE))
        most = max(USUAL_TIMES * median, min(large, ALWAYS_TIMES * median))
        return cls(np.square(left_out).mean(axis=0), most)

    def badly_coded(self, left_out: Vectors) -> NDArray[np.bool_]:
        """Which of these vectors are coded badly, bool [n]."""
        return np.asarray(np.linalg.norm(left_out, axis=1) > self.most)


class Seen(msgspec.Struct, frozen=True):
    """What a search by short codes brought, best first: their scores, and those of the longer codes; higher is nearer.

    wanted: how many rows the query asks for. kth: score of the last one of them. far: for euclidean, about the squared
    distance of that one.
    """

    short: Scores
    longer: Scores
    wanted: int
    kth: float
    far: float = 0.0

    def copies(self) -> float:
        """How many rows share the score of a row, on average over the rows: 1 where all rows differ."""
        counts = np.unique(self.longer, return_counts=True)[1]
        return float(counts @ counts) / len(self.longer)


def look_further(seen: Seen, errors: CodeErrors, query: Vectors, metric: Metric, most_missed: float) -> float | None:
    """By what factor more rows must be looked at; None if these are enough, infinity if all should be.

    most_missed: rows that may be missing on average. Copies of one vector are missed together, so a query that misses
    any misses many: where there are copies, fewer may be missing on average.
    """
    looked = len(seen.short)
    if looked < LEAST_SEEN:
        return math.inf
    copies = seen.copies()
    if looked / copies < LEAST_SEEN:
        return max(LEAST_SEEN * copies / looked, 2.0)
    most_missed /= min(copies, seen.wanted)
    mean, spread = _errors(seen, errors, query, metric)
    cut = float(seen.short[-1])
    density = 1 / max(float(seen.short.sum()) / looked - cut, 1e-30)
    gap = seen.kth - cut - mean
    missed = expected_missed(gap, spread, density, looked)
    if missed <= most_missed:
        return None
    factor = 1.0
    while missed > most_missed / 2 and factor < 1e6:
        factor *= DEEPER
        missed = expected_missed(gap + math.log(factor) / density, spread, density, looked * factor)
    return max(factor, 2.0)


def expected_missed(gap: float, spread: float, density: float, looked: float) -> float:
    """How many rows below the cut are better than the last wanted one, on average.

    gap: how much better than its short score a row at the cut would have to be. Errors are taken to be normal with this
    spread, and rows to become more numerous by exp(density * x) at x below the cut, `looked` being above it.
    """
    if spread <= 0:
        return 0.0 if gap > 0 else looked
    z, steepness = gap / spread, density * spread
    exponent = steepness * steepness / 2 - steepness * z
    if exponent > CUT_OFF:
        return math.inf
    return looked * max(math.exp(exponent) * _upper_tail(z - steepness) - _upper_tail(z), 0.0)


def _errors(seen: Seen, errors: CodeErrors, query: Vectors, metric: Metric) -> tuple[float, float]:
    """Mean and spread of what the longer codes add to short scores near the cut; at least what codes leave out."""
    half = len(seen.short) // 2
    differences = seen.longer[half:] - seen.short[half:]
    mean = float(differences.sum()) / len(differences)
    differences -= np.float32(mean)
    spread = math.sqrt(float(differences @ differences) / len(differences))
    if metric == "euclidean":
        total = float(errors.variances.sum())
        usual = 2 * math.sqrt(max(seen.far, 0.0) * total / len(errors.variances))
        return max(mean, -total), max(spread, usual)
    return max(mean, 0.0), max(spread, math.sqrt(float(np.square(query) @ errors.variances)))


def _upper_tail(x: float) -> float:
    """Share of a normal distribution above x."""
    return 0.5 * math.erfc(x / math.sqrt(2))
