"""Estimates how many of the nearest rows a search by short codes has missed. Pure; knows neither Faiss nor SQL.

Product quantisation orders rows by a score with an error, and brings the best of them. They are scored again by longer
codes, which shows the errors for this query. The errors, and how quickly rows become more numerous towards lower
scores, tell how many of the rows that were not brought are better than the last one that is wanted.
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Metric
from pinyon.storage.shared.row_sets import Vectors

DEEPER = 1.5
"""Factor by which the number of rows grows from one estimate to the next."""
TRIES = 3
"""Searches by short codes per query. After that, all rows are compared."""
LARGEST_SHARE = 0.25
"""Share of the rows beyond which comparing all rows is faster."""
LEAST_SEEN = 8
"""Fewest rows from which errors can be estimated."""
USUAL_TIMES, ALWAYS_TIMES, USUAL_SHARE = 2.0, 3.0, 0.99
"""A vector is coded badly if its error is USUAL_TIMES the median error and larger than USUAL_SHARE of all errors, or if
it is ALWAYS_TIMES the median error."""
TABLE_STEPS = 255
"""Steps between the smallest and the largest number in a lookup table of Faiss's fast scan."""
CUT_OFF = 50.0
"""Exponents beyond which a count is taken to be infinite."""
Scores = NDArray[np.float32]


class CodeErrors(msgspec.Struct, frozen=True):
    """The errors of the short codes of a namespace, measured when they were made.

    variances: of the errors, by dimension, float32 [dimension]. most: length of an error beyond which a vector is coded
    badly. Every query scores such vectors by the longer codes. widths: how far apart the code words of each part of
    the vectors are, by dimension, float32 [parts, dimensions of a part]. squares: the same of their squared lengths,
    float32 [parts].
    """

    variances: Vectors
    most: float
    widths: Vectors
    squares: Vectors

    @classmethod
    def measured(cls, errors: Vectors, codebook: Vectors) -> "CodeErrors":
        """From a sample of vectors minus their decoded short codes, float32 [n, dimension].

        codebook: float32 [parts, code words, dimensions of a part].
        """
        lengths = np.linalg.norm(errors, axis=1)
        median, large = float(np.median(lengths)), float(np.quantile(lengths, USUAL_SHARE))
        most = max(USUAL_TIMES * median, min(large, ALWAYS_TIMES * median))
        return cls.of(np.square(errors).mean(axis=0), most, codebook)

    @classmethod
    def of(cls, variances: Vectors, most: float, codebook: Vectors) -> "CodeErrors":
        """With the variances and the length `most`, for these code words."""
        return cls(variances, most, np.ptp(codebook, axis=1), np.ptp(np.square(codebook).sum(axis=2), axis=1))

    def badly_coded(self, errors: Vectors) -> NDArray[np.bool_]:
        """Which vectors with these errors are coded badly, bool [n]."""
        return np.asarray(np.linalg.norm(errors, axis=1) > self.most)

    def table_variance(self, query: Vectors, metric: Metric) -> float:
        """About the variance of the error that a query's lookup tables add to every score by short codes.

        Faiss rounds the score of each code word to one of 256 steps. All parts have the same steps, so the steps are
        coarse if one part of the vectors varies much more than the others. A part that varies less than one step is
        rounded to nothing.
        """
        ranges = (np.abs(query).reshape(self.widths.shape) * self.widths).sum(axis=1)
        if metric == "euclidean":
            ranges = 2 * ranges + self.squares
        errors = np.minimum(ranges, ranges.max() / TABLE_STEPS)
        return float(errors @ errors) / 12


class ShortList(msgspec.Struct, frozen=True):
    """The rows that a search by short codes brought, best first: their scores by short and by longer codes.

    Higher is nearer. wanted: how many rows the query asks for. kth: score of the last one of them. far: for euclidean,
    about the squared distance of that one.
    """

    short: Scores
    longer: Scores
    wanted: int
    kth: float
    far: float = 0.0

    def copies(self) -> float:
        """How many rows have the same score as a row, on average over the rows. 1 if all rows differ."""
        counts = np.unique(self.longer, return_counts=True)[1]
        return float(counts @ counts) / len(self.longer)


def factor_of_more_rows(
    rows: ShortList, errors: CodeErrors, query: Vectors, metric: Metric, most_missed: float
) -> float | None:
    """The factor by which a search must bring more rows; None if there are enough, infinity to compare all rows.

    most_missed: rows that may be missing on average. Copies of one vector are missed together, so a query that misses
    one misses many. Where there are copies, fewer rows may be missing on average.
    """
    brought = len(rows.short)
    if brought < LEAST_SEEN:
        return math.inf
    copies = rows.copies()
    if brought / copies < LEAST_SEEN:
        return max(LEAST_SEEN * copies / brought, 2.0)
    most_missed /= min(copies, rows.wanted)
    mean, spread = _errors(rows, errors, query, metric)
    cut = float(rows.short[-1])
    density = 1 / max(float(rows.short.sum()) / brought - cut, 1e-30)
    gap = rows.kth - cut - mean
    missed = expected_missed(gap, spread, density, brought)
    if missed <= most_missed:
        return None
    factor = 1.0
    while missed > most_missed / 2 and factor < 1e6:
        factor *= DEEPER
        missed = expected_missed(gap + math.log(factor) / density, spread, density, brought * factor)
    return max(factor, 2.0)


def expected_missed(gap: float, spread: float, density: float, brought: float) -> float:
    """How many of the rows below the cut are better than the last wanted one, on average.

    The cut is the lowest short score that was brought. gap: how much better than its short score a row at the cut would
    have to be. Errors are assumed to be normal with this spread. At x below the cut, rows are assumed to be more
    numerous by exp(density * x). brought: rows above the cut.
    """
    if spread <= 0:
        return 0.0 if gap > 0 else brought
    z, steepness = gap / spread, density * spread
    exponent = steepness * steepness / 2 - steepness * z
    if exponent > CUT_OFF:
        return math.inf
    return brought * max(math.exp(exponent) * _upper_tail(z - steepness) - _upper_tail(z), 0.0)


def _errors(rows: ShortList, errors: CodeErrors, query: Vectors, metric: Metric) -> tuple[float, float]:
    """Mean and spread of longer minus short scores near the cut, at least those of the usual errors."""
    half = len(rows.short) // 2
    differences = rows.longer[half:] - rows.short[half:]
    mean = float(differences.sum()) / len(differences)
    differences -= np.float32(mean)
    of_tables = errors.table_variance(query, metric)
    spread = math.sqrt(float(differences @ differences) / len(differences))
    if metric == "euclidean":
        total = float(errors.variances.sum())
        usual = math.sqrt(4 * max(rows.far, 0.0) * total / len(errors.variances) + of_tables)
        return max(mean, -total), max(spread, usual)
    return max(mean, 0.0), max(spread, math.sqrt(float(np.square(query) @ errors.variances) + of_tables))


def _upper_tail(x: float) -> float:
    """Share of a standard normal distribution above x."""
    return 0.5 * math.erfc(x / math.sqrt(2))
