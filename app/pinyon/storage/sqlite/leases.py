"""Leases: the right of one owner to a piece of work, until it is released or a time has passed.

They are held in memory, and end with the process: only one process at a time can write to a data folder.
"""

import time
from collections.abc import Callable

import msgspec


class Lease(msgspec.Struct, frozen=True):
    """expires: on the clock of the leases, in seconds."""

    owner: str
    expires: float


class Leases:
    """One owner for each key. clock: seconds that only count up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._leases: dict[str, Lease] = {}

    def take(self, key: str, owner: str, seconds: float) -> bool:
        """Take the lease, or renew it, for so many seconds from now. False while another owner has it."""
        now = self._clock()
        lease = self._leases.get(key)
        if lease is not None and lease.owner != owner and now < lease.expires:
            return False
        self._leases[key] = Lease(owner, now + seconds)
        return True

    def release(self, key: str, owner: str) -> None:
        """End the lease of this owner, if it has one."""
        lease = self._leases.get(key)
        if lease is not None and lease.owner == owner:
            del self._leases[key]

    def forget(self, key: str) -> None:
        """End the lease of whoever has it."""
        self._leases.pop(key, None)
