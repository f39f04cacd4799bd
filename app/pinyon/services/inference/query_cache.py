"""Query vectors kept in memory: people ask the same again, and a page of hits is often one query asked twice."""

import sys
from collections import OrderedDict

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Fingerprint, Truncate

ENTRY_BYTES = 600
"""What an entry takes beside its vector and its text, about."""

Key = tuple[Fingerprint, Truncate, str]


class QueryVector(msgspec.Struct, frozen=True):
    """A text's vector float32 [dimension], its tokens, and whether it was cut."""

    vector: NDArray[np.float32]
    tokens: int
    truncated: bool


class QueryCache:
    """The queries embedded last, up to a number of bytes. Not for use by several threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._kept: OrderedDict[Key, QueryVector] = OrderedDict()

    def get(self, key: Key) -> QueryVector | None:
        """What is kept of this text, embedded by exactly this."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    @property
    def nbytes(self) -> int:
        """Memory that what is kept takes."""
        return self._bytes

    def put(self, key: Key, embedded: QueryVector) -> None:
        """Keep it, and drop what was asked longest ago."""
        if key not in self._kept:
            self._bytes += _size(key, embedded)
        self._kept[key] = embedded
        self._kept.move_to_end(key)
        while self._bytes > self._most_bytes:
            self._bytes -= _size(*self._kept.popitem(last=False))


def _size(key: Key, embedded: QueryVector) -> int:
    return embedded.vector.nbytes + sys.getsizeof(key[2]) + ENTRY_BYTES
