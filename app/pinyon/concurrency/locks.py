"""Locks by name: one for each thing that is changed, made when it is first needed and freed when nobody holds it."""

import asyncio
from weakref import WeakValueDictionary


class NamedLocks:
    """Call from the event-loop thread only."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """The lock of this name. Use it as `async with locks.of(name):`."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock

    async def all_released(self) -> None:
        """Wait for everybody who holds or waits for a lock now."""
        for lock in list(self._locks.values()):
            async with lock:
                pass

    def __len__(self) -> int:
        return len(self._locks)
