"""Connections and threads of one SQLite file: one writer, several readers, each on a thread of its own.

Callers hand over plain functions on a connection. A writing function commits as a whole or leaves nothing, and returns
only once the commit, which others may share, is on disk. A reading function sees one snapshot.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

import apsw
import sqlite_vec

from app import failpoints
from app.errors import DataLoss, FailedPrecondition, Internal, NotFound, PinyonError, Unavailable
from app.storage import migrations
from app.storage.writer import Transaction, Writer

T = TypeVar("T")

PAGE_BYTES = 16_384
"""Larger pages and mmap together read a scan 1.5 times as fast as SQLite's defaults."""
BUSY_MS = 5_000
WRITES_PER_COMMIT = 64
"""Writes that may share a commit."""

log = logging.getLogger("pinyon.storage")


def connect(path: Path, mmap_bytes: int, mode: Literal["read", "write"]) -> apsw.Connection:
    """A connection with sqlite-vec loaded and the pragmas of this project set."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if mode == "write" else 0)
    connection = apsw.Connection(str(path), flags=flags)
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
    ) -> None:
        """Raises FailedPrecondition for a file that is not ours or of a later version, DataLoss for a damaged one."""
        self.path, self._mmap_bytes = path, mmap_bytes
        self._local = threading.local()
        self._closed = False
        self._damage: str | None = None
        self._readers: list[apsw.Connection] = []
        try:
            failpoints.reach("open")
            self._writer = connect(path, mmap_bytes, "write")
            try:
                migrations.check(self._writer, path.name, steps)
                self._writer.execute("PRAGMA journal_mode = WAL")
                migrations.migrate(self._writer, steps)
            except BaseException:
                self._writer.close()
                raise
        except apsw.Error as error:
            raise self._translated(error) from error
        self._writing = Writer(self._writer, f"write-{path.stem}", writes_per_commit)
        self._read_threads = ThreadPoolExecutor(readers, thread_name_prefix=f"read-{path.stem}")

    async def write(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run the function, all or nothing, on the writer; when this returns the result is on disk.

        Raises DataLoss for a file that was found to be damaged: to write on would damage it further.
        """
        if self._damage is not None:
            raise DataLoss(self._damage)
        return await self._answer(lambda: self._writing.submit(function))

    async def read(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run the function on one snapshot of the file."""

        def run() -> T:
            connection = self._reader()
            with Transaction(connection, "DEFERRED"):
                return function(connection)

        return await self._answer(lambda: self._read_threads.submit(run))

    def _reader(self) -> apsw.Connection:
        """This thread's own connection, opened when it is first needed; if that fails, the next read tries again."""
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self.path, self._mmap_bytes, "read")
            self._readers.append(connection)
        return connection

    async def _answer(self, submit: "Callable[[], Future[T]]") -> T:
        if self._closed:  # the index was deleted after the caller looked it up
            raise NotFound(f"Index {self.path.stem} not found.")
        try:
            return await asyncio.wrap_future(submit())
        except apsw.Error as error:
            raise self._translated(error) from error

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
        self._read_threads.shutdown()
        self._writing.close()
        for connection in (*self._readers, self._writer):
            try:
                if connection is self._writer:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except apsw.Error as error:  # nothing is lost: the next start replays the log
                log.warning("could not fold the log of %s at the end: %s", self.path, error)
            with contextlib.suppress(apsw.Error):
                connection.close()
