"""The files of indexes, and the catalogue of them. Both are made and removed as a whole.

A start believes the file of an index first, and the catalogue second. It removes a file only in two cases: the file
says that it is being deleted; or nothing was ever stored in it, and the catalogue says that it was being made. A file
that the start cannot read stays, or is moved to the folder set-aside.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from functools import partial

import apsw
import msgspec

from pinyon.domain import Index, IndexDetails, IndexSpec
from pinyon.errors import AlreadyExists, DataLoss, FailedPrecondition, PinyonError, Unavailable
from pinyon.files import sync
from pinyon.storage.sqlite.connection import page_checksums
from pinyon.storage.sqlite.connection.database import Database
from pinyon.storage.sqlite.connection.file_errors import damaged
from pinyon.storage.sqlite.folder import index_catalogue
from pinyon.storage.sqlite.folder.data_dir import DataDir
from pinyon.storage.sqlite.options import EngineOptions
from pinyon.storage.sqlite.schema import tables, vector_tables
from pinyon.storage.sqlite.schema.migrations import BeingDeleted, mark_deleted
from pinyon.storage.sqlite.text import lexical

log = logging.getLogger("pinyon.storage")


class Opened(msgspec.Struct):
    """An index whose file is open."""

    database: Database
    index: Index


class IndexFiles:
    """The indexes of one folder. Different indexes may be opened or made at the same time."""

    def __init__(self, folder: DataDir, options: EngineOptions) -> None:
        self._folder, self._read_only = folder, options.read_only
        self._database = partial(
            Database,
            readers=options.readers,
            mmap_bytes=options.mmap_bytes,
            writes_per_commit=options.writes_per_commit,
            read_only=options.read_only,
            marked=True,
        )
        self._catalogue: Database
        self._left_over: set[str] = set()

    async def open(self) -> None:
        """Open the catalogue. If it is damaged, make a new one, because the files say what they are."""
        try:
            self._catalogue = await self._open_catalogue()
        except DataLoss as error:
            if self._read_only:
                raise
            log.error("%s", error.message)
            ports = await asyncio.to_thread(index_catalogue.salvaged_ports, self._folder.catalogue_file)
            await asyncio.to_thread(self._folder.set_aside, self._folder.catalogue_file, "damaged")
            self._catalogue = await self._open_catalogue()
            await self._catalogue.write(partial(index_catalogue.enter_ports, ports=ports))
            log.warning("a new catalogue was made from the files of the indexes; %d ports could be read", len(ports))

    async def _open_catalogue(self) -> Database:
        catalogue = await asyncio.to_thread(
            Database, self._folder.catalogue_file, 1, 0, index_catalogue.STEPS, read_only=self._read_only
        )
        try:
            await catalogue.read(index_catalogue.states)
            if not self._read_only and page_checksums.available():
                await catalogue.maintain(_with_checksums)
        except BaseException:
            await catalogue.close()
            raise
        return catalogue

    async def close(self) -> None:
        """Close the catalogue."""
        await self._catalogue.close()

    async def names(self) -> list[str]:
        """The indexes that have a file or should have one; for a reader, those that are finished."""
        states = await self._catalogue.read(index_catalogue.states)
        if self._read_only:
            return sorted(name for name in self._folder.index_names() if states.get(name) == "ready")
        return sorted(self._folder.index_names(also_without_file=True) | states.keys())

    async def open_index(self, name: str) -> Opened | None:
        """Open an index; None if there is none any more, or what there is was moved aside.

        Raises FailedPrecondition, DataLoss or Unavailable if the file cannot be used. It stays where it is.
        """
        state = (await self._catalogue.read(index_catalogue.states)).get(name)
        file = self._folder.index_file(name)
        if not file.exists():
            if state in ("creating", "deleting") and not self._folder.log_size(name):
                await self._remove(name)
                return None
            raise DataLoss(
                f"The file {file.name} is gone; put it back, restore it from a backup, or delete the index {name}"
            )
        try:
            database = await asyncio.to_thread(self._database, file)
        except BeingDeleted:
            if not self._read_only:
                await self._remove(name)
            return None
        except DataLoss:
            if state != "deleting" or self._read_only:
                raise
            await self._set_aside(name, "was being deleted")
            return None
        try:
            index = await database.read(tables.index)
            if index is None or state == "deleting":
                await database.close()
                await self._put_away(name, state, says_what_it_is=index is not None)
                return None
            await database.read(partial(vector_tables.check_layout, spec=index.spec))
            if not self._read_only:
                await _update_words(database, index.spec)
            if state != "ready" and not self._read_only:
                await self._catalogue.write(partial(index_catalogue.enter_ready, name=name))
                log.warning("the index %s is %s; its file is whole, and is taken in", name, _said(state))
            port = await self._catalogue.read(partial(index_catalogue.port_of, name=name))
        except BaseException:
            await database.close()
            raise
        return Opened(database, msgspec.structs.replace(index, port=port))

    async def _put_away(self, name: str, state: str | None, says_what_it_is: bool) -> None:
        """Move or remove a file that does not say what it is, or that only the catalogue says is being deleted."""
        file = self._folder.index_file(name)
        if self._read_only:
            raise FailedPrecondition(f"The file {file.name} says nothing; start once without --read-only")
        if not says_what_it_is and state == "creating":  # both say that nothing was ever stored
            await self._remove(name)
            return
        if not says_what_it_is and state == "ready":
            raise damaged(file, "it does not say what it is")
        await self._set_aside(name, "was being deleted" if says_what_it_is else "says nothing")

    async def _set_aside(self, name: str, why: str) -> None:
        await asyncio.to_thread(self._folder.set_aside, self._folder.index_file(name), why)
        await self._catalogue.write(partial(index_catalogue.forget, name=name))

    async def make(self, spec: IndexSpec, details: IndexDetails, ports: Sequence[int] | None) -> Opened:
        """Make an index that is not there, as a whole or not at all. Raises AlreadyExists or PermissionDenied.

        Raises FailedPrecondition or Unavailable if the files of a deleted one of that name cannot be removed.
        """
        name = spec.name
        if name in self._left_over:
            await self._remove(name)
        if self._folder.index_file(name).exists():
            raise AlreadyExists(
                f"There is a file {name}.sqlite in the data folder that was put there while the server ran; "
                "start the server again to use it, or move it away"
            )
        state = (await self._catalogue.read(index_catalogue.states)).get(name)
        if state is not None or self._folder.anything_beside(name):  # a disk that failed left something
            await self._remove(name)

        def enter(connection: apsw.Connection) -> int | None:
            index_catalogue.enter(connection, name, "creating")
            return None if ports is None else index_catalogue.assign_port(connection, name, ports)

        port = await self._catalogue.write(enter)
        try:
            database = await asyncio.to_thread(self._database, self._folder.index_file(name))
            try:
                index = await database.write(lambda connection: _create(connection, spec, details))
                await asyncio.to_thread(sync, self._folder.indexes)
                await self._catalogue.write(partial(index_catalogue.mark, name=name, state="ready"))
            except BaseException:
                await database.close()
                raise
        except BaseException as error:
            await self.try_to_remove(name)
            if isinstance(error, OSError):
                raise Unavailable("The disk did not take the new index", retry_after_s=5) from error
            raise
        return Opened(database, msgspec.structs.replace(index, port=port))

    async def assign_port(self, name: str, free: Sequence[int], keep: Collection[int]) -> int:
        """The port of an index, as index_catalogue.assign_port() finds it."""
        return await self._catalogue.write(lambda connection: index_catalogue.assign_port(connection, name, free, keep))

    async def mark_deleted(self, name: str, database: Database | None, version: int | None = None) -> None:
        """From here on the index is gone, also after a crash: its file says so, or of one that cannot be used (None)
        the catalogue does. One commit, so that a failing disk leaves the index as it was.

        Raises VersionConflict if the file is at another version than this.
        """

        def mark(connection: apsw.Connection) -> None:
            if version is not None:
                tables.check_version(connection, version)
            mark_deleted(connection)

        if database is not None:
            await database.write(mark)
        else:
            await self._catalogue.write(partial(index_catalogue.mark, name=name, state="deleting"))

    async def try_to_put_aside(self, name: str) -> None:
        """Move away what there is of an index that could not be used and is deleted: perhaps it was protected, and
        perhaps it can be mended. What cannot be moved is, later.
        """
        try:
            if self._folder.index_file(name).exists():
                await self._set_aside(name, "deleted while unusable")
            else:
                await self._remove(name)
        except PinyonError as error:
            log.warning("what is left of index %s is moved away later: %s", name, error.message)

    async def try_to_remove(self, name: str) -> None:
        """Remove the files of an index that is deleted. What cannot be removed now is removed later."""
        try:
            await self._remove(name)
        except PinyonError as error:
            self._left_over.add(name)
            log.warning("what is left of index %s is removed later: %s", name, error.message)

    async def _remove(self, name: str) -> None:
        """Remove the files of an index, once the catalogue says so too: a log that is not folded may hold all that the
        file says of its being deleted, and goes first.
        """
        if (await self._catalogue.read(index_catalogue.states)).get(name) == "ready":
            await self._catalogue.write(partial(index_catalogue.mark, name=name, state="deleting"))
        await asyncio.to_thread(self._folder.remove_index_files, name)
        await self._catalogue.write(partial(index_catalogue.forget, name=name))
        self._left_over.discard(name)


def _create(connection: apsw.Connection, spec: IndexSpec, details: IndexDetails) -> Index:
    tables.create_index(connection, spec, details)
    vector_tables.check_layout(connection, spec)
    index = tables.index(connection)
    assert index is not None
    return index


LOG_EVERY = 20_000
"""Texts between two lines of the log."""


async def _update_words(database: Database, spec: IndexSpec) -> None:
    """Index the texts of an older file again, if this version makes other terms of them."""
    if not await database.read(partial(lexical.is_behind, spec=spec)):
        return
    count = await database.read(lambda connection: connection.execute("SELECT count(*) FROM records").get)

    def tell(done: int) -> None:
        if done % LOG_EVERY == 0 or done == count:
            log.info("the words of index %s are brought up to date: %d of %d texts", spec.name, done, count)

    await database.write(partial(lexical.rebuild, spec=spec, progress=tell))


def _said(state: str | None) -> str:
    return "not in the catalogue" if state is None else f"'{state}' by the catalogue"


def _with_checksums(connection: apsw.Connection) -> None:
    """Make room for checksums in the catalogue of an earlier version."""
    if not page_checksums.has_room(connection):
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
