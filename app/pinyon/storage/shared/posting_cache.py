"""Keeps the inverted lists and text lengths that keyword searches used last.

Reading them from the tables takes most of the time of a keyword search. What is cached is true of one version of a
namespace, and every write makes another version.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon import metrics
from pinyon.domain import Handle
from pinyon.storage.shared.row_sets import Records

Key = tuple[Handle, int]
"""An index, and the number of a namespace."""
Version = tuple[int, int]
"""The version of a namespace, and of its index: a changed language changes every list."""
Tokens = tuple[str, ...]
LIST_BYTES, NAMESPACE_BYTES = 700, 1_000
"""Memory of a list, and of a namespace, beside their numbers, about."""
UNKNOWN = -1.0
WIDEST = 16
"""Lengths are cached while the row numbers of a namespace lie in a range of at most so many numbers for each text."""


NO_LENGTHS = np.empty(0, np.float32)


class InvertedList(msgspec.Struct, frozen=True):
    """The records that have a token. records: int64 [n], sorted. counts: float32 [n], how often each has it.

    lengths: float32 [n], how many words each has, where an engine stores them with the list; otherwise empty.
    """

    records: Records
    counts: NDArray[np.float32]
    lengths: NDArray[np.float32] = NO_LENGTHS

    @property
    def nbytes(self) -> int:
        """Memory that the list takes, about."""
        return int(self.records.nbytes + self.counts.nbytes + self.lengths.nbytes) + LIST_BYTES


class _Lengths(msgspec.Struct):
    """Lengths of texts by row number, float32 [n]; UNKNOWN where none was read. first: the row number of place 0."""

    first: int = 0
    values: NDArray[np.float32] = msgspec.field(default_factory=lambda: np.empty(0, np.float32))

    def cover(self, first: int, end: int) -> None:
        """Make room for the rows from first to end, without end."""
        if len(self.values):
            first, end = min(first, self.first), max(end, self.first + len(self.values))
        if end - first > len(self.values):
            wider = np.full(end - first, UNKNOWN, np.float32)
            wider[self.first - first :][: len(self.values)] = self.values
            self.first, self.values = first, wider


class _Namespace(msgspec.Struct):
    version: Version
    lists: OrderedDict[Tokens, InvertedList] = msgspec.field(default_factory=OrderedDict)
    lengths: _Lengths = msgspec.field(default_factory=_Lengths)
    nbytes: int = NAMESPACE_BYTES


class PostingCache:
    """Lists and lengths of all indexes, up to a number of bytes. Safe for several threads: one lock guards everything.

    The lock is not held while tables are read. Lists never change once they are made.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._namespaces: OrderedDict[Key, _Namespace] = OrderedDict()
        self._bytes = 0

    def inverted_list(
        self, key: Key, version: Version, tokens: Tokens, read: Callable[[], InvertedList]
    ) -> InvertedList:
        """The records that have any of the tokens, from memory or from the tables."""
        cached = self.cached_list(key, version, tokens)
        metrics.looked_up("postings", cached is not None)
        if cached is not None:
            return cached
        made = read()
        with self._lock:
            namespace = self._of_version(key, version)
            if namespace is not None and tokens not in namespace.lists and made.nbytes <= self.most_bytes // 4:
                namespace.lists[tokens] = made
                self._grow(key, namespace, made.nbytes)
        return made

    def cached_list(self, key: Key, version: Version, tokens: Tokens) -> InvertedList | None:
        """The list, if it is in memory."""
        with self._lock:
            namespace = self._namespaces.get(key)
            if namespace is None or namespace.version != version or tokens not in namespace.lists:
                return None
            namespace.lists.move_to_end(tokens)
            return namespace.lists[tokens]

    def lengths(
        self,
        key: Key,
        version: Version,
        texts: int,
        records: Records,
        read: Callable[[Records], NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """How many words each record has, float64 [n]. Reads those that are not in memory.

        texts: how many the namespace has. records: int64 [n], sorted, at least one.
        """
        first, end = int(records[0]), int(records[-1]) + 1
        with self._lock:
            namespace = self._of_version(key, version)
            if namespace is None or not self._can_cover(namespace.lengths, first, end, texts):
                namespace = None
            else:
                before = namespace.lengths.values.nbytes
                namespace.lengths.cover(first, end)
                self._grow(key, namespace, namespace.lengths.values.nbytes - before)
                lengths = namespace.lengths.values[records - namespace.lengths.first].astype(np.float64)
        if namespace is None:
            return read(records)
        unknown = lengths == UNKNOWN
        if unknown.any():
            lengths[unknown] = read(records[unknown])
            with self._lock:  # another thread may have widened the array meanwhile
                namespace.lengths.values[records[unknown] - namespace.lengths.first] = lengths[unknown]
        return lengths

    def _can_cover(self, lengths: _Lengths, first: int, end: int, texts: int) -> bool:
        if len(lengths.values):
            first, end = min(first, lengths.first), max(end, lengths.first + len(lengths.values))
        return end - first <= WIDEST * max(texts, 64) and 4 * (end - first) <= self.most_bytes // 4

    def _of_version(self, key: Key, version: Version) -> _Namespace | None:
        """What is cached of a namespace; None if that is newer than the caller's snapshot. Call with the lock."""
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.version < version:
            if not self.most_bytes:
                return None
            self._drop(key)
            namespace = self._namespaces[key] = _Namespace(version)
            self._bytes += namespace.nbytes
        self._namespaces.move_to_end(key)
        return namespace if namespace.version == version else None

    def _grow(self, key: Key, namespace: _Namespace, more: int) -> None:
        """Count bytes, and make room: first in the namespaces used longest ago, then among the lists of this one."""
        namespace.nbytes += more
        self._bytes += more
        while self._bytes > self.most_bytes and len(self._namespaces) > 1:
            self._drop(next(iter(self._namespaces)))
        while self._bytes > self.most_bytes and len(namespace.lists) > 1:
            _, dropped = namespace.lists.popitem(last=False)
            namespace.nbytes -= dropped.nbytes
            self._bytes -= dropped.nbytes

    def _drop(self, key: Key) -> None:
        namespace = self._namespaces.pop(key, None)
        if namespace is not None:
            self._bytes -= namespace.nbytes

    @property
    def nbytes(self) -> int:
        """Memory that everything takes."""
        return self._bytes

    def namespaces(self) -> set[Key]:
        """The namespaces of which something is cached."""
        with self._lock:
            return set(self._namespaces)

    def clear(self) -> None:
        """Free everything."""
        with self._lock:
            self._namespaces.clear()
            self._bytes = 0

    def keep_only(self, handle: Handle, namespaces: Collection[int] = ()) -> None:
        """Free everything of an index, except for the namespaces with these numbers."""
        with self._lock:
            for key in [key for key in self._namespaces if key[0] == handle and key[1] not in namespaces]:
                self._drop(key)
