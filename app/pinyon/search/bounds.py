"""Fast approximate scores of many rows, each with a bound on its error. ranking.py has the exact scores.

A row whose bound shows that it cannot be among the best needs no exact score. The answers are the same as if every row
had one.
"""

from functools import cache
from importlib import import_module
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon import native_packages
from pinyon.domain import Metric
from pinyon.search.ranking import exact_scores

ROUNDING = np.float32(1e-5)
"""Largest rounding error of a float32 dot product of thousands of terms, relative to the product of the lengths."""
SMALLEST_SQUARE, LARGEST_SQUARE = 1e-30, 1e30
"""Squared lengths outside this range are imprecise in float32, or leave its range."""
BLOCK_ROWS = 256
"""Rows that are coded together. They and their codes fit into the processor's cache."""
STEPS = 127
"""Steps of a byte code on each side of zero."""

Floats = NDArray[np.float32]


@cache
def _numkong() -> Any:
    """The package, imported only once it is known to run on this processor."""
    return import_module("numkong")


class ByteCodes(msgspec.Struct, frozen=True):
    """Rows with one byte for each number, and the error of each row. All arrays are float32 [n].

    packed: the codes in the layout of numkong. scales: the value of one step of a row's code. units: the scale of a row
    after it was divided by its length. errors: length of the difference between a row and its code. lengths, squares:
    length and squared length of each row. loss: the largest error of a row relative to its length.
    """

    packed: Any
    scales: Floats
    units: Floats
    errors: Floats
    lengths: Floats
    squares: Floats
    loss: np.float32

    @property
    def nbytes(self) -> int:
        """Memory that the codes take, in bytes."""
        return int(self.packed.nbytes + 5 * self.scales.nbytes)


def squared_lengths(matrix: Floats) -> Floats:
    """The squared length of each row: float32 [n]. matrix: float32 [n, dimension]."""
    return np.asarray(np.einsum("ij,ij->i", matrix, matrix))


def byte_codes(matrix: Floats, squares: Floats) -> ByteCodes | None:
    """Encode rows as bytes, each row with its own scale.

    Returns None if squared lengths are outside SMALLEST_SQUARE..LARGEST_SQUARE, or if numkong is not usable. Rows are
    compared in float32 then. matrix: float32 [n, dimension], n > 0. squares: squared_lengths(matrix).
    """
    if not native_packages.usable("numkong"):
        return None
    if not (squares.min() >= SMALLEST_SQUARE and squares.max() <= LARGEST_SQUARE):
        return None
    lengths: Floats = np.sqrt(squares)
    codes, scales, errors = np.empty(matrix.shape, np.int8), np.empty_like(lengths), ROUNDING * lengths
    for start in range(0, len(matrix), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        codes[part], scales[part] = _codes(matrix[part])
        errors[part] += _errors(matrix[part], codes[part], scales[part])
    packed = _numkong().dots_pack(codes)
    units: Floats = scales / lengths
    return ByteCodes(packed, scales, units, errors, lengths, squares, (errors / lengths).max())


def bounded_scores(
    metric: Metric, matrix: Floats, query: Floats, squares: Floats | None = None, codes: ByteCodes | None = None
) -> tuple[Floats, Floats]:
    """Approximate ranking.exact_scores() of each row: the scores, float32 [n], and their largest errors.

    The errors are float32 [n], or [1] if they are the same for all rows. Scores are computed from byte codes, or in
    float32 if that is precise enough, or exactly. matrix: float32 [n, dimension]. query: float32 [dimension].
    squares: squared_lengths(matrix), codes: byte_codes(matrix), if they are known.
    """
    own = squared_lengths(query[None, :])[0]
    if codes is not None and SMALLEST_SQUARE <= own <= LARGEST_SQUARE:
        return _from_codes(metric, codes, query, own)
    if squares is None:
        squares = squared_lengths(matrix)
    smallest, largest = min(squares.min(), own), max(squares.max(), own)
    if not (smallest >= SMALLEST_SQUARE and largest <= LARGEST_SQUARE):
        return exact_scores(metric, matrix, query), np.zeros(1, np.float32)
    dots = np.vecdot(matrix, query)  # half the time of OpenBLAS's matrix-vector product, which reads memory slowly
    lengths = np.sqrt(squares) * np.sqrt(own)
    if metric == "dotproduct":
        return dots, ROUNDING * lengths
    if metric == "cosine":
        return dots / lengths, np.full(1, ROUNDING)
    return squares - 2 * dots + own, ROUNDING * (squares + 2 * lengths + own)


def _from_codes(metric: Metric, rows: ByteCodes, query: Floats, own: np.float32) -> tuple[Floats, Floats]:
    """As bounded_scores(), from byte codes. own: the query's squared length.

    A row x is its code c plus an error e, and the query q is its code d plus an error f. Then x.q = c.d + e.q + c.f. By
    the Cauchy-Schwarz inequality, the last two terms are at most |e| |q| and (|x| + |e|) |f|.
    """
    length = np.sqrt(own)
    scale = np.abs(query).max() / np.float32(STEPS)
    codes = np.rint(query / scale)
    left = query - codes * scale
    missing = np.sqrt(np.dot(left, left)) + ROUNDING * length
    dots = np.asarray(_numkong().dots_packed(codes.astype(np.int8)[None, :], rows.packed))[0].astype(np.float32)
    if metric == "cosine":
        share = missing / length
        dots *= rows.units
        dots *= scale / length
        return dots, np.full(1, rows.loss + (1 + rows.loss) * share + ROUNDING)
    dots *= rows.scales
    dots *= scale
    off = rows.errors * (length + missing) + rows.lengths * (missing + ROUNDING * length)
    if metric == "dotproduct":
        return dots, off
    return rows.squares - 2 * dots + own, 2 * off + ROUNDING * (rows.squares + own)


def _codes(matrix: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Codes, int8 [n, dimension], and the value of one step of each row's code, float32 [n]."""
    scales = np.abs(matrix).max(axis=1) / np.float32(STEPS)
    return np.rint(matrix / scales[:, None]).astype(np.int8), scales


def _errors(matrix: Floats, codes: NDArray[np.int8], scales: Floats) -> Floats:
    """Lengths of the differences between rows and their codes, float32 [n]."""
    left = matrix - codes * scales[:, None]
    return np.asarray(np.sqrt(np.vecdot(left, left)))
