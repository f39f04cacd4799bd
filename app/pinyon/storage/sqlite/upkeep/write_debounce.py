"""Namespaces that are being filled: nothing is built for them before that is over, or has lasted long."""

import time

import msgspec

from pinyon.storage.sqlite.connection.database import Database

QUIET_S, PATIENCE_S = 0.5, 30.0
"""Writes that follow each other so soon are filling a namespace; and for how long that is waited for."""

Name = tuple[str, str]
"""An index's handle, and a namespace."""


class Rest(msgspec.Struct, frozen=True):
    """A namespace that waits: the version it had when last looked at, since when, and when to look again."""

    database: Database
    version: int
    since: float
    due: float


class Filling:
    """The namespaces that wait for quiet. Not for use by several threads."""

    def __init__(self) -> None:
        self._resting: dict[Name, Rest] = {}

    def __bool__(self) -> bool:
        return bool(self._resting)

    def due(self) -> dict[Name, Database]:
        """Those that are to be looked at again."""
        now = time.monotonic()
        return {name: rest.database for name, rest in self._resting.items() if rest.due <= now}

    def wait_s(self) -> float:
        """How long until one is; there must be one."""
        return min(rest.due for rest in self._resting.values()) - time.monotonic()

    def take(self, name: Name) -> Rest | None:
        """What is known of one that is looked at now; it does not wait any more."""
        return self._resting.pop(name, None)

    def is_over(self, name: Name, rest: Rest | None, database: Database, version: int) -> bool:
        """Whether nobody is filling the namespace. If somebody may be, it waits. rest: what take() gave."""
        now = time.monotonic()
        if rest is not None and (now - rest.since > PATIENCE_S or (rest.version == version and rest.due <= now)):
            return True
        self._resting[name] = Rest(database, version, now if rest is None else rest.since, now + QUIET_S)
        return False

    def forget(self, handle: str | None = None) -> None:
        """Drop those of an index, or all."""
        self._resting = {name: rest for name, rest in self._resting.items() if handle is not None and name[0] != handle}
