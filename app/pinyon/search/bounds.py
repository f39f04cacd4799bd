"""Quick scores of many rows, each with a bound on how far it may be from the exact one. Pure; ranking.py is exact.

What cannot be among the best by its bound need not be scored exactly: answers are the same as if everything was.
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
"""How far a float32 dot product of thousands of terms may be off, as a share of the product of the lengths."""
SMALLEST_SQUARE, LARGEST_SQUARE = 1e-30, 1e30
"""Squared lengths outside lose their precision in float32, or leave its range."""
AT_ONCE = 256
"""Rows that are coded in one go: they and their codes are still in the processor's cache."""
STEPS = 127
"""Of a byte code, on each side of zero."""

Floats = NDArray[np.float32]


@cache
def _numkong() -> Any:
    """The package, imported only once it is known to run on this processor."""
    return import_module("numkong")


class Coded(msgspec.Struct, frozen=True):
    """Rows at a byte for each number, and how much of each row its code leaves out. All float32 [n].

    packed: the codes, as numkong multiplies them. scales: what a step of a row's code stands for; units: the same for
    the row at length 1. errors: length of what the code leaves out. lengths, squares: of the rows. loss: the largest
    error of a row at length 1.
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
        """Memory it takes."""
        return int(self.packed.nbytes + 5 * self.scales.nbytes)


def squared_lengths(matrix: Floats) -> Floats:
    """The squared length of each row, float32 [n]."""
    return np.asarray(np.einsum("ij,ij->i", matrix, matrix))


def coded(matrix: Floats, squares: Floats) -> Coded | None:
    """Byte codes of rows, each on a scale of its own.

    Returns None where lengths are out of the range of float32's precision, and without numkong. Then rows are compared
    in float32. matrix: float32 [n, dimension], n > 0. squares: squared_lengths(matrix).
    """
    if not native_packages.usable("numkong"):
        return None
    if not (squares.min() >= SMALLEST_SQUARE and squares.max() <= LARGEST_SQUARE):
        return None
    lengths: Floats = np.sqrt(squares)
    codes, scales, errors = np.empty(matrix.shape, np.int8), np.empty_like(lengths), ROUNDING * lengths
    for start in range(0, len(matrix), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        codes[part], scales[part] = _codes(matrix[part])
        errors[part] += _errors(matrix[part], codes[part], scales[part])
    packed = _numkong().dots_pack(codes)
    units: Floats = scales / lengths
    return Coded(packed, scales, units, errors, lengths, squares, (errors / lengths).max())


def bounded_scores(
    metric: Metric, matrix: Floats, query: Floats, squares: Floats | None = None, codes: Coded | None = None
) -> tuple[Floats, Floats]:
    """Quick scores of each row against the query, and how far each may be from the exact one.

    matrix: float32 [n, dimension]; query: float32 [dimension]; returns float32 [n], and float32 [n] or [1]. Computed
    from byte codes or in float32 where that is safe, else exactly. What the scores mean: ranking.exact_scores().
    squares: squared_lengths(matrix); codes: coded(matrix); if known.
    """
    own = squared_lengths(query[None, :])[0]
    if codes is not None and SMALLEST_SQUARE <= own <= LARGEST_SQUARE:
        return _from_codes(metric, codes, query, own)
    if squares is None:
        squares = squared_lengths(matrix)
    smallest, largest = min(squares.min(), own), max(squares.max(), own)
    if not (smallest >= SMALLEST_SQUARE and largest <= LARGEST_SQUARE):
        return exact_scores(metric, matrix, query), np.zeros(1, np.float32)
    dots = np.vecdot(matrix, query)  # row by row: half the time of OpenBLAS's matrix times vector, which reads slowly
    lengths = np.sqrt(squares) * np.sqrt(own)
    if metric == "dotproduct":
        return dots, ROUNDING * lengths
    if metric == "cosine":
        return dots / lengths, np.full(1, ROUNDING)
    return squares - 2 * dots + own, ROUNDING * (squares + 2 * lengths + own)


def _from_codes(metric: Metric, rows: Coded, query: Floats, own: np.float32) -> tuple[Floats, Floats]:
    """Row and query are each a code and an error: x = c + e, q = d + f, with x.q = c.d + e.q + c.f.

    By Cauchy and Schwarz the last two are at most |e| |q| and (|x| + |e|) |f|. own: the query's squared length.
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
    """Codes int8 [n, dimension], and what a step of each row's stands for, float32 [n]."""
    scales = np.abs(matrix).max(axis=1) / np.float32(STEPS)
    return np.rint(matrix / scales[:, None]).astype(np.int8), scales


def _errors(matrix: Floats, codes: NDArray[np.int8], scales: Floats) -> Floats:
    """Lengths of what codes leave out of their rows, float32 [n]."""
    left = matrix - codes * scales[:, None]
    return np.asarray(np.sqrt(np.vecdot(left, left)))
