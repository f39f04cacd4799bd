"""Connections and threads of one SQLite file: one writer, several readers, each on a thread of its own.

Callers hand over plain functions on a connection. A writing function commits as a whole or leaves nothing, and returns
only once the commit, which others may share, is on disk. A reading function sees one snapshot.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import apsw
import sqlite_vec

from app import failpoints
from app.errors import DataLoss, FailedPrecondition, Internal, NotFound, PermissionDenied, PinyonError, Unavailable
from app.storage import migrations
from app.storage.readers import Readers
from app.storage.writer import Transaction, Writer

T = TypeVar("T")

PAGE_BYTES = 16_384
"""Larger pages and mmap together read a scan 1.5 times as fast as SQLite's defaults."""
BUSY_MS = 5_000
WRITES_PER_COMMIT = 64
"""Writes that may share a commit."""

log = logging.getLogger("pinyon.storage")


Mode = Literal["read", "write", "read only", "frozen"]
"""read: beside a writer of this process. read only: beside one of another. frozen: there is none, nor can there be."""


def connect(path: Path, mmap_bytes: int, mode: Mode) -> apsw.Connection:
    """A connection with sqlite-vec loaded and the pragmas of this project set."""
    if mode == "frozen":
        connection = connect_frozen(path)
    else:
        flags = apsw.SQLITE_OPEN_READONLY if mode == "read only" else apsw.SQLITE_OPEN_READWRITE
        connection = apsw.Connection(str(path), flags=flags | (apsw.SQLITE_OPEN_CREATE if mode == "write" else 0))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.enable_load_extension(False)
    connection.set_busy_timeout(BUSY_MS)
    connection.execute(f"PRAGMA mmap_size = {mmap_bytes}")
    if mode == "write":
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        # Beyond FULL: also the removal of the rollback journal that a new file has until it is in WAL mode.
        connection.execute("PRAGMA synchronous = EXTRA")
    else:
        connection.execute("PRAGMA query_only = ON")
    return connection


def connect_frozen(path: Path) -> apsw.Connection:
    """A connection to a file that nobody has open, which changes nothing, not even the files beside it."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"{path.resolve().as_uri()}?immutable=1", flags=flags)


def translated(error: apsw.Error, path: Path) -> PinyonError:
    """The error of our own family for one of SQLite's; the only place that knows both."""
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return Unavailable(f"The file {path.name} is busy")
        case apsw.FullError():
            return Unavailable("The disk is full; nothing was written", retry_after_s=30)
        case apsw.CantOpenError():
            return Unavailable(f"The file {path.name} cannot be opened now", retry_after_s=5)
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return FailedPrecondition(f"The file {path.name} cannot be written")
        case apsw.CorruptError() | apsw.NotADBError():
            return DataLoss(f"The file {path.name} is damaged; restore it from a backup")
        case apsw.IOError():
            return Unavailable("The disk did not take or give the data", retry_after_s=5)
    return Internal(f"The file {path.name} could not be used in a way it should; the log has the details")


