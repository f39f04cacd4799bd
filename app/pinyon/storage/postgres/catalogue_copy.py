"""This process's copy of the catalogue of indexes, which follows the changes of all processes."""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec
import psycopg
from psycopg import sql

from pinyon.concurrency.cancellation import cancel
from pinyon.domain import IndexRef, name_of
from pinyon.errors import NotFound, PinyonError
from pinyon.storage.postgres import catalogue
from pinyon.storage.postgres.catalogue import CHANNEL, Entry
from pinyon.storage.postgres.connection.database import Database
from pinyon.storage.postgres.connection.database_errors import answers_again, complain, translated
from pinyon.storage.postgres.connection.write_groups import WriteGroups
from pinyon.storage.postgres.schema.migrations import LATER_VERSION, in_schema, index_schema, is_newest
from pinyon.storage.postgres.vectors import hnsw
from pinyon.storage.postgres.vectors.hnsw import HnswIndex

ASKED_EVERY_S = 1.0
"""How often the database is asked whether the catalogue changed, if no notification came: a pooler may lose them."""
RECONNECTED_AFTER_S = 1.0
SILENT_S = 5.0
"""A database that has not answered for so many seconds is away."""


class KnownIndex(msgspec.Struct):
    """An index in this process. writes: this process's writes to it. hnsw: by number, its indexed namespaces."""

    entry: Entry
    schema: str
    writes: WriteGroups
    hnsw: dict[int, HnswIndex]


class CatalogueCopy:
    """Call from the event-loop thread only. schema: of the catalogue. most_in_group: as WriteGroups takes it."""

    def __init__(self, database: Database, schema: str, most_in_group: int) -> None:
        self._database, self._schema, self._most = database, schema, most_in_group
        self._indexes: dict[str, KnownIndex] = {}
        self._changes = -1
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._watchers: list[Callable[[], None]] = []
        self._is_lost, self._is_outdated, self._answered = False, False, 0.0

    @property
    def indexes(self) -> Mapping[str, KnownIndex]:
        """The indexes by name."""
        return self._indexes

    def known(self, index: IndexRef) -> KnownIndex | None:
        """The index of this name or handle, if the copy has it."""
        known = self._indexes.get(name_of(index))
        return known if known is not None and index in (known.entry.index.name, known.entry.index.handle) else None

    def at_hand(self, index: IndexRef) -> KnownIndex:
        """The index of this name or handle. Raises NotFound if the copy lacks it."""
        known = self.known(index)
        if known is None:
            raise NotFound(f"Index {name_of(index)} not found.")
        return known

    async def find(self, index: IndexRef) -> KnownIndex:
        """The index of this name or handle. Asks the database if the copy lacks it. Raises NotFound."""
        known = self.known(index)
        if known is None:
            await self.refresh()
            known = self.at_hand(index)
        return known

    async def refresh(self) -> None:
        """Read the catalogue again if it has changed."""
        async with self._lock:
            with translated("The catalogue"):
                async with self._database.transaction() as connection:
                    changes = await catalogue.changes(connection)
                    if changes == self._changes:
                        return
                    entries = await catalogue.entries(connection)
                    fresh = {}
                    for entry in entries:
                        schema = index_schema(self._schema, entry.number)
                        await in_schema(connection, schema, self._schema)
                        kind = hnsw.kind_of(entry.index.spec)
                        indexed = {} if kind is None else dict.fromkeys(await hnsw.usable(connection), kind)
                        fresh[entry.index.name] = self._as_known(entry, schema, indexed)
            self._indexes, self._changes = fresh, changes
        for watcher in self._watchers:
            watcher()

    def watch(self, changed: Callable[[], None]) -> None:
        """Call this from now on whenever the catalogue has changed, and this copy has followed."""
        self._watchers.append(changed)

    def _as_known(self, entry: Entry, schema: str, indexed: dict[int, HnswIndex]) -> KnownIndex:
        old = self._indexes.get(entry.index.name)
        if old is not None and old.entry.number == entry.number:
            return KnownIndex(entry, schema, old.writes, indexed)
        return KnownIndex(entry, schema, WriteGroups(self._database, schema, self._most, entry.index.name), indexed)

    def problem(self) -> str | None:
        """Why the database cannot be asked now, or None."""
        if self._is_outdated:
            return f"a {LATER_VERSION}"
        if self._task is None or (not self._is_lost and time.monotonic() - self._answered < SILENT_S):
            return None
        return "the database does not answer"

    def follow(self) -> None:
        """Begin to follow the changes of other processes."""
        self._answered = time.monotonic()
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            await cancel(self._task)

    async def _follow(self) -> None:
        state = sql.SQL("SELECT changes, index_steps FROM {}.catalogue_state").format(sql.Identifier(self._schema))
        while True:
            try:
                connection = await self._database.connect()
                async with connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    if self._is_lost:
                        answers_again()
                        await self._database.reconnect()
                    self._is_lost = False
                    while True:
                        row = await (await connection.execute(state)).fetchone()  # notices a lost connection, too
                        self._answered = time.monotonic()
                        self._is_outdated = row is not None and not is_newest(row[1])
                        if row is None or row[0] != self._changes:
                            await self.refresh()
                        async for _ in connection.notifies(timeout=ASKED_EVERY_S, stop_after=1):
                            pass
            except asyncio.CancelledError:
                raise
            except Exception as error:  # whatever it is, the next attempt may succeed
                if not isinstance(error, PinyonError):  # those are in the log already
                    complain(error)
                if self._is_lost and isinstance(error, psycopg.errors.ConnectionTimeout):  # no answer, and no refusal
                    self._database.abandon()
                self._is_lost = not isinstance(error, PinyonError)  # the next attempt shows whether it is
                await asyncio.sleep(RECONNECTED_AFTER_S)
