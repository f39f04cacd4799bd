"""Decides which searches run on the event-loop thread instead of a reader thread.

The way to another thread and back takes up to 0.2 ms, of which more than half is the other thread's cold start. Two
things must hold. Everything that the search touches is in memory: Database.read_inline() makes sure of that. And it
computes for a short time: that is assumed of a search like one that did, while nothing is written.
"""

from pinyon.domain import Handle

MOST_KNOWN = 10_000
"""Kinds of searches that are remembered. Beyond this, all are forgotten."""
Kind = tuple[Handle, str, bool]
"""An index's handle, the name of a namespace, and whether with a filter."""


class InlineReads:
    """What is known of the searches for a page of the records nearest to a vector. Safe for several threads.

    most_s: the longest time that a search may take for the next one to run on the event-loop thread; 0: none does.
    """

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._fast_at: dict[Kind, int] = {}

    def fast_at(self, kind: Kind) -> int | None:
        """The LSN that the last search of this kind saw; None if it took too long."""
        return self._fast_at.get(kind)

    def note(self, kind: Kind, lsn: int, seconds: float) -> None:
        """Remember how long a search took, without its wait for a thread."""
        if seconds > self._most_s:
            self._fast_at.pop(kind, None)
            return
        if len(self._fast_at) >= MOST_KNOWN:
            self._fast_at.clear()
        self._fast_at[kind] = lsn
