"""The ports of indexes: which index answers on which.

Each port that an index ever had is a value in the engine's catalogue. A port is taken by compare-and-set, so two
indexes never get the same one, even if two processes create them. The engine does not know what the values mean.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec

from pinyon import decoding
from pinyon.concurrency.conflicts import until_no_conflict
from pinyon.errors import PermissionDenied, PinyonError
from pinyon.services.control_plane.addresses import Addresses
from pinyon.storage.engine import Engine

PREFIX = "port/"
"""Before the number of the port in the keys of the catalogue's values."""

log = logging.getLogger("pinyon.indexes")


class Owner(msgspec.Struct, frozen=True):
    """The index that has a port, or had it last. released: None while it has it, then a number that counts up."""

    index: str
    released: int | None = None


NOBODY = Owner("", 0)
"""Of a port that no index had."""


class Ports:
    """The ports of one server's indexes. Call from the event-loop thread only.

    read_only: nothing can be stored, so ports are chosen for this process alone.
    """

    def __init__(self, engine: Engine, addresses: Addresses, read_only: bool = False) -> None:
        self._engine, self._addresses, self._read_only = engine, addresses, read_only
        self._owners: dict[int, Owner] = {}
        self._versions: dict[int, int] = {}
        self._port_of: dict[str, int] = {}
        self._lock = asyncio.Lock()
        self._reloading: asyncio.Task[None] | None = None

    def of(self, index: str) -> int | None:
        """The port of an index. None if it has none."""
        return self._port_of.get(index)

    def index_at(self, port: int) -> str | None:
        """The name of the index that has a port. None if no index has it."""
        owner = self._owners.get(port)
        return None if owner is None or self._port_of.get(owner.index) != port else owner.index

    def owners(self) -> list[str]:
        """The names of the indexes that have a port."""
        return sorted(self._port_of)

    async def load(self) -> None:
        """Read the ports from the catalogue, and from now on follow what other processes change."""
        self._engine.watch(self._reload)
        async with self._lock:
            await self._read()

    def _reload(self) -> None:
        async def reload() -> None:
            try:
                async with self._lock:
                    await self._read()
            except PinyonError as error:  # the next change reads them again
                log.warning("the ports that other processes gave to indexes cannot be read: %s", error.message)

        self._reloading = asyncio.create_task(reload())

    async def take(self, index: str) -> None:
        """Give a new index one of the open ports. It keeps a port that it has already.

        Raises PermissionDenied if none is left.
        """
        await self._change(lambda: self._take(index, ()))

    async def release(self, index: str) -> None:
        """Free the port of an index that was deleted, or that could not be made. If that fails, the next start does."""
        try:
            await self._change(lambda: self._release(index))
        except PinyonError as error:
            log.warning("the port of index %s is not freed now, but by the next start: %s", index, error.message)

    async def assign(self, index: str) -> None:
        """At a start, give a port to an index that has none in the range of the settings. If none is left, log it."""
        in_range = [port for port in self._addresses.port_range if port != self._addresses.port]
        # A reader beside a writer cannot have the writer's ports, although they are in the range.
        keep = () if self._read_only else in_range
        try:
            await self._change(lambda: self._take(index, keep))
        except PermissionDenied as error:
            log.warning("%s", error.message)
            return
        if (port := self._port_of[index]) not in self._addresses.index_ports:
            log.warning("index %s cannot be reached: its port %d is taken by another program", index, port)

    async def _change(self, change: Callable[[], Awaitable[None]]) -> None:
        async def read_and_change() -> None:
            await self._read()
            await change()

        async with self._lock:
            await until_no_conflict(read_and_change)

    async def _take(self, index: str, keep: Collection[int]) -> None:
        port = choose(self._owners, index, self._addresses.index_ports, keep)
        for other, owner in list(self._owners.items()):
            if owner == Owner(index) and other != port:
                await self._store(other, NOBODY)
        if self._owners.get(port) != Owner(index):
            await self._store(port, Owner(index))

    async def _release(self, index: str) -> None:
        for port, owner in list(self._owners.items()):
            if owner == Owner(index):
                last = max(each.released or 0 for each in self._owners.values())
                await self._store(port, Owner(index, last + 1))

    async def _read(self) -> None:
        if self._read_only and self._owners:
            return
        owners, versions = dict[int, Owner](), dict[int, int]()
        for key, value in (await self._engine.catalogue_values()).items():
            number = key.removeprefix(PREFIX)
            if number == key or not number.isdecimal():
                continue
            port = int(number)
            versions[port] = value.version
            try:
                owners[port] = decoding.decode(value.text, Owner)
            except msgspec.MsgspecError:  # read from a damaged catalogue
                log.warning("which index had port %d cannot be read", port)
        self._owners, self._versions = owners, versions
        self._index()

    async def _store(self, port: int, owner: Owner) -> None:
        version = self._versions.get(port, 0)
        if not self._read_only:
            await self._engine.put_catalogue_value(f"{PREFIX}{port}", msgspec.json.encode(owner).decode(), version)
        self._owners[port], self._versions[port] = owner, version + 1
        self._index()

    def _index(self) -> None:
        """Sort by index. If one has two ports, because a process ended between two writes, the lower one counts."""
        taken = [(owner.index, port) for port, owner in self._owners.items() if owner.released is None]
        self._port_of = dict(sorted(taken, reverse=True))


def choose(owners: Mapping[int, Owner], index: str, free: Sequence[int], keep: Collection[int] = ()) -> int:
    """The port of an index: its present one if that is in `keep` or `free`, otherwise one of `free`.

    The choice among the free ports, best first: the one that an index of this name had before; one that no index ever
    had; the one that was released longest ago, because programs that still know its old index might write to the new
    one. Raises PermissionDenied if none is left.
    """
    present = [port for port, owner in sorted(owners.items()) if owner == Owner(index)]
    if present and present[0] in (*keep, *free):
        return present[0]
    available = [port for port in free if port not in owners or owners[port].released is not None]
    if not available:
        raise PermissionDenied(
            f"No port is left for the index {index}: all {len(free)} of index_ports are in use. Delete an index, or "
            "start the server with a larger --index-ports range, or with --index-host"
        )

    def preference(port: int) -> tuple[bool, int, int]:
        owner = owners.get(port, NOBODY)
        return owner.index != index, owner.released or 0, port

    return min(available, key=preference)
