"""Decides which searches run on the event-loop thread instead of a reader thread.

The way to another thread and back takes up to 0.2 ms, more than half of it for waking the other thread. A search may
run on the event-loop thread under two conditions. Everything that it reads is in memory: Database.read_inline() ensures
that. And it computes for a short time only: this is assumed if the last search of its kind was fast, and nothing was
written since.
"""

from pinyon.domain import Handle

Kind = tuple[Handle, str, bool]
"""The handle of an index, the name of a namespace, and whether the search has a filter."""


class InlineReads:
    """Remembers which kinds of vector searches were fast. Safe for several threads.

    most_s: if a search took at most this many seconds, the next one may run on the event-loop thread; 0: none does.
    most_known: kinds of searches to remember. When there are more, all are forgotten.
    """

    def __init__(self, most_s: float, most_known: int = 10_000) -> None:
        self._most_s, self._most_known = most_s, most_known
        self._fast_lsn: dict[Kind, int] = {}

    def fast_lsn(self, kind: Kind) -> int | None:
        """The LSN that the last search of this kind saw. None if it took too long, or there was none."""
        return self._fast_lsn.get(kind)

    def note(self, kind: Kind, lsn: int, seconds: float) -> None:
        """Remember how long a search took, not counting its wait for a thread."""
        if seconds > self._most_s:
            self._fast_lsn.pop(kind, None)
            return
        if len(self._fast_lsn) >= self._most_known:
            self._fast_lsn.clear()
        self._fast_lsn[kind] = lsn
