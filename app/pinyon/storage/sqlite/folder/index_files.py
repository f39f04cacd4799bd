"""Makes, opens and removes the files of indexes, and keeps their catalogue.

If the file of an index and the catalogue disagree, a start believes the file. It removes a file in two cases only: the
file says that it is being deleted; or nothing was ever stored in it, and the catalogue says that it was being made. A
file that a start cannot read is left where it is, or moved to the folder set-aside.
"""

import asyncio
import logging
from functools import partial
from pathlib import Path

import apsw
import msgspec

from pinyon.domain import CatalogueValue, Index, IndexDetails, IndexSpec
from pinyon.errors import AlreadyExists, DataLoss, FailedPrecondition, PinyonError, Unavailable
from pinyon.files import put_in_place, sync
from pinyon.storage.sqlite.connection import page_checksums
from pinyon.storage.sqlite.connection.database import Database
from pinyon.storage.sqlite.connection.file_errors import damaged
from pinyon.storage.sqlite.folder import index_catalogue
from pinyon.storage.sqlite.folder.data_dir import DataDir
from pinyon.storage.sqlite.options import EngineOptions
from pinyon.storage.sqlite.schema import tables, vector_sums, vector_tables
from pinyon.storage.sqlite.schema.migrations import BeingDeleted, mark_deleted
from pinyon.storage.sqlite.text import lexical

log = logging.getLogger("pinyon.storage")


class Opened(msgspec.Struct):
    """An index whose file is open."""

    database: Database
    index: Index


