"""Scalar quantisation: vectors with one byte per number, in a quarter of the memory.

Each row has a scale of its own, so no number is cut off, however large a later vector is. Each row also keeps the error
of its code, so a row that is coded badly is never ruled out because of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Metric
from pinyon.storage.shared.row_sets import Records, Vectors

AT_ONCE = 512
"""Codes that are compared together. As float32 they still fit into the processor's cache."""
MARGIN = 4.0
"""Safety margin in standard deviations of the coding error, for a row that scores less than the last one wanted."""
FINE = 20
"""A row is coded worse than others if its error is more than that which one row in FINE stays below."""
STEPS = 127
"""Steps of a code on each side of zero."""
LARGE_SHARE, LEAST_SPREAD = 0.999, 1e-3
"""Quantile that gives the spread of a dimension, and the smallest spread as a share of the largest one."""


class Sq8Codes:
    """One int8 per number of each vector, by row number: (vector - mean) / spread / the row's scale."""

    def __init__(self, mean: Vectors, spread: Vectors, capacity: int) -> None:
        self.mean, self.spread = mean, spread
        squares = np.square(spread, dtype=np.float64)
        self._error_shares = (squares / squares.sum()).astype(np.float32)
        self.rows = np.empty(capacity, np.int64)
        self._bytes = np.empty((capacity, len(mean)), np.int8)
        # For each row: its scale, the squared length of the decoded vector plus that of the error, and the length of
        # the error.
        self._scales, self._squares, self._errors = (np.empty(capacity, np.float32) for _ in range(3))
        self._slots = np.full(0, -1, np.int32)
        self.used = 0

    @classmethod
    def fitted(cls, vectors: Vectors, capacity: int) -> "Sq8Codes":
        """Codes without rows, with the mean and the spread of these vectors, float32 [n, dimension]."""
        mean = vectors.mean(axis=0)
        spread = np.quantile(np.abs(vectors - mean), LARGE_SHARE, axis=0)
        largest = max(float(spread.max()), float(np.finfo(np.float32).tiny) / LEAST_SPREAD)
        # A number that hardly varied may vary later. The resolution of the others is enough for it.
        spread = np.where(spread > LEAST_SPREAD * largest, spread, largest)
        return cls(mean.astype(np.float32), spread.astype(np.float32), capacity)

    def put(self, rows: Records, vectors: Vectors) -> None:
        """Add vectors, float32 [n, dimension], or replace those of rows that have one."""
        if not len(rows):
            return
        top = int(rows.max()) + 1
        if top > len(self._slots):
            self._slots = np.concatenate([self._slots, np.full(top + top // 4 - len(self._slots), -1, np.int32)])
        new = rows[self._slots[rows] < 0]
        if self.used + len(new) > len(self.rows):
            self._grow((self.used + len(new)) * 5 // 4)
        self._slots[new] = np.arange(self.used, self.used + len(new), dtype=np.int32)
        self.rows[self.used : self.used + len(new)] = new
        self.used += len(new)
        slots, around = self._slots[rows], vectors - self.mean
        relative = around / self.spread
        scales = np.abs(relative).max(axis=1) / np.float32(STEPS)
        codes = np.rint(relative / np.where(scales > 0, scales, 1)[:, None])
        decoded = codes * scales[:, None] * self.spread
        self._bytes[slots], self._scales[slots] = codes, scales
        error = around - decoded
        squared_error = np.vecdot(error, error)
        self._squares[slots] = np.vecdot(decoded, decoded) + squared_error
        self._errors[slots] = np.sqrt(squared_error)

    def _grow(self, capacity: int) -> None:
        def longer(array: NDArray[Any]) -> NDArray[Any]:
            grown = np.empty((capacity, *array.shape[1:]), array.dtype)
            grown[: self.used] = array[: self.used]
            return grown

        self.rows, self._bytes = longer(self.rows), longer(self._bytes)
        self._scales, self._squares, self._errors = map(longer, (self._scales, self._squares, self._errors))

    def scores(self, query: Vectors, rows: Records, metric: Metric) -> tuple[Vectors, Vectors]:
        """Scores of rows by their codes, higher is nearer, and the standard deviation of the error of each.

        Returns float32 [n] each. query: float32 [dimension]. A score is the dot product. For euclidean it is the
        squared distance of the query from the mean minus that from the row, which stays exact far from the origin.
        """
        slots = self._slots[rows]
        around = query - self.mean if metric == "euclidean" else query
        target = self.spread * around
        dots = np.empty(len(rows), np.float32)
        few = min(AT_ONCE, len(rows))
        raw, numbers = (np.empty((few, len(target)), kind) for kind in (np.int8, np.float32))
        for start in range(0, len(rows), AT_ONCE):
            part = slots[start : start + AT_ONCE]
            codes = numbers[: len(part)]
            codes[:] = np.take(self._bytes, part, axis=0, out=raw[: len(part)], mode="clip")
            dots[start : start + AT_ONCE] = codes @ target
        dots *= self._scales[slots]
        if metric != "euclidean":
            dots += np.float32(self.mean @ query)
            return dots, self._errors[slots] * np.sqrt(self._error_variance(query, np.float32(query @ query)))
        good = 2 * dots - self._squares[slots]
        distances = np.maximum(np.float32(around @ around) - good, 0)
        return good, 2 * np.sqrt(self._error_variance(around, distances)) * self._errors[slots]

    def _error_variance(self, query: Vectors, squared: Any) -> Any:
        """Variance of the dot product of a vector with a coding error of length 1, float32, in the shape of `squared`.

        squared: the vector's squared length. The error is spread evenly over the dimensions, or, where that is more, in
        proportion to the steps of the code. The second counts if one dimension varies much more than the others.
        """
        return np.maximum(squared / np.float32(len(query)), np.float32(np.square(query) @ self._error_shares))

    def length_around(self, query: Vectors) -> float:
        """The squared distance of a query from the mean."""
        around = query - self.mean
        return float(around @ around)

    def nearest(self, query: Vectors, rows: Records, count: int, metric: Metric) -> Records:
        """Those of the rows that may be among the `count` nearest, by their codes and the errors of these."""
        if len(rows) <= count:
            return rows
        good, off = self.scores(query, rows, metric)
        return may_be_nearest(rows, good, off, kth_best(good, off, count))

    def known(self, rows: Records) -> Records:
        """Those of the rows that have a code."""
        rows = rows[rows < len(self._slots)]
        return rows[self._slots[rows] >= 0]

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        by_row = 3 * self._scales.nbytes
        return self._bytes.nbytes + self._slots.nbytes + self.rows.nbytes + by_row

    def save(self, path: Path, further: Mapping[str, NDArray[Any]]) -> None:
        """Write the codes to a file, together with further arrays."""
        used = slice(self.used)
        arrays: dict[str, Any] = {
            "mean": self.mean,
            "spread": self.spread,
            "rows": self.rows[used],
            "codes": self._bytes[used],
            "scales": self._scales[used],
            "squares": self._squares[used],
            "errors": self._errors[used],
            **further,
        }
        with path.open("wb") as stream:
            np.savez(stream, **arrays)

    @classmethod
    def load(cls, path: Path) -> tuple["Sq8Codes", dict[str, NDArray[Any]]]:
        """Read what save() wrote: the codes, and every array in the file."""
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        codes = cls(arrays["mean"], arrays["spread"], 0)
        codes.rows, codes._bytes = arrays["rows"], arrays["codes"]
        codes._scales, codes._squares, codes._errors = arrays["scales"], arrays["squares"], arrays["errors"]
        codes.used = len(codes.rows)
        codes._slots = np.full(int(codes.rows.max(initial=-1)) + 1, -1, np.int32)
        codes._slots[codes.rows] = np.arange(codes.used, dtype=np.int32)
        return codes, arrays


def kth_best(good: Vectors, off: Vectors, count: int) -> float:
    """About the count-th best score of more than `count` rows.

    For rows that are coded worse than others, a lower bound of the score counts. The rows with the highest scores by
    codes are those with the largest errors, and they would rule out better rows that are coded well.
    """
    best = len(good) - min(2 * count, len(good))
    fine = min(_low_quantile(off), _low_quantile(off[np.argpartition(good, best)[best:]]))
    good = good - MARGIN * np.maximum(off - fine, 0)
    return float(np.partition(good, len(good) - count)[len(good) - count])


def _low_quantile(values: Vectors) -> float:
    return float(np.partition(values, len(values) // FINE)[len(values) // FINE])


def may_be_nearest(rows: Records, good: Vectors, off: Vectors, least: float) -> Records:
    """Those of the rows whose scores may reach `least`. off: the standard deviation of the error of each."""
    near: Records = rows[good + MARGIN * off >= least]
    return near