class Database:
    """One open file. Opening brings it to the newest schema."""

    def __init__(
        self,
        path: Path,
        readers: int,
        mmap_bytes: int,
        steps: migrations.Steps = migrations.STEPS,
        writes_per_commit: int = WRITES_PER_COMMIT,
        read_only: bool = False,
    ) -> None:
        """Raises FailedPrecondition for a file that is not ours or of a later version, DataLoss for a damaged one.

        read_only: change nothing, not even the schema; Raises FailedPrecondition if that would be needed.
        """
        self.path, self._mmap_bytes = path, mmap_bytes
        self._closed = False
        self._damage: str | None = None
        self._frozen = False
        self._writing: Writer | None = None
        self._here: apsw.Connection | None = None
        try:
            failpoints.reach("open")
            self._first = self._look(steps) if read_only else self._prepared(steps)
        except apsw.Error as error:
            raise self._translated(error) from error
        if not read_only:
            again = partial(connect, path, mmap_bytes, "write")
            self._writing = Writer(self._first, again, f"write-{path.stem}", writes_per_commit)
        self._readers = Readers(self._reader, readers, f"read-{path.stem}")

    def _prepared(self, steps: migrations.Steps) -> apsw.Connection:
        """The connection to write by, of a file with the newest schema."""
        connection = connect(self.path, self._mmap_bytes, "write")
        try:
            migrations.check(connection, self.path.name, steps)
            connection.execute("PRAGMA journal_mode = WAL")
            migrations.migrate(connection, steps)
        except BaseException:
            connection.close()
            raise
        return connection

    def _look(self, steps: migrations.Steps) -> apsw.Connection:
        """A connection that changes nothing. On a disk that takes no writes there cannot be another writer either."""
        try:
            connection = connect(self.path, self._mmap_bytes, "read only")
            connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            log_file = self.path.with_name(self.path.name + "-wal")
            if log_file.exists() and log_file.stat().st_size:
                raise
            self._frozen = True
            connection = connect(self.path, self._mmap_bytes, "frozen")
        try:
            migrations.check(connection, self.path.name, steps)
            if connection.pragma("user_version") < len(steps):
                raise FailedPrecondition(
                    f"The file {self.path.name} is of an earlier version; start once without --read-only to bring it up"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    async def write(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run the function, all or nothing, on the writer; when this returns the result is on disk.

        Raises DataLoss for a file that was found to be damaged: to write on would damage it further. Raises
        PermissionDenied for one that was opened to be read only.
        """
        return await self._answer(lambda: asyncio.wrap_future(self._submit(function, bare=False)))

    async def maintain(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run the function on the writer, outside any transaction. Raises as write()."""
        return await self._answer(lambda: asyncio.wrap_future(self._submit(function, bare=True)))

    def _submit(self, function: Callable[[apsw.Connection], T], bare: bool) -> "Future[T]":
        if self._writing is None:
            raise PermissionDenied("This server was started with --read-only, and changes nothing")
        if self._damage is not None:
            raise DataLoss(self._damage)
        return self._writing.submit(function, bare)

    async def read(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run the function on one snapshot of the file."""
        return await self._answer(lambda: self._readers.run(function))

    def read_here(self, function: Callable[[apsw.Connection], T | None]) -> T | None:
        """As read(), but in this very thread: for what takes less time than handing it over. None: not now.

        Of one thread. Raises as read().
        """
        self._check_open()
        try:
            if self._here is None:
                self._here = self._reader()
                self._here.set_busy_timeout(0)
            with Transaction(self._here, "DEFERRED"):
                return function(self._here)
        except apsw.BusyError:
            return None
        except apsw.Error as error:
            raise self._translated(error) from error

    def _reader(self) -> apsw.Connection:
        mode: Mode = "read" if self._writing is not None else "frozen" if self._frozen else "read only"
        return connect(self.path, self._mmap_bytes, mode)

    async def _answer(self, submit: "Callable[[], asyncio.Future[T]]") -> T:
        self._check_open()
        try:
            return await submit()
        except apsw.Error as error:
            raise self._translated(error) from error

    def _check_open(self) -> None:
        if self._closed:  # the index was deleted after the caller looked it up
            raise NotFound(f"Index {self.path.stem} not found.")

    def _translated(self, error: apsw.Error) -> PinyonError:
        log.error("storage error on %s: %s: %s", self.path, type(error).__name__, error)
        found = translated(error, self.path)
        if isinstance(found, DataLoss):
            self._damage = found.message
        return found

    async def close(self) -> None:
        """Wait for what runs, fold the log into the file, close every connection."""
        self._closed = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._readers.close()
        if self._here is not None:
            with contextlib.suppress(apsw.Error):
                self._here.close()
        if self._writing is not None:
            self._writing.close()
            try:
                self._first.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except apsw.Error as error:  # nothing is lost: the next start replays the log
                log.warning("could not fold the log of %s at the end: %s", self.path, error)
        with contextlib.suppress(apsw.Error):
            self._first.close()
