"""Reads and writes the records of the open indexes."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import apsw

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
    name_of,
)
from pinyon.errors import NotFound, PinyonError, Unavailable
from pinyon.storage.sqlite.connection.inline_reads import InlineReads
from pinyon.storage.sqlite.filters import facets
from pinyon.storage.sqlite.folder.index_files import Opened
from pinyon.storage.sqlite.leases import Leases
from pinyon.storage.sqlite.records import namespaces, reading, writing
from pinyon.storage.sqlite.schema import notes, tables
from pinyon.storage.sqlite.upkeep.scheduler import UpkeepScheduler

T = TypeVar("T")


class SqliteDataPlane:
    """A DataPlane on the indexes that the engine has opened. Call from the event-loop thread only.

    caches, upkeep: of all indexes. _opened: the indexes that can be used, by name. _opening: the tasks that open
    others. _unusable: why each of the rest cannot be used. The engine fills these three.
    """

    def __init__(self, caches: reading.SearchCaches, upkeep: UpkeepScheduler, inline_reads: InlineReads) -> None:
        self.caches, self.upkeep, self._inline_reads = caches, upkeep, inline_reads
        self._opened: dict[str, Opened] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._unusable: dict[str, PinyonError] = {}
        self._leases = Leases()

    def _find(self, index: IndexRef) -> Opened:
        """The open index of this name or handle.

        Raises NotFound, Unavailable while the index is being opened, or the error of an index that cannot be used.
        """
        name = name_of(index)
        if name not in self._opened and name in self._opening:
            raise Unavailable(f"The index {name} is being opened", retry_after_s=2)
        if name in self._unusable:
            error = self._unusable[name]
            raise type(error)(error.message)
        opened = self._opened.get(name)
        if opened is None or index not in (name, opened.index.handle):
            raise NotFound(f"Index {name} not found.")
        return opened

    async def upsert(
        self,
        index: IndexRef,
        namespace: str,
        records: Sequence[Record],
        fingerprint: Fingerprint | None = None,
        note: Note | None = None,
    ) -> int:
        opened = self._find(index)
        if note is not None:
            self._check_lease(note)

        def run(connection: apsw.Connection) -> int:
            if fingerprint is not None:
                tables.claim(connection, fingerprint)
            if note is not None:
                notes.put(connection, note)
            spec = tables.known_spec(connection)
            return writing.upsert(
                connection, spec, namespace, records, foreign=fingerprint is None and spec.embed is not None
            )

        return await self._written(opened, namespace, run)

    def _check_lease(self, note: Note) -> None:
        """Raises LeaseLost if the note names a lease that its owner does not have."""
        if note.lease is not None:
            self._leases.check(note.lease)

    async def _written(self, opened: Opened, namespace: str, run: Callable[[apsw.Connection], T]) -> T:
        """Run a write, then schedule the upkeep of what is in memory for the namespace."""
        with metrics.stage("write"):
            done = await opened.database.write(run)
        self.upkeep.schedule(opened.database, opened.index.handle, namespace)
        return done

    async def query(self, index: IndexRef, namespace: str, plan: QueryPlan) -> QueryAnswer:
        opened = self._find(index)
        handle = opened.index.handle
        kind = handle, namespace, plan.filter is not None

        def run(connection: apsw.Connection, inline_at: int | None = None) -> QueryAnswer | None:
            start = time.perf_counter()
            answer = reading.query(connection, namespace, plan, self.caches, handle, inline_at)
            if answer is not None and reading.is_plain(plan):
                self._inline_reads.note(kind, answer.lsn, time.perf_counter() - start)
            return answer

        with metrics.stage("search"):
            answer, lsn = None, self._inline_reads.fast_lsn(kind)
            if lsn is not None and reading.is_plain(plan):
                answer = opened.database.read_inline(partial(run, inline_at=lsn))
            if answer is None:
                answer = await opened.database.read(run)
                assert answer is not None  # only an inline read may return None
        filters = plan.filter is not None or plan.grouping is not None
        if filters and self.caches.columns.wants(handle):
            self.upkeep.schedule(opened.database, handle, namespace)
        return answer

    def answer_exactly(self, index: IndexRef, namespace: str) -> None:
        with contextlib.suppress(PinyonError):  # the index was deleted meanwhile
            opened = self._find(index)
            self.upkeep.distrust(opened.database, opened.index.handle, namespace)

    async def upkeep_done(self) -> None:
        """Wait until the upkeep has caught up with all writes."""
        await self.upkeep.idle()

    async def page(self, index: IndexRef, namespace: str, plan: PagePlan) -> Page:
        return await self._find(index).database.read(
            lambda connection: reading.page(connection, tables.known_spec(connection), namespace, plan)
        )

    async def update(self, index: IndexRef, namespace: str, plan: UpdatePlan) -> tuple[int, int]:
        opened = self._find(index)
        return await self._written(
            opened,
            namespace,
            lambda connection: writing.update(connection, tables.known_spec(connection), namespace, plan),
        )

    async def count(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        return await self._find(index).database.read(lambda connection: writing.count(connection, namespace, selection))

    async def facets(self, index: IndexRef, namespace: str, plan: FacetPlan) -> Facets:
        opened = self._find(index)
        handle, columns = opened.index.handle, None if opened.index.spec.sparse else self.caches.columns

        def run(connection: apsw.Connection) -> Facets:
            return facets.count(connection, namespace, plan, handle, self.caches.filters, columns)

        answer = await opened.database.read(run)
        if self.caches.columns.wants(handle):
            self.upkeep.schedule(opened.database, handle, namespace)
        return answer

    async def delete(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        opened = self._find(index)
        return await self._written(
            opened,
            namespace,
            lambda connection: writing.delete(connection, tables.known_spec(connection), namespace, selection),
        )

    async def every_namespace(self, index: IndexRef) -> list[NamespaceInfo]:
        return await self._find(index).database.read(namespaces.every)

    async def namespaces(
        self, index: IndexRef, limit: int, after: str = "", prefix: str = ""
    ) -> tuple[list[NamespaceInfo], bool, int]:
        return await self._find(index).database.read(
            lambda connection: namespaces.page(connection, limit, after, prefix)
        )

    async def namespace(self, index: IndexRef, name: str) -> NamespaceInfo:
        return await self._find(index).database.read(lambda connection: namespaces.describe(connection, name))

    async def create_namespace(self, index: IndexRef, name: str, schema: dict[str, Any] | None) -> int:
        return await self._find(index).database.write(lambda connection: namespaces.create(connection, name, schema))

    async def delete_namespace(self, index: IndexRef, name: str) -> int:
        opened = self._find(index)
        lsn = await self._written(
            opened, name, lambda connection: writing.delete_namespace(connection, tables.known_spec(connection), name)
        )
        self.upkeep.namespace_deleted(opened.database, opened.index.handle, name)
        return lsn
