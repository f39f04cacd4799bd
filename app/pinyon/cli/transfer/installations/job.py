"""Copies the indexes of a snapshot to another storage engine, with everything that is stored with their records."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from pinyon.cli.transfer.installations.snapshots import CopiedIndex, Save, Snapshot
from pinyon.cli.transfer.installations.state import CopyState, IndexProgress
from pinyon.domain import Fingerprint, NamespaceInfo, PagePlan, Record
from pinyon.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from pinyon.storage.engine import Engine

PAGE = 500
"""Records of a write, and of what is written again after an interruption."""

Tell = Callable[[int, int | None], None]
"""Is told how many records are copied, and of how many."""


class InstallationCopy:
    """One copy. Methods raise PinyonError.

    A write replaces records of the same id, and the state is stored after it. So nothing is stored twice.
    """

    def __init__(self, snapshot: Snapshot, target: Engine, state: CopyState, save: Save, tell: Tell) -> None:
        self._snapshot, self._target, self._state, self._save, self._tell = snapshot, target, state, save, tell
        self._total = 0

    async def check(self) -> None:
        """Raises AlreadyExists or InvalidArgument if the target cannot take an index. Changes nothing."""
        taken = {index.name for index in self._target.indexes()} | self._target.unusable().keys()
        for name, progress in self._indexes():
            spec = (await self._snapshot.index(name)).index.spec
            if name in taken and not progress.has_begun:
                raise AlreadyExists(
                    f"The target has an index {name} already, and a copy makes its indexes itself; delete that one, or "
                    "choose others with --index"
                )
            if spec.dimension > self._target.limits.dimension:
                raise InvalidArgument(
                    f"Index {name} has vectors of {spec.dimension:,} numbers, and the target stores at most "
                    f"{self._target.limits.dimension:,}"
                )

    async def run(self) -> None:
        """Copy what is not copied yet."""
        for name, _ in self._indexes():
            self._total += sum(each.record_count for each in await self._snapshot.namespaces(name))
        self._tell(self._state.copied, self._total)
        for name, progress in self._indexes():
            await self._copy_index(await self._snapshot.index(name), progress)

    def _indexes(self) -> list[tuple[str, IndexProgress]]:
        return list((self._state.indexes or {}).items())

    async def _copy_index(self, source: CopiedIndex, progress: IndexProgress) -> None:
        index = source.index
        progress.has_begun = True
        self._save()
        current = next((each for each in self._target.indexes() if each.name == index.name), None)
        if current is None:
            if progress.copied:
                raise FailedPrecondition(f"The target's index {index.name} was deleted while it was copied")
            await self._target.create_index(index.spec, index.details)
        elif current.spec != index.spec:
            raise FailedPrecondition(f"The target's index {index.name} was changed while it was copied")
        for namespace in await self._snapshot.namespaces(index.name):
            if namespace.name >= progress.namespace:
                await self._copy_namespace(source, namespace, progress)

    async def _copy_namespace(self, source: CopiedIndex, namespace: NamespaceInfo, progress: IndexProgress) -> None:
        name = source.index.name
        after = progress.after if progress.namespace == namespace.name else ""
        if not after:
            with contextlib.suppress(AlreadyExists):  # made before an interruption
                await self._target.create_namespace(name, namespace.name, namespace.schema)
            if source.embedded_by is not None:
                await self._target.upsert(name, namespace.name, [], source.embedded_by)
        async for records in self._pages(name, namespace.name, after):
            await self._store(name, namespace.name, records, source.embedded_by)
            progress.namespace, progress.after = namespace.name, records[-1].id
            progress.copied += len(records)
            self._save()
            self._tell(self._state.copied, self._total)

    async def _store(self, index: str, namespace: str, records: list[Record], embedded_by: Fingerprint | None) -> None:
        """Store records. Those with vectors of a caller's own are stored without the fingerprint of the model."""
        own = [record for record in records if record.foreign]
        embedded = [record for record in records if not record.foreign]
        if embedded:
            await self._target.upsert(index, namespace, embedded, embedded_by)
        if own:
            await self._target.upsert(index, namespace, own)

    async def _pages(self, index: str, namespace: str, after: str) -> AsyncIterator[list[Record]]:
        """The records after this id, page by page. The next page is read while the caller works with one."""

        def read(after: str) -> "asyncio.Task[tuple[list[Record], bool]]":
            return asyncio.create_task(self._page(index, namespace, after))

        following: asyncio.Task[tuple[list[Record], bool]] | None = read(after)
        try:
            while following is not None:
                records, more = await following
                following = read(records[-1].id) if more else None
                if records:
                    yield records
        finally:
            if following is not None:
                following.cancel()
                await asyncio.wait([following])

    async def _page(self, index: str, namespace: str, after: str) -> tuple[list[Record], bool]:
        page = await self._snapshot.page(index, namespace, PagePlan(PAGE, after=after, complete=True))
        return page.records, page.more
