"""Vectors in memory: a namespace that is searched twice without a write in between is read from disk only once.

The file stays the truth. A cached namespace is of one version, and every write makes another version. While changes
are logged (schema/changes.py), rows that have not changed since are still read from the cache.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon import metrics
from pinyon.domain import Handle
from pinyon.search.bounds import ByteCodes, byte_codes, squared_lengths
from pinyon.storage.sqlite.options import AS_MEASURED, Tuning

MOST_ASKED = 10_000
"""Namespaces whose last search is remembered. Beyond this, all are forgotten."""
ENTRY_BYTES = 1_500
"""Memory of a cached namespace beside its arrays, about."""

Key = tuple[Handle, int]
"""An index's handle and the number of a namespace in it."""


class CachedVectors(msgspec.Struct, frozen=True):
    """All rows of a namespace at one version. records: sorted int64 [n]. vectors: float32 [n, dimension].

    squares: their squared lengths, float32 [n]. block: rows that are scored together. codes: of each block, or empty.
    """

    version: int
    records: NDArray[np.int64]
    vectors: NDArray[np.float32]
    squares: NDArray[np.float32]
    block: int
    codes: tuple[ByteCodes | None, ...]

    @classmethod
    def of(
        cls, version: int, records: NDArray[np.int64], vectors: NDArray[np.float32], tuning: Tuning = AS_MEASURED
    ) -> "CachedVectors":
        """From rows in ascending order. tuning: says which are coded, and how many rows a block has."""
        squares, block = squared_lengths(vectors), tuning.coded_rows
        starts = range(0, len(records) if _worth_coding(len(vectors), vectors.shape[1], tuning) else 0, block)
        codes = tuple(byte_codes(vectors[start : start + block], squares[start : start + block]) for start in starts)
        return cls(version, records, vectors, squares, block, codes)

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        codes = sum(each.nbytes for each in self.codes if each is not None)
        return ENTRY_BYTES + self.records.nbytes + self.vectors.nbytes + self.squares.nbytes + codes


def _worth_coding(count: int, dimension: int, tuning: Tuning) -> bool:
    return count >= tuning.coded_from and dimension >= tuning.coded_dimension


def most_bytes(count: int, dimension: int, tuning: Tuning = AS_MEASURED) -> int:
    """The most memory that CachedVectors of so many rows take."""
    code = -(-dimension // 64) * 64 + 72 if _worth_coding(count, dimension, tuning) else 0  # numkong pads codes
    return ENTRY_BYTES + count * (4 * dimension + code + 40) + 1_000 * (count // tuning.coded_rows + 1)


class VectorCache:
    """The namespaces searched last, of all indexes, up to a number of bytes. Safe for several threads."""

    def __init__(self, most_bytes: int, tuning: Tuning = AS_MEASURED) -> None:
        """tuning: says after how many writes cached vectors are read again, and which are coded."""
        self.most_bytes, self.tuning = most_bytes, tuning
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, CachedVectors] = OrderedDict()
        self._last_asked: dict[Key, int] = {}
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Memory of all entries in bytes."""
        return self._bytes

    def namespaces(self) -> set[Key]:
        """The namespaces that are cached, or whose last search is remembered."""
        with self._lock:
            return {*self._entries, *self._last_asked}

    def get(self, key: Key, version: int) -> CachedVectors | None:
        """The vectors of this version, or None."""
        with self._lock:
            entry = self._entries.get(key)
            is_hit = entry is not None and entry.version == version
            metrics.looked_up("vector", is_hit)
            if not is_hit:
                return None
            self._entries.move_to_end(key)
            return entry

    def latest(self, key: Key) -> CachedVectors | None:
        """The vectors of whatever version is cached."""
        with self._lock:
            return self._entries.get(key)

    def worth_keeping(self, key: Key, version: int, size: int, may_replace: bool = True) -> bool:
        """Whether this version was asked for before, and its vectors fit. size: their bytes.

        may_replace: whether other namespaces may make room for it.

        Where a write comes between any two searches, caching would only cost time.
        """
        with self._lock:
            asked_again = self._last_asked.get(key) == version
            if len(self._last_asked) >= MOST_ASKED:
                self._last_asked.clear()
            self._last_asked[key] = version
            old = self._entries.get(key)
            others = 0 if may_replace else self._bytes - (old.nbytes if old else 0)
            return asked_again and others + size <= self.most_bytes

    def put(self, key: Key, vectors: CachedVectors) -> None:
        """Cache the vectors of a namespace. Drops the namespaces searched longest ago if there is no room."""
        with self._lock:
            old = self._entries.pop(key, None)
            self._bytes += vectors.nbytes - (old.nbytes if old else 0)
            self._entries[key] = vectors
            while self._bytes > self.most_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= dropped.nbytes

    def keep_only(self, handle: Handle, namespaces: Collection[int] = ()) -> None:
        """Free everything of an index, except for the namespaces with these numbers."""
        with self._lock:
            for key in [key for key in self._entries if key[0] == handle and key[1] not in namespaces]:
                self._bytes -= self._entries.pop(key).nbytes
            for key in [key for key in self._last_asked if key[0] == handle and key[1] not in namespaces]:
                del self._last_asked[key]
