"""Vectors at a byte for each number: enough to tell which of some are near, at a quarter of the memory."""

from pathlib import Path

import numpy as np

from app.domain import Metric
from app.storage.arrays import Records, Vectors

AT_ONCE = 512
"""Codes looked at in one go: as float32 they are still in the processor's cache."""
MARGIN = 6.0
"""Standard deviations of a code's error by which a row may look worse than the last one wanted: of two errors, and
four of each."""


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
        """Those of the rows that may be among the `count` nearest, by their codes and how far these may be off."""
        if len(rows) <= count:
            return rows
        slots, target = self._slots[rows], self.step * query
        good = np.empty(len(rows), np.float32)
        few = min(AT_ONCE, len(rows))
        held, numbers = (np.empty((few, len(self.low)), kind) for kind in (np.uint8, np.float32))
        for start in range(0, len(rows), AT_ONCE):
            part = slots[start : start + AT_ONCE]
            codes = numbers[: len(part)]
            codes[:] = np.take(self._bytes, part, axis=0, out=held[: len(part)], mode="clip")
            if metric == "euclidean":
                codes *= self.step
                codes += self.low - query
                good[start : start + AT_ONCE] = -np.vecdot(codes, codes)
            else:
                good[start : start + AT_ONCE] = codes @ target
        least = float(np.partition(good, len(good) - count)[len(good) - count])
        # A number is off by anything up to half a step, evenly: of the sum that is a standard deviation.
        if metric == "euclidean":
            off = 2 * np.sqrt(max(-least, 0.0) / 12) * float(self.step.max())
        else:
            off = np.sqrt(float(np.square(target).sum()) / 12)
        near: Records = rows[good >= least - MARGIN * off]
        return near

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
