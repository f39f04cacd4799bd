"""The files of a folder of indexes, and the catalogue that says which of them exist; made and removed as a whole."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from functools import partial
from uuid import uuid4

import apsw
import msgspec

from app.domain import Index, IndexDetails, IndexSpec
from app.errors import AlreadyExists, FailedPrecondition, PinyonError, Unavailable
from app.files import sync
from app.storage import index_catalogue, tables
from app.storage.data_dir import DataDir
from app.storage.database import Database
from app.storage.tuning import Tuning

log = logging.getLogger("pinyon.storage")


class Opened(msgspec.Struct):
    """An index that can be used."""

    database: Database
    index: Index


class IndexFiles:
    """One folder's. Nothing here but open() and close() is for several callers at a time."""

    def __init__(self, folder: DataDir, tuning: Tuning) -> None:
        self._folder, self._read_only = folder, tuning.read_only
        self._database = partial(
            Database,
            readers=tuning.readers,
            mmap_bytes=tuning.mmap_bytes,
            writes_per_commit=tuning.writes_per_commit,
            read_only=tuning.read_only,
        )
        self._catalogue: Database

    async def open(self) -> None:
        """Open the catalogue, take back what a crash interrupted, and forget indexes whose files somebody took away."""
        self._catalogue = await asyncio.to_thread(
            Database, self._folder.catalogue_file, 1, 0, index_catalogue.STEPS, read_only=self._read_only
        )
        try:
            for name, state in (await self._catalogue.read(index_catalogue.states)).items():
                if self._read_only:
                    continue
                if state != "ready":
                    await self._remove(name)
                elif not self._folder.index_file(name).exists():
                    log.warning("the file of index %s is gone, and so is the index", name)
                    await self._catalogue.write(partial(index_catalogue.forget, name=name))
        except BaseException:
            await self._catalogue.close()
            raise

    async def close(self) -> None:
        """Close the catalogue."""
        await self._catalogue.close()

    async def names(self) -> list[str]:
        """The indexes there are; for a reader, those that are finished."""
        found = sorted(file.stem for file in self._folder.indexes.glob("*.sqlite"))
        states = await self._catalogue.read(index_catalogue.states)
        return [name for name in found if states.get(name) == "ready"] if self._read_only else found

    async def open_index(self, name: str) -> Opened | None:
        """Open an index; None if its file says nothing. Raises FailedPrecondition, DataLoss or Unavailable."""
        file = self._folder.index_file(name)
        database = await asyncio.to_thread(self._database, file)
        try:
            spec = await database.read(tables.index_spec)
            if spec is None:  # a crash between making the file and saying what it is: nothing was ever stored
                await database.close()
                self._folder.remove_index_files(name)
                return None
            if spec.name != name:
                raise FailedPrecondition(
                    f"The file {file.name} holds the index {spec.name}; give it its name back, or move it elsewhere"
                )
            details = await database.read(tables.index_details)
            if name not in await self._catalogue.read(index_catalogue.states):  # a file brought from elsewhere
                await self._catalogue.write(partial(index_catalogue.enter, name=name, state="ready"))
            port = await self._catalogue.read(partial(index_catalogue.port_of, name=name))
        except BaseException:
            await database.close()
            raise
        return _opened(database, spec, details, port)

    async def make(self, spec: IndexSpec, details: IndexDetails, ports: Sequence[int] | None) -> Opened:
        """Make an index that is not there, as a whole or not at all. Raises AlreadyExists or PermissionDenied."""
        name = spec.name
        if (await self._catalogue.read(index_catalogue.states)).get(name, "ready") != "ready":
            await self._remove(name)  # a disk that failed left something
        if self._folder.index_file(name).exists():
            raise AlreadyExists(
                f"There is a file {name}.sqlite in the data folder that was put there while the server ran; "
                "start the server again to use it, or move it away"
            )

        def enter(connection: apsw.Connection) -> int | None:
            index_catalogue.enter(connection, name, "creating")
            return None if ports is None else index_catalogue.assign_port(connection, name, ports)

        port = await self._catalogue.write(enter)
        try:
            database = await asyncio.to_thread(self._database, self._folder.index_file(name))
            try:
                await database.write(lambda connection: tables.create_index(connection, spec, details))
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
        return _opened(database, spec, details, port)

    async def assign_port(self, name: str, free: Sequence[int], keep: Collection[int]) -> int:
        """The port of an index, as index_catalogue.assign_port() finds it."""
        return await self._catalogue.write(lambda connection: index_catalogue.assign_port(connection, name, free, keep))

    async def mark_deleted(self, name: str) -> None:
        """From here on the index is gone, also after a crash."""
        await self._catalogue.write(partial(index_catalogue.mark, name=name, state="deleting"))

    async def try_to_remove(self, name: str) -> None:
        """Remove what there is of an index that does not count any more; what cannot be removed is, later."""
        try:
            await self._remove(name)
        except PinyonError as error:
            log.warning("what is left of index %s is removed later: %s", name, error.message)

    async def _remove(self, name: str) -> None:
        self._folder.remove_index_files(name)
        await self._catalogue.write(partial(index_catalogue.forget, name=name))


def _opened(database: Database, spec: IndexSpec, details: IndexDetails, port: int | None) -> Opened:
    return Opened(database, Index(spec, details, port, f"{spec.name}@{uuid4().hex}"))
