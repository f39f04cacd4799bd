"""Reads and writes the records of the indexes of a database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from pinyon import metrics
from pinyon.domain import (
    FacetPlan,
    Facets,
    Fingerprint,
    IndexRef,
    NamespaceInfo,
    Note,
    Page,
    PagePlan,
    QueryAnswer,
    QueryPlan,
    Record,
    Selection,
    UpdatePlan,
)
from pinyon.errors import EmbeddingMismatch, InvalidArgument, NotFound, Unavailable
from pinyon.storage.engine import MIN_LSN
from pinyon.storage.postgres import catalogue, notes
from pinyon.storage.postgres.catalogue import State
from pinyon.storage.postgres.catalogue_copy import CatalogueCopy, KnownIndex
from pinyon.storage.postgres.connection.database import Connection, Database
from pinyon.storage.postgres.connection.database_errors import translated
from pinyon.storage.postgres.filters import facets
from pinyon.storage.postgres.records import namespaces, reading, writing
from pinyon.storage.postgres.replicas import NoReplica, ReplicaBehind, Replicas
from pinyon.storage.postgres.upkeep import Upkeep
from pinyon.storage.postgres.vectors.hnsw import HnswIndex
from pinyon.storage.shared.posting_cache import PostingCache

T = TypeVar("T")
Item = TypeVar("Item")
STALE = (EmbeddingMismatch, InvalidArgument, NotFound)
"""Errors after which the catalogue is read again: perhaps another process has changed or deleted the index."""


class Snapshot(msgspec.Struct, frozen=True):
    """An index as a read transaction sees it."""

    connection: Connection
    known: KnownIndex
    state: State

    @property
    def hnsw(self) -> Mapping[int, HnswIndex]:
        """The indexed namespaces. None while another process has changed the index and this one does not know how."""
        return self.known.hnsw if self.state.version == self.known.entry.index.version else {}


class PostgresDataPlane:
    """A DataPlane on a database. Call from the event-loop thread only."""

    def __init__(
        self, database: Database, replicas: Replicas, copy: CatalogueCopy, upkeep: Upkeep, postings: PostingCache
    ) -> None:
        self._database, self._replicas, self._copy = database, replicas, copy
        self.upkeep, self._postings = upkeep, postings
        self._exact: set[tuple[str, str]] = set()
        self._seen: dict[str, int] = {}
        database.on_other_history = self._forget

    def _forget(self) -> None:
        """Forget what depends on the numbers of writes: another write may have the number of one that was lost."""
        self._postings.clear()
        self._seen.clear()

    @asynccontextmanager
    async def _snapshot(self, index: IndexRef) -> AsyncIterator[Snapshot]:
        """A read transaction on an index. Raises NotFound."""
        known = await self._copy.find(index)
        entry = known.entry
        try:
            with translated(f"Index {entry.index.name}"):
                first = catalogue.state_query(known.schema, entry.number)
                async with self._database.transaction(known.schema, first=first) as connection:
                    state = catalogue.state_in(first, entry.index.name)
                    yield Snapshot(connection, known, state)
        except STALE:
            await self._copy.refresh()
            raise
        if state.version != entry.index.version:
            await self._copy.refresh()

    async def _read(self, index: IndexRef, read: Callable[[Snapshot], Awaitable[T]]) -> T:
        """Run a read on a replica, or on the primary if no replica has what it must see. Raises NotFound.

        It sees every write that this process has made or seen, and those that the caller names (storage/engine.py).
        """
        known = await self._copy.find(index)
        entry = known.entry

        async def attempt(connection: Connection) -> T:
            try:
                state = await catalogue.state(connection, known.schema, entry.number, entry.index.name)
            except (NotFound, Unavailable) as error:  # a new index, or tables of the version before
                raise ReplicaBehind from error
            if state.lsn < max(self._seen.get(known.schema, 0), MIN_LSN.get()) or state.version < entry.index.version:
                raise ReplicaBehind
            result = await read(Snapshot(connection, known, state))
            self._has_seen(known, state.lsn)
            return result

        if self._replicas:
            try:
                with translated(f"Index {entry.index.name}"):
                    return await self._replicas.read(known.schema, attempt)
            except NoReplica:
                pass
        async with self._snapshot(index) as snapshot:
            result = await read(snapshot)
        self._has_seen(known, snapshot.state.lsn)
        return result

    def _has_seen(self, known: KnownIndex, lsn: int) -> None:
        """Later reads must see this write."""
        if self._replicas:
            self._seen[known.schema] = max(lsn, self._seen.get(known.schema, 0))

    async def _write(
        self, index: IndexRef, write: Callable[[Connection, State], Awaitable[T]], schedule: bool = True
    ) -> T:
        """Run a write in a transaction that has locked the index. Raises NotFound. schedule: upkeep of the index."""
        return await self._write_items(index, lambda connection, state, _: write(connection, state), schedule=schedule)

    async def _write_items(
        self,
        index: IndexRef,
        write: Callable[[Connection, State, Sequence[Item]], Awaitable[T]],
        items: Sequence[Item] = (),
        key: Hashable | None = None,
        schedule: bool = True,
    ) -> T:
        """Like _write(). Waiting writes with the same key become one, with the items of all."""
        known = await self._copy.find(index)
        entry = known.entry

        async def locked(connection: Connection, items: Sequence[Item]) -> tuple[T, int]:
            state = await catalogue.locked_state(connection, known.schema, entry.number, entry.index.name)
            result = await write(connection, state, items)
            return result, await catalogue.lsn(connection) if self._replicas else state.lsn

        try:
            with metrics.stage("write"):
                result, lsn = await known.writes.run_joined(locked, items, key)
        except STALE:
            await self._copy.refresh()
            raise
        self._has_seen(known, lsn)
        if schedule:
            self.upkeep.schedule(entry.index.name)
        return result

    async def upsert(
        self,
        index: IndexRef,
        namespace: str,
        records: Sequence[Record],
        fingerprint: Fingerprint | None = None,
        note: Note | None = None,
    ) -> int:
        number = (await self._copy.find(index)).entry.number

        async def run(connection: Connection, state: State, records: Sequence[Record]) -> int:
            if fingerprint is not None:
                await catalogue.claim(connection, number, state.embedded_by, fingerprint)
            if note is not None:
                await notes.put(connection, note)
            foreign = fingerprint is None and state.spec.embed is not None
            return await writing.upsert(connection, state.spec, namespace, records, foreign)

        return await self._write_items(index, run, records, key=(namespace, fingerprint) if note is None else None)

    async def query(self, index: IndexRef, namespace: str, plan: QueryPlan) -> QueryAnswer:
        async def search(snapshot: Snapshot) -> QueryAnswer:
            handle = snapshot.known.entry.index.handle
            is_exact = (handle.id, namespace) in self._exact
            means = reading.SearchMeans(self._postings, {} if is_exact else snapshot.hnsw)
            return await reading.query(snapshot.connection, snapshot.state, handle, namespace, plan, means)

        with metrics.stage("search"):
            return await self._read(index, search)

    def answer_exactly(self, index: IndexRef, namespace: str) -> None:
        known = self._copy.known(index)
        if known is not None:
            self._exact.add((known.entry.index.handle.id, namespace))

    async def upkeep_done(self) -> None:
        """Wait until the upkeep has caught up with all writes."""
        await self.upkeep.idle()

    async def page(self, index: IndexRef, namespace: str, plan: PagePlan) -> Page:
        async def page(snapshot: Snapshot) -> Page:
            state = snapshot.state
            return await reading.page(snapshot.connection, state.spec, state.lsn, namespace, plan)

        return await self._read(index, page)

    async def update(self, index: IndexRef, namespace: str, plan: UpdatePlan) -> tuple[int, int]:
        return await self._write(
            index, lambda connection, state: writing.update(connection, state.spec, namespace, plan)
        )

    async def count(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        return await self._read(index, lambda snapshot: writing.count(snapshot.connection, namespace, selection))

    async def facets(self, index: IndexRef, namespace: str, plan: FacetPlan) -> Facets:
        return await self._read(
            index, lambda snapshot: facets.count(snapshot.connection, snapshot.state.lsn, namespace, plan)
        )

    async def delete(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        return await self._write(
            index, lambda connection, state: writing.delete(connection, state.spec, namespace, selection)
        )

    async def every_namespace(self, index: IndexRef) -> list[NamespaceInfo]:
        return await self._read(index, lambda snapshot: namespaces.every(snapshot.connection))

    async def namespaces(
        self, index: IndexRef, limit: int, after: str = "", prefix: str = ""
    ) -> tuple[list[NamespaceInfo], bool, int]:
        return await self._read(index, lambda snapshot: namespaces.page(snapshot.connection, limit, after, prefix))

    async def namespace(self, index: IndexRef, name: str) -> NamespaceInfo:
        return await self._read(index, lambda snapshot: namespaces.describe(snapshot.connection, name))

    async def create_namespace(self, index: IndexRef, name: str, schema: dict[str, Any] | None) -> int:
        return await self._write(
            index, lambda connection, _: namespaces.create(connection, name, schema), schedule=False
        )

    async def delete_namespace(self, index: IndexRef, name: str) -> int:
        lsn = await self._write(index, lambda connection, _: writing.delete_namespace(connection, name))
        self._exact.discard(((await self._copy.find(index)).entry.index.handle.id, name))
        return lsn
