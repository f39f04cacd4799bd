"""Reads and writes the records of the indexes of a database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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
from pinyon.errors import EmbeddingMismatch, InvalidArgument, NotFound
from pinyon.storage.postgres import catalogue, notes
from pinyon.storage.postgres.catalogue import State
from pinyon.storage.postgres.catalogue_copy import CatalogueCopy, KnownIndex
from pinyon.storage.postgres.connection.database import Connection, Database
from pinyon.storage.postgres.connection.database_errors import translated
from pinyon.storage.postgres.filters import facets
from pinyon.storage.postgres.records import namespaces, reading, writing
from pinyon.storage.postgres.upkeep import Upkeep
from pinyon.storage.shared.posting_cache import PostingCache

T = TypeVar("T")


class Snapshot(msgspec.Struct, frozen=True):
    """An index as a read transaction sees it."""

    connection: Connection
    known: KnownIndex
    state: State


class PostgresDataPlane:
    """A DataPlane on a database. Call from the event-loop thread only."""

    def __init__(self, database: Database, copy: CatalogueCopy, upkeep: Upkeep, postings: PostingCache) -> None:
        self._database, self._copy, self.upkeep, self._postings = database, copy, upkeep, postings
        self._exact: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def _snapshot(self, index: IndexRef) -> AsyncIterator[Snapshot]:
        """A read transaction on an index. Raises NotFound."""
        known = await self._copy.find(index)
        entry = known.entry
        with translated(f"Index {entry.index.name}"):
            async with self._database.transaction(known.schema) as connection:
                state = await catalogue.state(connection, entry.number, entry.index.name)
                yield Snapshot(connection, known, state)
        if state.version != entry.index.version:
            await self._copy.refresh()

    async def _write(
        self, index: IndexRef, write: Callable[[Connection, State], Awaitable[T]], schedule: bool = True
    ) -> T:
        """Run a write in a transaction that has locked the index. Raises NotFound. schedule: upkeep of the index."""
        known = await self._copy.find(index)
        entry = known.entry

        async def locked(connection: Connection) -> T:
            return await write(connection, await catalogue.locked_state(connection, entry.number, entry.index.name))

        try:
            with metrics.stage("write"):
                result = await known.writes.run(locked)
        except (EmbeddingMismatch, InvalidArgument, NotFound):
            await self._copy.refresh()  # perhaps another process has re-embedded or deleted the index
            raise
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

        async def run(connection: Connection, state: State) -> int:
            if fingerprint is not None:
                await catalogue.claim(connection, number, state.embedded_by, fingerprint)
            if note is not None:
                await notes.put(connection, note)
            foreign = fingerprint is None and state.spec.embed is not None
            return await writing.upsert(connection, state.spec, namespace, records, foreign)

        return await self._write(index, run)

    async def query(self, index: IndexRef, namespace: str, plan: QueryPlan) -> QueryAnswer:
        with metrics.stage("search"):
            async with self._snapshot(index) as snapshot:
                handle = snapshot.known.entry.index.handle
                is_exact = (handle.id, namespace) in self._exact
                means = reading.SearchMeans(self._postings, {} if is_exact else snapshot.known.hnsw)
                return await reading.query(snapshot.connection, snapshot.state, handle, namespace, plan, means)

    def answer_exactly(self, index: IndexRef, namespace: str) -> None:
        known = self._copy.known(index)
        if known is not None:
            self._exact.add((known.entry.index.handle.id, namespace))

    async def upkeep_done(self) -> None:
        """Wait until the upkeep has caught up with all writes."""
        await self.upkeep.idle()

    async def page(self, index: IndexRef, namespace: str, plan: PagePlan) -> Page:
        async with self._snapshot(index) as snapshot:
            state = snapshot.state
            return await reading.page(snapshot.connection, state.spec, state.lsn, namespace, plan)

    async def update(self, index: IndexRef, namespace: str, plan: UpdatePlan) -> tuple[int, int]:
        return await self._write(
            index, lambda connection, state: writing.update(connection, state.spec, namespace, plan)
        )

    async def count(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        async with self._snapshot(index) as snapshot:
            return await writing.count(snapshot.connection, namespace, selection)

    async def facets(self, index: IndexRef, namespace: str, plan: FacetPlan) -> Facets:
        async with self._snapshot(index) as snapshot:
            return await facets.count(snapshot.connection, snapshot.state.lsn, namespace, plan)

    async def delete(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        return await self._write(
            index, lambda connection, state: writing.delete(connection, state.spec, namespace, selection)
        )

    async def every_namespace(self, index: IndexRef) -> list[NamespaceInfo]:
        async with self._snapshot(index) as snapshot:
            return await namespaces.every(snapshot.connection)

    async def namespaces(
        self, index: IndexRef, limit: int, after: str = "", prefix: str = ""
    ) -> tuple[list[NamespaceInfo], bool, int]:
        async with self._snapshot(index) as snapshot:
            return await namespaces.page(snapshot.connection, limit, after, prefix)

    async def namespace(self, index: IndexRef, name: str) -> NamespaceInfo:
        async with self._snapshot(index) as snapshot:
            return await namespaces.describe(snapshot.connection, name)

    async def create_namespace(self, index: IndexRef, name: str, schema: dict[str, Any] | None) -> int:
        return await self._write(
            index, lambda connection, _: namespaces.create(connection, name, schema), schedule=False
        )

    async def delete_namespace(self, index: IndexRef, name: str) -> int:
        lsn = await self._write(index, lambda connection, _: writing.delete_namespace(connection, name))
        self._exact.discard(((await self._copy.find(index)).entry.index.handle.id, name))
        return lsn