class IndexFiles:
    """The files of one folder. Files of different indexes may be opened or made at the same time."""

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
        self._to_remove: set[str] = set()

    async def open(self) -> None:
        """Open the catalogue. If it is damaged, make a new one from the files of the indexes."""
        try:
            self._catalogue = await self._open_catalogue()
        except DataLoss as error:
            if self._read_only:
                raise
            log.error("%s", error.message)
            values = await asyncio.to_thread(index_catalogue.salvaged_values, self._folder.catalogue_file)
            await asyncio.to_thread(self._folder.set_aside, self._folder.catalogue_file, "damaged")
            self._catalogue = await self._open_catalogue()
            await self._catalogue.write(partial(index_catalogue.enter_values, values=values))
            log.warning(
                "a new catalogue was made from the files of the indexes; %d values of the old one could be read, such "
                "as which index has which port",
                len(values),
            )

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
        """Names of the indexes that have a file or should have one. Read-only: of those that are finished."""
        states = await self._catalogue.read(index_catalogue.states)
        if self._read_only:
            return sorted(name for name in self._folder.index_names() if states.get(name) == "ready")
        return sorted(self._folder.index_names(also_without_file=True) | states.keys())

    async def open_index(self, name: str) -> Opened | None:
        """Open an index. Returns None if it no longer exists, or if its file was moved to set-aside.

        Raises FailedPrecondition, DataLoss or Unavailable if the file cannot be used. Then the file stays where it is.
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
                await self._clear_away(name, state, has_spec=index is not None)
                return None
            await database.read(partial(vector_tables.check_layout, spec=index.spec))
            if not self._read_only:
                await _update_words(database, index.spec)
                await _add_vector_sums(database, index.spec)
            if state != "ready" and not self._read_only:
                await self._catalogue.write(partial(index_catalogue.enter_ready, name=name))
                log.warning("the index %s is %s; its file is complete, so the index is used", name, _in_words(state))
        except BaseException:
            await database.close()
            raise
        return Opened(database, index)

    async def _clear_away(self, name: str, state: str | None, has_spec: bool) -> None:
        """Remove or set aside a file without a spec, or one that is being deleted according to the catalogue alone."""
        file = self._folder.index_file(name)
        if self._read_only:
            raise FailedPrecondition(f"The file {file.name} says nothing; start once without --read-only")
        if not has_spec and state == "creating":  # file and catalogue agree that nothing was ever stored
            await self._remove(name)
            return
        if not has_spec and state == "ready":
            raise damaged(file, "it does not say what it is")
        await self._set_aside(name, "was being deleted" if has_spec else "says nothing")

    async def _set_aside(self, name: str, why: str) -> None:
        await asyncio.to_thread(self._folder.set_aside, self._folder.index_file(name), why)
        await self._catalogue.write(partial(index_catalogue.forget, name=name))

    async def make(self, spec: IndexSpec, details: IndexDetails) -> Opened:
        """Make a new index, completely or not at all.

        Raises AlreadyExists if it has a file, Unavailable if the disk fails, and FailedPrecondition if the files of a
        deleted index of that name cannot be removed.
        """
        name = spec.name
        await self._enter(name)
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
        return Opened(database, index)

    async def adopt(self, name: str, copy: Path) -> Opened:
        """Make a finished file a new index, completely or not at all. copy: is on the same disk as the data folder.

        Raises as make() and open_index().
        """
        await self._enter(name)
        try:
            await asyncio.to_thread(put_in_place, copy, self._folder.index_file(name))
            await self._catalogue.write(partial(index_catalogue.mark, name=name, state="ready"))
            opened = await self.open_index(name)
            assert opened is not None
        except BaseException as error:
            await self.try_to_remove(name)
            if isinstance(error, OSError):
                raise Unavailable("The disk did not take the new index", retry_after_s=5) from error
            raise
        return opened

    async def rename_copy(self, copy: Path, name: str, id: str, details: IndexDetails) -> None:
        """Bring a copied file to the newest schema, and make it another index."""
        database = await asyncio.to_thread(Database, copy, 1, 0)
        try:
            await database.write(partial(tables.rename, name=name, id=id, details=details))
        finally:
            await database.close()

    async def _enter(self, name: str) -> None:
        """Write down that an index of this name is being made. Raises AlreadyExists if it has a file."""
        if name in self._to_remove:
            await self._remove(name)
        if self._folder.index_file(name).exists():
            raise AlreadyExists(
                f"There is a file {name}.sqlite in the data folder that was put there while the server ran; "
                "start the server again to use it, or move it away"
            )
        state = (await self._catalogue.read(index_catalogue.states)).get(name)
        if state is not None or self._folder.has_files_beside(name):  # left when the disk failed
            await self._remove(name)
        await self._catalogue.write(partial(index_catalogue.enter, name=name, state="creating"))

    async def values(self) -> dict[str, CatalogueValue]:
        """The values of the services in the catalogue, by key."""
        return await self._catalogue.read(index_catalogue.values)

    async def put_value(self, key: str, value: str, version: int) -> None:
        """Store a value of a service in the catalogue. Raises VersionConflict."""
        await self._catalogue.write(partial(index_catalogue.put_value, key=key, value=value, version=version))

    async def mark_deleted(self, name: str, database: Database | None, version: int | None = None) -> None:
        """Mark an index as deleted, in one commit. From then on it is gone, even after a crash.

        database: its file, which gets the mark; None if it cannot be used, so that the catalogue gets the mark. If the
        disk fails, the index is as before. Raises VersionConflict if the index is at another version.
        """

        def mark(connection: apsw.Connection) -> None:
            if version is not None:
                tables.check_version(connection, version)
            mark_deleted(connection)

        if database is not None:
            await database.write(mark)
        else:
            await self._catalogue.write(partial(index_catalogue.mark, name=name, state="deleting"))

    async def try_to_set_aside(self, name: str) -> None:
        """Move the files of a deleted index that could not be used to set-aside, because they may still be repaired.

        Files that cannot be moved now are moved later.
        """
        try:
            if self._folder.index_file(name).exists():
                await self._set_aside(name, "deleted while unusable")
            else:
                await self._remove(name)
        except PinyonError as error:
            log.warning("the files of index %s cannot be moved now, but later: %s", name, error.message)

    async def try_to_remove(self, name: str) -> None:
        """Remove the files of a deleted index. If that fails, it is tried again later."""
        try:
            await self._remove(name)
        except PinyonError as error:
            self._to_remove.add(name)
            log.warning("the files of index %s cannot be removed now, but later: %s", name, error.message)

    async def _remove(self, name: str) -> None:
        """Mark an index as deleted in the catalogue too, then remove its files.

        The log is removed before the file, and the file's own mark may be only in the log. After a crash in between,
        the catalogue still says that the index is deleted.
        """
        if (await self._catalogue.read(index_catalogue.states)).get(name) == "ready":
            await self._catalogue.write(partial(index_catalogue.mark, name=name, state="deleting"))
        await asyncio.to_thread(self._folder.remove_index_files, name)
        await self._catalogue.write(partial(index_catalogue.forget, name=name))
        self._to_remove.discard(name)


def _create(connection: apsw.Connection, spec: IndexSpec, details: IndexDetails) -> Index:
    tables.create_index(connection, spec, details)
    vector_tables.check_layout(connection, spec)
    index = tables.index(connection)
    assert index is not None
    return index


LOG_EVERY = 20_000
"""Texts between two lines in the log."""


async def _update_words(database: Database, spec: IndexSpec) -> None:
    """Index the texts of an older file again if this version of Pinyon makes other terms of them."""
    if not await database.read(partial(lexical.is_behind, spec=spec)):
        return
    count = await database.read(lambda connection: connection.execute("SELECT count(*) FROM records").get)

    def log_progress(done: int) -> None:
        if done % LOG_EVERY == 0 or done == count:
            log.info("the words of index %s are brought up to date: %d of %d texts", spec.name, done, count)

    await database.write(partial(lexical.rebuild, spec=spec, progress=log_progress))


async def _add_vector_sums(database: Database, spec: IndexSpec) -> None:
    """Compute the sums of vectors that the file of an earlier version does not have."""
    if await database.read(partial(vector_sums.are_missing, spec=spec)):
        log.info("the centroids of the namespaces of index %s are computed", spec.name)
        await database.write(partial(vector_sums.rebuild, spec=spec))


def _in_words(state: str | None) -> str:
    return "not in the catalogue" if state is None else f"'{state}' by the catalogue"


def _with_checksums(connection: apsw.Connection) -> None:
    """Rewrite a catalogue of an earlier version so that its pages have room for checksums."""
    if not page_checksums.has_room(connection):
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
