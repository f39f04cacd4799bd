"""Vectors kept in memory: a namespace that is searched twice without a write between is read from disk only once.

The file stays the truth: what is kept is the content of one version of a namespace, and every write makes another.
Where changes are noted down (changes.py), rows that have not changed since are still read from what is kept.
"""

import threading
from collections import OrderedDict

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon import metrics
from pinyon.search.bounds import Coded, coded, squared_lengths

BLOCK = 16_384
"""Rows that are coded, and scored, together."""
CODED_FROM, CODED_DIMENSION = 2_000, 64
"""Rows, and numbers of each; fewer vectors, and shorter ones, are read as quickly themselves."""


MOST_ASKED = 10_000
"""Namespaces that are remembered to have been searched; with more, all are forgotten."""
ENTRY_BYTES = 1_500
"""What a namespace takes beside its arrays' numbers, about."""


class Held(msgspec.Struct, frozen=True):
    """All live rows of a namespace at one version. records: sorted int64 [n], vectors: float32 [n, dimension].

    squares: their squared lengths, float32 [n]. codes: of each BLOCK of rows, where there are; or empty.
    """

    version: int
    records: NDArray[np.int64]
    vectors: NDArray[np.float32]
    squares: NDArray[np.float32]
    codes: tuple[Coded | None, ...]

    @classmethod
    def of(cls, version: int, records: NDArray[np.int64], vectors: NDArray[np.float32]) -> "Held":
        """Of rows in the order of their numbers."""
        squares = squared_lengths(vectors)
        blocks = range(0, len(records) if _worth_coding(*vectors.shape) else 0, BLOCK)
        codes = tuple(coded(vectors[start : start + BLOCK], squares[start : start + BLOCK]) for start in blocks)
        return cls(version, records, vectors, squares, codes)

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        codes = sum(each.nbytes for each in self.codes if each is not None)
        return ENTRY_BYTES + self.records.nbytes + self.vectors.nbytes + self.squares.nbytes + codes


def _worth_coding(count: int, dimension: int) -> bool:
    return count >= CODED_FROM and dimension >= CODED_DIMENSION


def most_bytes(count: int, dimension: int) -> int:
    """What Held takes for so many rows, at most."""
    code = -(-dimension // 64) * 64 + 72 if _worth_coding(count, dimension) else 0  # numkong pads them
    return ENTRY_BYTES + count * (4 * dimension + code + 40) + 1_000 * (count // BLOCK + 1)


Key = tuple[str, int]
"""An index's handle and the number of a namespace in it."""


class VectorCache:
    """The namespaces of all indexes that were searched last, up to a number of bytes. Safe for several threads."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[Key, Held] = OrderedDict()
        self._asked: dict[Key, int] = {}
        self._bytes = 0

    def get(self, key: Key, version: int) -> Held | None:
        """What is kept of this version, or None."""
        with self._lock:
            held = self._held.get(key)
            there = held is not None and held.version == version
            metrics.looked_up("vector", there)
            if held is None or not there:
                return None
            self._held.move_to_end(key)
            return held

    def latest(self, key: Key) -> Held | None:
        """What is kept, of whatever version."""
        with self._lock:
            return self._held.get(key)

    def worth_keeping(self, key: Key, version: int, size: int) -> bool:
        """Whether this version was asked for before, and its vectors (size: bytes) fit.

        Where a write comes between any two searches, keeping would only cost time.
        """
        with self._lock:
            again = self._asked.get(key) == version
            if len(self._asked) >= MOST_ASKED:
                self._asked.clear()
            self._asked[key] = version
            return again and size <= self.most_bytes

    def put(self, key: Key, held: Held) -> None:
        """Keep it, and drop what was searched longest ago."""
        with self._lock:
            old = self._held.pop(key, None)
            self._bytes += held.nbytes - (old.nbytes if old else 0)
            self._held[key] = held
            while self._bytes > self.most_bytes:
                _, dropped = self._held.popitem(last=False)
                self._bytes -= dropped.nbytes

    def forget(self, handle: str) -> None:
        """Drop everything of an index that is gone."""
        with self._lock:
            for key in [key for key in self._held if key[0] == handle]:
                self._bytes -= self._held.pop(key).nbytes
            self._asked = {key: version for key, version in self._asked.items() if key[0] != handle}
