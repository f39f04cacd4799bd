"""Leases in memory, because only one process at a time can write to a data folder."""

import time
from collections.abc import Callable

from pinyon.domain import Lease
from pinyon.errors import LeaseLost


class Leases:
    """At most one owner for each name. clock: returns seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._leases: dict[str, tuple[str, float]] = {}  # by name, the owner and when the lease ends

    def take(self, lease: Lease, seconds: float) -> bool:
        """Take or renew a lease for some seconds from now. Returns False if another owner has it."""
        now = self._clock()
        owner, end = self._leases.get(lease.name, ("", now))
        if owner != lease.owner and now < end:
            return False
        self._leases[lease.name] = lease.owner, now + seconds
        return True

    def check(self, lease: Lease) -> None:
        """Raises LeaseLost unless the owner has the lease."""
        owner, end = self._leases.get(lease.name, ("", 0.0))
        if owner != lease.owner or end <= self._clock():
            raise LeaseLost(f"The lease {lease.name} has expired")

    def release(self, lease: Lease) -> None:
        """End the lease, if this owner has it."""
        owner, _ = self._leases.get(lease.name, ("", 0.0))
        if owner == lease.owner:
            del self._leases[lease.name]

    def expired(self, prefix: str) -> list[str]:
        """Names with this prefix of leases that expired and were not released, sorted."""
        now = self._clock()
        return sorted(name for name, (_, end) in self._leases.items() if name.startswith(prefix) and end <= now)
