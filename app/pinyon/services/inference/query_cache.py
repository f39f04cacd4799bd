"""A cache of embedded queries: people repeat queries, and paging through hits asks the same query again."""

import sys
from collections import OrderedDict

from pinyon.domain import Fingerprint, Truncate
from pinyon.services.inference.embedded_text import EmbeddedText

ENTRY_BYTES = 600
"""Approximate memory of an entry in addition to its vector and its text, in bytes."""

Key = tuple[Fingerprint, Truncate, str]
"""What embeds the query, how a long query is cut, and its text."""


class QueryCache:
    """The queries that were used last, up to a number of bytes. Use it from one thread only."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._entries: OrderedDict[Key, EmbeddedText] = OrderedDict()

    def get(self, key: Key) -> EmbeddedText | None:
        """The cached query, or None."""
        embedded = self._entries.get(key)
        if embedded is not None:
            self._entries.move_to_end(key)
        return embedded

    @property
    def nbytes(self) -> int:
        """Memory that the entries take, in bytes."""
        return self._bytes

    def put(self, key: Key, embedded: EmbeddedText) -> None:
        """Add the query. Those that were not used for the longest time are dropped if the cache is full."""
        if key in self._entries:
            self._bytes -= _size(key, self._entries[key])
        self._entries[key] = embedded
        self._bytes += _size(key, embedded)
        self._entries.move_to_end(key)
        while self._bytes > self._most_bytes:
            self._bytes -= _size(*self._entries.popitem(last=False))


def _size(key: Key, embedded: EmbeddedText) -> int:
    vector_bytes = 0 if embedded.vector is None else embedded.vector.nbytes
    window_bytes = sum(window.nbytes for window in embedded.windows or ())
    return vector_bytes + window_bytes + sys.getsizeof(key[2]) + ENTRY_BYTES
