"""Puts off the building of inverted files while records are being loaded, but not for ever."""

import time

import msgspec

from pinyon.domain import Handle
from pinyon.storage.sqlite.connection.database import Database

MOST_GROWTH = 0.3
"""Growth within the longest wait, as a share, above which a namespace is put off again: an inverted file that is built
while so much is added is out of date when it is ready. At a steady rate this ends after about four such waits."""
Place = tuple[Handle, str]
"""An index's handle, and the name of a namespace."""


class Pending(msgspec.Struct, frozen=True):
    """A namespace that waits for quiet: its version at the last look, since when it waits, and when to look again.

    count: its records when the wait began.
    """

    database: Database
    version: int
    count: int
    since: float
    due: float


class WriteDebounce:
    """The namespaces that wait for quiet. Call from one thread only.

    quiet_s, patience_s: quiet time that ends a bulk load, and the longest wait for it, in seconds.
    """

    def __init__(self, quiet_s: float, patience_s: float) -> None:
        self._quiet_s, self._patience_s = quiet_s, patience_s
        self._pending: dict[Place, Pending] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def due(self) -> dict[Place, Database]:
        """The namespaces to look at again now."""
        now = time.monotonic()
        return {place: pending.database for place, pending in self._pending.items() if pending.due <= now}

    def wait_s(self) -> float:
        """Seconds until one is due. There must be one that waits."""
        return min(pending.due for pending in self._pending.values()) - time.monotonic()

    def take(self, place: Place) -> Pending | None:
        """What is known of a namespace that is looked at now. It waits no longer."""
        return self._pending.pop(place, None)

    def is_quiet(self, place: Place, pending: Pending | None, database: Database, version: int, count: int) -> bool:
        """Whether nothing was written since the last look, or it has been put off long enough.

        If not, the namespace waits. pending: what take() returned. version, count: of the namespace now.
        """
        now = time.monotonic()
        since, first = (now, count) if pending is None else (pending.since, pending.count)
        if pending is not None and pending.version == version and pending.due <= now:
            return True
        if now - since > self._patience_s:
            if count <= (1 + MOST_GROWTH) * first:
                return True
            since, first = now, count
        self._pending[place] = Pending(database, version, first, since, now + self._quiet_s)
        return False

    def release(self, handle: Handle | None = None) -> None:
        """Forget the namespaces of an index, or all."""
        self._pending = {place: each for place, each in self._pending.items() if handle not in (None, place[0])}
