"""Leases: the right of one owner to do some work, until it releases the lease or the lease expires.

They are in memory only, because only one process at a time can write to a data folder.
"""

import time
from collections.abc import Callable

import msgspec


class Lease(msgspec.Struct, frozen=True):
    """expires: seconds on the clock of Leases."""

    owner: str
    expires: float


class Leases:
    """At most one owner for each key. clock: returns seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._leases: dict[str, Lease] = {}

    def take(self, key: str, owner: str, seconds: float) -> bool:
        """Take or renew a lease for some seconds from now. Returns False if another owner has it."""
        now = self._clock()
        lease = self._leases.get(key)
        if lease is not None and lease.owner != owner and now < lease.expires:
            return False
        self._leases[key] = Lease(owner, now + seconds)
        return True

    def release(self, key: str, owner: str) -> None:
        """End the lease, if this owner has it."""
        lease = self._leases.get(key)
        if lease is not None and lease.owner == owner:
            del self._leases[key]

    def forget(self, key: str) -> None:
        """End the lease, whoever has it."""
        self._leases.pop(key, None)
