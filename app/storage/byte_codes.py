"""Vectors at a byte for each number: enough to tell which of some are near, at a quarter of the memory."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.domain import Metric

Records = NDArray[np.int64]
Vectors = NDArray[np.float32]


class Codes:
    """A byte for each number of each vector, by row number; each dimension on a scale of its own."""

    def __init__(self, low: Vectors, step: Vectors, capacity: int) -> None:
        self.low, self.step = low, step
        self.rows = np.empty(capacity, np.int64)
        self._bytes = np.empty((capacity, len(low)), np.uint8)
        self._slots = np.full(0, -1, np.int32)
        self.used = 0

    @classmethod
    def fitted(cls, vectors: Vectors, capacity: int) -> "Codes":
        """On the scale of these vectors; what lies outside later is cut."""
        low, high = vectors.min(axis=0), vectors.max(axis=0)
        return cls(low, np.maximum((high - low) / 255, np.finfo(np.float32).tiny).astype(np.float32), capacity)

    def put(self, rows: Records, vectors: Vectors) -> None:
        """Keep vectors, each in place of what the row had."""
        if not len(rows):
            return
        top = int(rows.max()) + 1
        if top > len(self._slots):
            self._slots = np.concatenate([self._slots, np.full(top + top // 4 - len(self._slots), -1, np.int32)])
        new = rows[self._slots[rows] < 0]
        if self.used + len(new) > len(self.rows):
            capacity = (self.used + len(new)) * 5 // 4
            self.rows = np.resize(self.rows, capacity)
            self._bytes = np.concatenate(
                [self._bytes[: self.used], np.empty((capacity - self.used, len(self.low)), np.uint8)]
            )
        self._slots[new] = np.arange(self.used, self.used + len(new), dtype=np.int32)
        self.rows[self.used : self.used + len(new)] = new
        self.used += len(new)
        self._bytes[self._slots[rows]] = np.clip(np.rint((vectors - self.low) / self.step), 0, 255)

    def nearest(self, query: Vectors, rows: Records, count: int, metric: Metric) -> Records:
        """The `count` rows that are the nearest by their codes."""
        if len(rows) <= count:
            return rows
        codes = self._bytes[self._slots[rows]].astype(np.float32)
        if metric == "euclidean":
            codes *= self.step
            codes += self.low - query
            good = -np.einsum("ij,ij->i", codes, codes)
        else:
            good = codes @ (self.step * query)
        return rows[np.argpartition(-good, count)[:count]]

    def known(self, rows: Records) -> Records:
        """Those of the rows that are kept."""
        rows = rows[rows < len(self._slots)]
        return rows[self._slots[rows] >= 0]

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self._bytes.nbytes + self._slots.nbytes + self.rows.nbytes

    def save(self, path: Path) -> None:
        """Write it to a file."""
        with path.open("wb") as stream:
            np.savez(stream, low=self.low, step=self.step, rows=self.rows[: self.used], codes=self._bytes[: self.used])

    @classmethod
    def load(cls, path: Path) -> "Codes":
        """Read what save() wrote."""
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            codes = cls(held["low"], held["step"], 0)
            codes.rows, codes._bytes = held["rows"], held["codes"]
        codes.used = len(codes.rows)
        codes._slots = np.full(int(codes.rows.max(initial=-1)) + 1, -1, np.int32)
        codes._slots[codes.rows] = np.arange(codes.used, dtype=np.int32)
        return codes
