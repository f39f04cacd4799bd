"""The engine: indexes as a whole, on a PostgreSQL database. Its base class reads and writes their records."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar
from uuid import uuid4

import msgspec

from pinyon.domain import (
    Backup,
    BackupLabel,
    CatalogueValue,
    Fingerprint,
    Footprint,
    Handle,
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
)
from pinyon.errors import FailedPrecondition, PermissionDenied, PinyonError
from pinyon.storage.engine import EngineLimits
from pinyon.storage.postgres import backups, catalogue, leases, notes, server_check, tables
from pinyon.storage.postgres.catalogue import Entry, State
from pinyon.storage.postgres.catalogue_copy import CatalogueCopy
from pinyon.storage.postgres.connection.database import Connection, Database
from pinyon.storage.postgres.connection.database_errors import translated
from pinyon.storage.postgres.data_plane import PostgresDataPlane
from pinyon.storage.postgres.files import DatabaseFiles
from pinyon.storage.postgres.options import LIMITS, EngineOptions
from pinyon.storage.postgres.records import namespaces, reading, reembedding, writing
from pinyon.storage.postgres.replicas import Replicas
from pinyon.storage.postgres.schema.migrations import index_schema, migrate_catalogue
from pinyon.storage.postgres.text import lexical
from pinyon.storage.postgres.upkeep import Upkeep
from pinyon.storage.postgres.vectors import vector_sums
from pinyon.storage.shared.posting_cache import PostingCache

T = TypeVar("T")
NO_DETAILS = IndexDetails()
READ_ONLY = "The data are opened only to read ([storage] read_only)"
REPLICA_BEGINS_WITHIN_S = 2.0
"""Others answer in place of a replica that takes longer to begin a transaction or to have a free connection."""
LONG = 0.0
"""The statement timeout of copies and rebuilds: none."""


class PostgresEngine(PostgresDataPlane):
    """An Engine on a database. Made by open_database()."""

    def __init__(self, database: Database, options: EngineOptions) -> None:
        self._options, self._schema = options, options.schema
        copy = CatalogueCopy(database, options.schema, options.writes_per_commit)
        upkeep = Upkeep(database, copy, options.schema, options.approximate_from)
        limit_s, soon_s = options.statement_timeout_s, REPLICA_BEGINS_WITHIN_S
        servers = [
            Database(dsn, options.connections, limit_s, quick_s=soon_s, wait_s=soon_s, patient=False)
            for dsn in options.replica_dsns
        ]
        replicas = Replicas(servers, options.replica_wait_s)
        super().__init__(database, replicas, copy, upkeep, PostingCache(options.posting_cache_bytes))
        self._files = DatabaseFiles(self._catalogue_read, self._catalogue_write)

    @property
    def limits(self) -> EngineLimits:
        return LIMITS

    @property
    def files(self) -> DatabaseFiles:
        return self._files

    def problem(self) -> str | None:
        return self._copy.problem()

    def disk_free(self) -> int | None:
        return None

    def connections(self) -> dict[str, int]:
        return self._database.usage()

    def watch(self, changed: Callable[[], None]) -> None:
        self._copy.watch(changed)

    @classmethod
    async def open_database(cls, options: EngineOptions) -> "PostgresEngine":
        """Connect, set the database up or bring it up to date, and read the catalogue.

        Raises FailedPrecondition if the database cannot be used: no pgvector, an older one than is safe, tables of a
        later Pinyon. Raises Unavailable if it does not answer.
        """
        database = Database(options.dsn, options.connections, options.statement_timeout_s)
        engine = cls(database, options)
        try:
            with translated("The database", says_why=True):
                await engine._prepare()
                await database.open()
            await engine._copy.refresh()
        except BaseException:
            await database.close()
            raise
        await engine._replicas.open(database.path)
        engine._copy.follow()
        for name in engine._copy.indexes:
            engine.upkeep.schedule(name)
        return engine

    async def _prepare(self) -> None:
        """Check the server, and make or migrate the tables."""
        connection = await self._database.connect()
        async with connection:
            server_check.check_server(connection)
            extension = await server_check.prepare_extension(connection, self._options.read_only)
            self._database.path = [self._schema, extension]
            if not self._options.read_only:
                async with connection.transaction():
                    await connection.execute("SET LOCAL statement_timeout = 0")
                    connection.answer_within_s = None  # another process may be changing large tables
                    await migrate_catalogue(connection, self._schema)

    async def _catalogue_read(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        with translated("The catalogue"):
            async with self._database.transaction() as connection:
                return await read(connection)

    async def _catalogue_write(self, write: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a change of the catalogue, tell the other processes, and bring this one's copy up to date.

        It runs to its end even if its caller is cancelled.
        """
        if self._options.read_only:
            raise PermissionDenied(READ_ONLY)

        async def run() -> T:
            with translated("The index"):
                async with self._database.transaction(mode="write", timeout_s=LONG) as connection:
                    result = await write(connection)
                    await catalogue.changed(connection, self._schema)
            await self._copy.refresh()
            return result

        return await _to_the_end(run())

    async def _change(
        self, index: IndexRef, change: Callable[[Connection, Entry, State], Awaitable[T]], alone: bool = True
    ) -> T:
        """Run a change of a whole index in a transaction that has locked it, and tell the other processes.

        alone: the change empties or drops tables, so no read may run meanwhile.
        """
        known = await self._copy.find(index)
        entry = known.entry
        if self._options.read_only:
            raise PermissionDenied(READ_ONLY)

        async def run() -> T:
            try:
                with translated(f"Index {entry.index.name}"):
                    async with self._database.transaction(known.schema, "write", LONG) as connection:
                        state = await catalogue.locked_state(
                            connection, known.schema, entry.number, entry.index.name, alone
                        )
                        current = await catalogue.find(connection, entry.index.handle)
                        result = await change(connection, current, state)
                        await catalogue.changed(connection, self._schema)
            finally:
                await self._copy.refresh()
            return result

        return await _to_the_end(run())

    async def create_index(self, spec: IndexSpec, details: IndexDetails | None = None) -> Index:
        index = Index(spec, Handle(spec.name, uuid4().hex), details or NO_DETAILS)

        async def run(connection: Connection) -> None:
            number = await catalogue.insert(connection, index)
            await tables.create(connection, self._schema, index_schema(self._schema, number), spec)

        await self._catalogue_write(run)
        return index

    async def configure_index(self, changed: Index) -> Index:
        async def run(connection: Connection, entry: Entry, state: State) -> None:
            catalogue.check_version(entry, changed.version)
            before, spec = entry.index.spec, changed.spec
            await catalogue.change(connection, entry.number, spec, changed.details)
            if before.embed is None and spec.embed is not None:  # callers brought these vectors
                await connection.execute("UPDATE records SET foreign_vector = true WHERE NOT foreign_vector")
                await connection.execute("UPDATE namespaces SET foreign_vectors = record_count")
                await vector_sums.rebuild(connection, spec)
            if _text_search(before) != _text_search(spec):
                await lexical.rebuild(connection, spec)
            if _token_field(before) != _token_field(spec):
                await connection.execute("DELETE FROM token_vectors")
            await reembedding.follow(connection, spec)

        known = (await self._copy.find(changed.handle)).entry.index.spec  # run() refuses if it is not the newest
        await self._change(changed.handle, run, alone=_text_search(known) != _text_search(changed.spec))
        return msgspec.structs.replace(changed, version=changed.version + 1)

    async def delete_index(self, index: IndexRef, version: int | None = None) -> None:
        async def run(connection: Connection, entry: Entry, state: State) -> None:
            if version is not None:
                catalogue.check_version(entry, version)
            await catalogue.remove(connection, entry.number)
            await catalogue.drop_schema(connection, index_schema(self._schema, entry.number))

        await self._change(index, run)

    def index(self, index: IndexRef) -> Index:
        return self._copy.at_hand(index).entry.index

    def indexes(self) -> list[Index]:
        return [known.entry.index for _, known in sorted(self._copy.indexes.items())]

    async def opened(self, name: str) -> None:
        if self._copy.known(name) is None:  # another process may have made it a moment ago
            await self._copy.refresh()

    async def all_opened(self) -> None:
        return None

    def being_opened(self) -> set[str]:
        return set()

    def unusable(self) -> dict[str, PinyonError]:
        return {}

    def set_aside(self) -> list[str]:
        return []

    async def catalogue_values(self) -> dict[str, CatalogueValue]:
        return await self._catalogue_read(catalogue.values)

    async def put_catalogue_value(self, key: str, text: str, version: int) -> None:
        await self._catalogue_write(lambda connection: catalogue.put_value(connection, key, text, version))

    async def notes(self, index: IndexRef) -> list[Note]:
        async with self._snapshot(index) as snapshot:
            return await notes.every(snapshot.connection)

    async def put_note(self, index: IndexRef, note: Note) -> None:
        await self._write(index, lambda connection, _: notes.put(connection, note), schedule=False)

    async def take_lease(self, lease: Lease, seconds: float) -> bool:
        with translated("The lease"):
            async with self._database.transaction(mode="write") as connection:
                return await leases.take(connection, lease, seconds)

    async def release_lease(self, lease: Lease) -> None:
        with translated("The lease"):
            async with self._database.transaction(mode="write") as connection:
                await leases.release(connection, lease)

    async def expired_leases(self, prefix: str) -> list[str]:
        return await self._catalogue_read(lambda connection: leases.expired(connection, prefix))

    async def footprint(self, index: IndexRef) -> Footprint:
        async with self._snapshot(index) as snapshot:
            sizes = await tables.sizes(snapshot.connection, snapshot.known.schema)
            return Footprint(snapshot.state.lsn, sizes)

    async def fingerprint(self, index: IndexRef) -> Fingerprint | None:
        async with self._snapshot(index) as snapshot:
            return snapshot.state.embedded_by

    async def compact(self, index: IndexRef) -> tuple[int, int]:
        known = await self._copy.find(index)

        async def size() -> int:
            return sum((await self.footprint(index)).bytes.values())

        async def run() -> tuple[int, int]:
            before = await size()
            with translated(f"Index {known.entry.index.name}"):
                async with self._database.session() as connection:
                    await tables.vacuum(connection, known.schema)
            return before, await size()

        return await _to_the_end(run())

    async def create_backup(self, index: IndexRef, label: BackupLabel) -> Backup:
        known = await self._copy.find(index)
        if self._options.read_only:
            raise PermissionDenied(READ_ONLY)

        async def run() -> Backup:
            with translated(f"Index {known.entry.index.name}"):
                async with self._database.transaction(known.schema, "snapshot write", LONG) as connection:
                    number, name = known.entry.number, known.entry.index.name
                    state = await catalogue.state(connection, known.schema, number, name)
                    entry = await catalogue.find(connection, known.entry.index.handle)
                    return await backups.take(connection, self._schema, entry, state, label)

        return await _to_the_end(run())

    async def backups(self) -> list[Backup]:
        return await self._catalogue_read(backups.every)

    async def delete_backup(self, id: str) -> None:
        await self._catalogue_write(lambda connection: backups.remove(connection, self._schema, id))

    async def backup_namespaces(self, id: str) -> list[NamespaceInfo]:
        async def run(connection: Connection) -> list[NamespaceInfo]:
            await backups.open_tables(connection, self._schema, id)
            return await namespaces.every(connection)

        return await self._catalogue_read(run)

    async def backup_page(self, id: str, namespace: str, plan: PagePlan) -> Page:
        async def run(connection: Connection) -> Page:
            backup = (await backups.open_tables(connection, self._schema, id)).backup
            return await reading.page(connection, backup.index.spec, backup.lsn, namespace, plan)

        return await self._catalogue_read(run)

    async def restore_backup(self, id: str, name: str, index_id: str, details: IndexDetails) -> Index:
        async def run(connection: Connection) -> Index:
            backup = (await backups.find(connection, id)).backup
            index = Index(backup.index.spec, Handle(name, index_id), details)
            return (await backups.restore(connection, self._schema, id, index, details)).index

        index = await self._catalogue_write(run)
        self.upkeep.schedule(name)
        return index

    async def reembedding(self, index: IndexRef) -> Reembedding | None:
        async with self._snapshot(index) as snapshot:
            return await reembedding.state(snapshot.connection)

    async def begin_reembedding(self, index: IndexRef, target: IndexSpec, embedded_by: Fingerprint) -> None:
        async def run(connection: Connection, state: State) -> None:
            number, example = await reembedding.without_text(connection, target)
            if number:
                raise FailedPrecondition(
                    f"{number} records have no text to embed, for example '{example}'; delete them, or give them a text"
                )
            await reembedding.begin(connection, target, embedded_by)

        await self._write(index, run, schedule=False)

    async def texts_to_reembed(self, index: IndexRef, most: int) -> list[StoredText]:
        async with self._snapshot(index) as snapshot:
            return await reembedding.pending(snapshot.connection, most)

    async def keep_reembedded(self, index: IndexRef, embedded_by: Fingerprint, texts: Sequence[ReembeddedText]) -> bool:
        return await self._write(
            index, lambda connection, _: reembedding.stage(connection, embedded_by, texts), schedule=False
        )

    async def finish_reembedding(self, index: IndexRef) -> bool:
        async def run(connection: Connection, entry: Entry, state: State) -> bool:
            return await reembedding.switch(connection, entry.number, entry.index.spec)

        done = await self._change(index, run)
        if done:
            self.upkeep.schedule((await self._copy.find(index)).entry.index.name)
        return done

    async def cancel_reembedding(self, index: IndexRef) -> None:
        await self._write(index, lambda connection, _: reembedding.cancel(connection), schedule=False)

    async def close(self) -> None:
        await self.upkeep.close()
        await self._copy.close()
        for known in self._copy.indexes.values():
            await known.writes.idle()
        await self._replicas.close()
        await self._database.close()


async def _to_the_end(change: Coroutine[Any, Any, T]) -> T:
    """Run a change to its end even if the caller is cancelled."""
    return await asyncio.shield(asyncio.ensure_future(change))


def _text_search(spec: IndexSpec) -> tuple[str, str] | None:
    """The text field and the language of keyword search. None if the index embeds no text."""
    return None if spec.embed is None else (spec.embed.text_field, spec.embed.analysis)


def _token_field(spec: IndexSpec) -> str | None:
    """The field whose token vectors are stored; None if none are."""
    return spec.embed.text_field if spec.embed is not None and writing.keeps_token_vectors(spec) else None
