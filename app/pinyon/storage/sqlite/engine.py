"""The engine on SQLite, with one file for each index. Its verbs for records are in data_plane.py."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from pinyon.concurrency.locks import NamedLocks
from pinyon.domain import (
    Backup,
    BackupLabel,
    CatalogueValue,
    Fingerprint,
    Footprint,
    Index,
    IndexDetails,
    IndexRef,
    IndexSpec,
    Lease,
    NamespaceInfo,
    Note,
    Page,
    PagePlan,
    ReembeddedText,
    Reembedding,
    StoredText,
    name_of,
)
from pinyon.errors import AlreadyExists, DataLoss, FailedPrecondition, PermissionDenied, PinyonError, Unavailable
from pinyon.shared_files import SharedFiles
from pinyon.storage.engine import EngineLimits
from pinyon.storage.shared.posting_cache import PostingCache
from pinyon.storage.sqlite.connection.database import READ_ONLY
from pinyon.storage.sqlite.connection.file_errors import unexpected
from pinyon.storage.sqlite.connection.inline_reads import InlineReads
from pinyon.storage.sqlite.data_plane import SqliteDataPlane
from pinyon.storage.sqlite.filters.column_store import ColumnStore
from pinyon.storage.sqlite.filters.filter_cache import FilterCache
from pinyon.storage.sqlite.folder.backups.index_backups import IndexBackups
from pinyon.storage.sqlite.folder.data_dir import DataDir
from pinyon.storage.sqlite.folder.index_files import IndexFiles, Opened
from pinyon.storage.sqlite.options import LIMITS, EngineOptions
from pinyon.storage.sqlite.records import namespaces, reading, reembedding
from pinyon.storage.sqlite.schema import notes, tables
from pinyon.storage.sqlite.upkeep import compaction
from pinyon.storage.sqlite.upkeep.scheduler import UpkeepScheduler
from pinyon.storage.sqlite.vectors.vector_cache import VectorCache

T = TypeVar("T")

OPENED_IN_PARALLEL = 4
"""How many indexes are opened at the same time."""

log = logging.getLogger("pinyon.storage")


class SqliteEngine(SqliteDataPlane):
    """An Engine on a data folder. Made by open_folder()."""

    def __init__(self, folder: DataDir, options: EngineOptions) -> None:
        self._folder = folder
        self._files = IndexFiles(folder, options)
        self._backups = IndexBackups(folder.path)
        self._read_only = options.read_only
        columns = ColumnStore(0 if options.read_only else options.column_bytes, options.tuning)
        vectors = VectorCache(options.cache_bytes, options.tuning)
        filters = FilterCache(options.filter_cache_bytes)
        postings = PostingCache(options.posting_cache_bytes)
        upkeep = UpkeepScheduler(folder.indexes, options, columns, vectors, filters, postings)
        recall = options.approximate_recall
        caches = reading.SearchCaches(vectors, filters, columns, postings, upkeep.inverted_file, recall)
        super().__init__(caches, upkeep, InlineReads(options.inline_read_s))
        self._change_locks = NamedLocks()
        self._closing = False

    @property
    def limits(self) -> EngineLimits:
        return LIMITS

    @classmethod
    async def open_folder(
        cls, path: Path, readers: int, mmap_bytes: int, wait: bool = True, **options: Any
    ) -> "SqliteEngine":
        """Lock a data folder and open every index in it.

        wait: return when all indexes are open; False: they are opened in the background. options: other fields of
        EngineOptions. If an index cannot be opened, the others still are: see unusable(). Raises FailedPrecondition or
        DataLoss, with the name of the file, if the folder or its catalogue cannot be opened.
        """
        parsed = EngineOptions(readers, mmap_bytes, **options)
        folder = DataDir(path, parsed.read_only)
        engine = cls(folder, parsed)
        try:
            await engine._files.open()
            if not parsed.read_only:
                await asyncio.to_thread(engine._backups.clear)
            try:
                slots = asyncio.Semaphore(OPENED_IN_PARALLEL)
                for name in await engine._files.names():
                    engine._opening[name] = asyncio.create_task(engine._open_index(name, slots))
                if wait:
                    await engine.all_opened()
            except BaseException:
                await engine._close_databases()
                raise
        except BaseException:
            folder.close()
            raise
        return engine

    async def _open_index(self, name: str, slots: asyncio.Semaphore) -> None:
        try:
            async with slots:
                opened = await self._files.open_index(name)
            if opened is not None:
                self._opened[name] = opened
                await self._open_large_namespaces(opened)
        except PinyonError as error:
            log.error("the index %s cannot be used: %s", name, error.message)
            self._unusable[name] = error
        except Exception as error:  # an error of one index must not keep the others from opening
            log.exception("the index %s cannot be used", name)
            self._unusable[name] = unexpected(self._folder.index_file(name), error)
        finally:
            del self._opening[name]

    async def _open_large_namespaces(self, opened: Opened) -> None:
        """Load inverted files. If that fails, the index is used without them, and answers exactly."""
        if self._read_only:
            return
        try:
            await self.upkeep.open(opened.database, opened.index.handle)
        except Exception:
            log.exception("the large namespaces of index %s are searched exactly", opened.index.name)

    async def opened(self, name: str) -> None:
        if name in self.being_opened():
            await asyncio.wait([self._opening[name]])

    async def all_opened(self) -> None:
        if self._opening:
            # Not gather(): if the caller were cancelled, it would cancel the opening of the indexes.
            await asyncio.wait(self._opening.values())

    def being_opened(self) -> set[str]:
        # An index that answers already may still load its inverted files. Until then it answers exactly.
        return self._opening.keys() - self._opened.keys()

    @property
    def files(self) -> SharedFiles | None:
        return None

    def problem(self) -> str | None:
        return None

    def disk_free(self) -> int | None:
        return shutil.disk_usage(self._folder.path).free

    def connections(self) -> dict[str, int]:
        return {}

    def watch(self, changed: Callable[[], None]) -> None:
        return None

    async def create_index(self, spec: IndexSpec, details: IndexDetails | None = None) -> Index:
        return await self._change(spec.name, self._create_index(spec, details or tables.NO_DETAILS))

    async def _create_index(self, spec: IndexSpec, details: IndexDetails) -> Index:
        self._check_name_is_free(spec.name)
        self._opened[spec.name] = await self._files.make(spec, details)
        return self._opened[spec.name].index

    def _check_writable(self) -> None:
        if self._read_only:
            raise PermissionDenied(READ_ONLY)

    def _check_name_is_free(self, name: str) -> None:
        if name in self._unusable:
            raise AlreadyExists(f"There is an index {name}, which cannot be used: {self._unusable[name].message}")
        if name in self._opened or name in self._opening:
            raise AlreadyExists(f"Index {name} already exists")

    async def configure_index(self, changed: Index) -> Index:
        return await self._change(changed.handle, self._configure_index(changed))

    async def _configure_index(self, changed: Index) -> Index:
        opened = self._find(changed.handle)

        def run(connection: apsw.Connection) -> None:
            tables.configure(connection, changed.version, changed.spec, changed.details)
            reembedding.follow(connection)

        await opened.database.write(run)
        opened.index = msgspec.structs.replace(changed, version=changed.version + 1)
        return opened.index

    async def delete_index(self, index: IndexRef, version: int | None = None) -> None:
        await self._change(index, self._delete_index(index, version))

    async def _delete_index(self, index: IndexRef, version: int | None) -> None:
        name = name_of(index)
        if name in self._opening:
            await asyncio.wait([self._opening[name]])
        if name in self._unusable:
            await self._files.mark_deleted(name, None)
            del self._unusable[name]
            await self._files.try_to_set_aside(name)
        else:
            opened = self._find(index)
            undamaged = opened.database if opened.database.damage is None else None
            await self._files.mark_deleted(name, undamaged, version)
            del self._opened[name]
            await self._forget(opened.index)
            await opened.database.close()
            await self._files.try_to_remove(name)  # the index is deleted, even if files of it are left

    async def _forget(self, index: Index) -> None:
        """Free the memory of an index that was deleted or re-embedded."""
        await self.upkeep.release(index.handle)

    async def _change(self, index: IndexRef, change: Coroutine[Any, Any, T]) -> T:
        """Run a change of a whole index. Changes of the same index run one at a time.

        A change runs to its end even if its caller is cancelled.
        """
        name = name_of(index)

        async def in_turn() -> T:
            async with self._change_locks.of(name):
                if self._closing:
                    change.close()
                    raise Unavailable("The server is stopping")
                return await change

        return await asyncio.shield(asyncio.ensure_future(in_turn()))

    def index(self, index: IndexRef) -> Index:
        return self._find(index).index

    def indexes(self) -> list[Index]:
        return [self._opened[name].index for name in sorted(self._opened)]

    def unusable(self) -> dict[str, PinyonError]:
        damaged = {name: each.database.damage for name, each in self._opened.items()}
        return self._unusable | {name: DataLoss(damage) for name, damage in damaged.items() if damage is not None}

    def set_aside(self) -> list[str]:
        return self._folder.set_aside_folders()

    async def catalogue_values(self) -> dict[str, CatalogueValue]:
        return await self._files.values()

    async def put_catalogue_value(self, key: str, text: str, version: int) -> None:
        await self._files.put_value(key, text, version)

    async def notes(self, index: IndexRef) -> list[Note]:
        return await self._find(index).database.read(notes.every)

    async def put_note(self, index: IndexRef, note: Note) -> None:
        self._check_lease(note)
        await self._find(index).database.write(lambda connection: notes.put(connection, note))

    async def take_lease(self, lease: Lease, seconds: float) -> bool:
        return self._leases.take(lease, seconds)

    async def release_lease(self, lease: Lease) -> None:
        self._leases.release(lease)

    async def expired_leases(self, prefix: str) -> list[str]:
        return self._leases.expired(prefix)

    async def footprint(self, index: IndexRef) -> Footprint:
        opened = self._find(index)
        lsn = await opened.database.read(tables.lsn)
        return Footprint(lsn, self._folder.sizes(opened.index.name))

    async def fingerprint(self, index: IndexRef) -> Fingerprint | None:
        return await self._find(index).database.read(tables.fingerprint)

    async def reembedding(self, index: IndexRef) -> Reembedding | None:
        return await self._find(index).database.read(reembedding.state)

    async def begin_reembedding(self, index: IndexRef, target: IndexSpec, embedded_by: Fingerprint) -> None:
        def run(connection: apsw.Connection) -> None:
            number, example = reembedding.without_text(connection, target)
            if number:
                raise FailedPrecondition(
                    f"{number} records have no text to embed, for example '{example}'; delete them, or give them a text"
                )
            reembedding.begin(connection, target, embedded_by)

        await self._find(index).database.write(run)

    async def texts_to_reembed(self, index: IndexRef, most: int) -> list[StoredText]:
        return await self._find(index).database.read(lambda connection: reembedding.pending(connection, most))

    async def keep_reembedded(self, index: IndexRef, embedded_by: Fingerprint, texts: Sequence[ReembeddedText]) -> bool:
        opened = self._find(index)
        return await opened.database.write(lambda connection: reembedding.stage(connection, embedded_by, texts))

    async def finish_reembedding(self, index: IndexRef) -> bool:
        return await self._change(index, self._finish_reembedding(index))

    async def _finish_reembedding(self, index: IndexRef) -> bool:
        opened = self._find(index)
        done = await opened.database.write(reembedding.switch)
        if done:
            switched = await opened.database.read(tables.index)
            assert switched is not None
            opened.index = switched
            await self._forget(opened.index)
            await self.upkeep.open(opened.database, opened.index.handle)
        return done

    async def compact(self, index: IndexRef) -> tuple[int, int]:
        opened = self._find(index)
        before = self._folder.sizes(opened.index.name)
        await self._change(index, opened.database.maintain(compaction.compact))
        after = self._folder.sizes(opened.index.name)
        return before["data"] + before["log"], after["data"] + after["log"]

    async def create_backup(self, index: IndexRef, label: BackupLabel) -> Backup:
        opened = self._find(index)
        self._check_writable()
        file = self._folder.index_file(opened.index.name)
        return await self._change(index, asyncio.to_thread(self._backups.take, file, label))

    async def backups(self) -> list[Backup]:
        return await asyncio.to_thread(self._backups.all)

    async def delete_backup(self, id: str) -> None:
        self._check_writable()
        await asyncio.to_thread(self._backups.remove, id)

    async def backup_namespaces(self, id: str) -> list[NamespaceInfo]:
        return await asyncio.to_thread(self._backups.read, id, namespaces.every)

    async def backup_page(self, id: str, namespace: str, plan: PagePlan) -> Page:
        def run(connection: apsw.Connection) -> Page:
            return reading.page(connection, tables.known_spec(connection), namespace, plan)

        return await asyncio.to_thread(self._backups.read, id, run)

    async def restore_backup(self, id: str, name: str, index_id: str, details: IndexDetails) -> Index:
        return await self._change(name, self._restore_backup(id, name, index_id, details))

    async def _restore_backup(self, id: str, name: str, index_id: str, details: IndexDetails) -> Index:
        self._check_writable()
        self._check_name_is_free(name)
        copy = await asyncio.to_thread(self._backups.copy_out, id, name)
        try:
            await self._files.rename_copy(copy, name, index_id, details)
            opened = self._opened[name] = await self._files.adopt(name, copy)
        finally:
            await asyncio.to_thread(shutil.rmtree, copy.parent, ignore_errors=True)
        await self._open_large_namespaces(opened)
        return opened.index

    async def cancel_reembedding(self, index: IndexRef) -> None:
        await self._change(index, self._find(index).database.write(reembedding.cancel))

    async def close(self) -> None:
        self._closing = True
        await self._change_locks.all_released()  # lets an index that is being made be finished
        await self._close_databases()
        self._folder.close()

    async def _close_databases(self) -> None:
        if self._opening:
            await asyncio.wait(list(self._opening.values()))
        await self.upkeep.close()
        for opened in self._opened.values():
            await opened.database.close()
        self._opened.clear()
        await self._files.close()
