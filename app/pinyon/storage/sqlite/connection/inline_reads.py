"""Which searches are run where they are asked: those like one that took little time, with no write since.

The way to another thread and back takes up to 0.2 ms, of which more than half is the other thread's cold start.
"""

from pinyon.domain import Handle

MOST_KNOWN = 10_000
"""Namespaces; with more, all are forgotten."""
Key = tuple[Handle, str, bool]
"""An index's handle, a namespace, and whether with a filter."""


class AtOnce:
    """For searches for a page of the nearest to a vector or a record. note() may be called by several threads.

    most_s: how long the one before may have taken; 0: none is run at once.
    """

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._quick: dict[Key, int] = {}

    def lsn(self, key: Key) -> int | None:
        """The number of the last write that a quick search of the namespace saw; None if the last was not quick."""
        return self._quick.get(key)

    def note(self, key: Key, lsn: int, seconds: float) -> None:
        """How long a search took, by itself."""
        if seconds > self._most_s:
            self._quick.pop(key, None)
            return
        if len(self._quick) >= MOST_KNOWN:
            self._quick.clear()
        self._quick[key] = lsn
