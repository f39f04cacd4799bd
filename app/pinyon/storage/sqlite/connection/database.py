"""Connections and threads of one SQLite file: one writer and several readers, each on its own thread.

Callers pass plain functions on a connection. A function that writes commits as a whole or changes nothing, and its
caller gets the result once the commit is on disk. Several writes may share a commit. A function that reads sees one
snapshot.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw

from pinyon import failpoints
from pinyon.errors import DataLoss, FailedPrecondition, NotFound, PermissionDenied, PinyonError, Unavailable
from pinyon.storage.sqlite.connection import high_water, page_cache_vfs, page_checksums
from pinyon.storage.sqlite.connection.connections import Mode, connect, connect_frozen
from pinyon.storage.sqlite.connection.file_errors import DECODING_ERRORS, damaged, translated
from pinyon.storage.sqlite.connection.high_water import HighWaterMark, Mark
from pinyon.storage.sqlite.connection.page_cache_vfs import NotInMemory
from pinyon.storage.sqlite.connection.readers import Readers
from pinyon.storage.sqlite.connection.writer import Writer
from pinyon.storage.sqlite.schema import migrations, tables
from pinyon.storage.sqlite.transaction import Transaction

T = TypeVar("T")

WRITES_PER_COMMIT = 64
"""Writes that may share a commit."""
INLINE_CACHE_KIB = 8_192
"""Size of the page cache of the connection on the event-loop thread. Reading a page again takes it 5 us."""
READ_ONLY = "This server was started with --read-only, and changes nothing"
log = logging.getLogger("pinyon.storage")


class Database:
    """One open file. Opening it checks that it is as it was written, and brings it to the newest schema."""

    def __init__(
        self,
        path: Path,
        readers: int,
        mmap_bytes: int,
        steps: migrations.Steps = migrations.STEPS,
        writes_per_commit: int = WRITES_PER_COMMIT,
        read_only: bool = False,
        marked: bool = False,
    ) -> None:
        """Raises FailedPrecondition for a file that is not Pinyon's or of a later version, DataLoss for a damaged one.

        read_only: change nothing; raises FailedPrecondition if the schema is not the newest. marked: the file numbers
        its writes, and the number of the last one is stored beside it (high_water.py).
        """
        self.path, self._mmap_bytes, self._marked = path, mmap_bytes, marked
        self.closed = False
        self.damage: str | None = None
        self._mark: HighWaterMark | None = None
        self._frozen = False
        self._writer: Writer | None = None
        self._inline: apsw.Connection | None = None
        try:
            failpoints.reach("open", path.stem)
            self._check_files()
            self._connection = self._open_read_only(steps) if read_only else self._open_to_write(steps)
        except apsw.Error as error:
            raise self._translated(error) from error
        except DECODING_ERRORS as error:
            raise self._undecodable(error) from error
        except OSError as error:
            raise Unavailable(f"The file {path.name} cannot be read: {error.strerror or error}", 5) from error
        if not read_only:
            another = partial(connect, path, mmap_bytes, "write")
            mark = self._mark
            callbacks = () if mark is None else (lsn_of, mark.acknowledge, mark.note_checkpoint)
            self._writer = Writer(self._connection, another, f"write-{path.stem}", writes_per_commit, *callbacks)
        self._readers = Readers(self._reader, readers, f"read-{path.stem}")

    def _check_files(self) -> None:
        """Raises DataLoss where SQLite would silently drop a log, or treat a file as if it had never had checksums."""
        file, log_file = self.path, self.path.with_name(self.path.name + "-wal")
        size = file.stat().st_size if file.exists() else 0
        if not size and log_file.exists() and log_file.stat().st_size:
            raise damaged(file, "it is empty, although its log is not")
        mark = high_water.read(file) if self._marked else None
        if mark is not None and mark.lsn and not size:
            raise damaged(file, f"it is empty, and had acknowledged {mark.lsn} writes")
        if mark is not None and mark.checksums and size and page_checksums.file_lost_room(file):
            raise damaged(file, "its header says that it has no checksums, and it has")

    def _open_to_write(self, steps: migrations.Steps) -> apsw.Connection:
        """Verify the file, and bring it to the newest schema. Returns the connection that writes."""
        if self.path.exists():
            self._verify(steps)
        connection = connect(self.path, self._mmap_bytes, "write")
        try:
            migrations.check(connection, self.path.name, steps)
            connection.execute("PRAGMA journal_mode = WAL")
            migrations.migrate(connection, steps)
            if self._marked:
                before = high_water.read(self.path)
                checkpointed = 0 if before is None else before.checkpointed
                mark = Mark(lsn_of(connection), checkpointed, page_checksums.has_room(connection))
                self._mark = HighWaterMark(self.path, mark)
        except BaseException:
            connection.close()
            raise
        return connection

    def _verify(self, steps: migrations.Steps) -> None:
        """Raises DataLoss if the file is not as it was written. Then the file and its log are left as they are."""
        in_log = page_checksums.pages_in_log(self.path)
        self._check_pages(set(page_checksums.wrong_pages(self.path)) - in_log)
        if in_log and self._marked:
            self._check_without_log()
        with contextlib.closing(connect(self.path, 0, "write")) as connection:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            migrations.check(connection, self.path.name, steps)
            self._check_mark(connection)
            self._check_name(connection)
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").get
        if busy:
            log.warning("another process reads %s; some of its checksums are not compared now", self.path.name)
        elif in_log:
            self._check_pages(set(page_checksums.wrong_pages(self.path, in_log)))

    def _check_pages(self, wrong: set[int]) -> None:
        if not wrong:
            return
        how = f"{len(wrong)} pages are not as they were written, page {min(wrong)} first"
        if self._checkpointed_elsewhere():
            how += (
                "; another program put its log into it, perhaps sqlite3 or an earlier version of Pinyon after a crash: "
                f"if so, `pinyon check {self.path.stem} --accept` takes it as it is"
            )
        raise damaged(self.path, how)

    def _checkpointed_elsewhere(self) -> bool:
        """Whether the file has writes that another program moved from the log into it."""
        mark = high_water.read(self.path) if self._marked else None
        try:
            with contextlib.closing(connect_frozen(self.path, page_checksums.PLAIN)) as connection:
                return mark is not None and lsn_of(connection) > mark.checkpointed
        except (apsw.Error, *DECODING_ERRORS):
            return False

    def _check_without_log(self) -> None:
        """Raises DataLoss if the file without its log has fewer writes than its mark says.

        Raises FailedPrecondition if the file belongs to an index of another name.
        """
        mark = high_water.read(self.path)
        vfs = page_checksums.CHECKED if page_checksums.available() else page_checksums.PLAIN
        try:
            with contextlib.closing(connect_frozen(self.path, vfs)) as connection:
                self._check_name(connection)
                lsn = lsn_of(connection)
        except (apsw.Error, *DECODING_ERRORS):
            return  # the program crashed during a checkpoint, so the file is unfinished; its log has the rest
        if mark is not None and lsn < mark.checkpointed:
            raise damaged(self.path, f"without its log it ends at write {lsn}, and had got to {mark.checkpointed}")

    def _check_mark(self, connection: apsw.Connection) -> None:
        """Raises DataLoss if the file has fewer writes than were acknowledged."""
        mark = high_water.read(self.path) if self._marked else None
        if mark is not None and (lsn := lsn_of(connection)) < mark.lsn:
            raise DataLoss(
                f"The file {self.path.name} ends at write {lsn}, and write {mark.lsn} was acknowledged: its log is "
                "damaged or gone, or an older file was put in its place. Restore it from a backup, or take what there "
                f"is with `pinyon check {self.path.stem} --accept`. Nothing of it was changed"
            )

    def _check_name(self, connection: apsw.Connection) -> None:
        """Raises FailedPrecondition if the file or its log belongs to an index of another name."""
        spec = tables.index_spec(connection) if self._marked and _has_state(connection) else None
        if spec is not None and spec.name != self.path.stem:
            raise FailedPrecondition(
                f"The file {self.path.name} or its log holds the index {spec.name}; give it its name back, or move it "
                "elsewhere"
            )

    def _open_read_only(self, steps: migrations.Steps) -> apsw.Connection:
        """Open a connection that changes nothing.

        If the disk takes no writes, no other process can write either, so the file is opened as frozen.
        """
        try:
            connection = connect(self.path, self._mmap_bytes, "read only")
            connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            log_file = self.path.with_name(self.path.name + "-wal")
            if log_file.exists() and log_file.stat().st_size:
                raise
            self._frozen = True
            self._check_pages(set(page_checksums.wrong_pages(self.path)))
            connection = connect(self.path, self._mmap_bytes, "frozen")
        try:
            migrations.check(connection, self.path.name, steps)
            self._check_mark(connection)
            if connection.pragma("user_version") < len(steps):
                raise FailedPrecondition(
                    f"The file {self.path.name} is of an earlier version; start once without --read-only to bring it up"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    async def write(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run the function on the writer, all or nothing. When this returns, the result is on disk.

        Raises DataLoss if the file was found to be damaged, because writing would damage it further. Raises
        PermissionDenied if the file was opened read-only.
        """
        return await self._answer(lambda: asyncio.wrap_future(self._submit(function, bare=False)))

    async def maintain(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run the function on the writer, outside any transaction. Raises the errors of write()."""
        return await self._answer(lambda: asyncio.wrap_future(self._submit(function, bare=True)))

    def _submit(self, function: Callable[[apsw.Connection], T], bare: bool) -> "Future[T]":
        if self._writer is None:
            raise PermissionDenied(READ_ONLY)
        if self.damage is not None:
            raise DataLoss(self.damage)
        return self._writer.submit(function, bare)

    async def read(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run the function on one snapshot of the file."""
        return await self._answer(lambda: self._readers.run(function))

    def read_inline(self, function: Callable[[apsw.Connection], T | None]) -> T | None:
        """Like read(), but on the calling thread, which is faster for short reads.

        Returns None if the file is busy, or if something that the function reads is not in memory. Call from the
        event-loop thread only. Raises the errors of read().
        """
        self._check_open()
        if not page_cache_vfs.available(self.path):
            return None
        if self._inline is None:
            try:
                self._inline = self._connect_inline()
            except (apsw.Error, NotInMemory, OSError):  # a reader thread meets the same problem, and reports it
                return None
        try:
            with Transaction(self._inline, "DEFERRED"):
                return function(self._inline)
        except (apsw.BusyError, NotInMemory, OSError):
            return None
        except apsw.Error as error:
            raise self._translated(error) from error
        except DECODING_ERRORS as error:
            raise self._undecodable(error) from error

    def _connect_inline(self) -> apsw.Connection:
        # The real path, because SQLite does not let a VFS of Python's follow symbolic links.
        connection = connect(self.path.resolve(), 0, self._read_mode(), in_memory=True)
        connection.set_busy_timeout(0)
        connection.execute(f"PRAGMA cache_size = {-INLINE_CACHE_KIB}")
        return connection

    def _reader(self) -> apsw.Connection:
        return connect(self.path, self._mmap_bytes, self._read_mode())

    def _read_mode(self) -> Mode:
        return "read" if self._writer is not None else "frozen" if self._frozen else "read only"

    async def _answer(self, submit: "Callable[[], asyncio.Future[T]]") -> T:
        self._check_open()
        try:
            return await submit()
        except apsw.Error as error:
            raise self._translated(error) from error
        except DECODING_ERRORS as error:
            raise self._undecodable(error) from error
        except PinyonError:
            raise
        except Exception as error:
            problem = await self._readers.run(_quick_check)
            if problem is None:
                raise
            log.error("storage error on %s: %s, after %r", self.path, problem, error)
            raise self._stop_writes(damaged(self.path)) from error

    def _check_open(self) -> None:
        if self.closed:  # the index was deleted after the caller looked it up
            raise NotFound(f"Index {self.path.stem} not found.")

    def _translated(self, error: apsw.Error) -> PinyonError:
        log.error("storage error on %s: %s: %s", self.path, type(error).__name__, error)
        own = translated(error, self.path)
        return self._stop_writes(own) if isinstance(own, DataLoss) else own

    def _undecodable(self, error: Exception) -> DataLoss:
        log.error("storage error on %s: a stored value cannot be read: %s", self.path, error)
        return self._stop_writes(damaged(self.path, "a stored value cannot be read"))

    def _stop_writes(self, error: DataLoss) -> DataLoss:
        """Refuse all later writes, because they would damage the file further. Returns the error."""
        self.damage = error.message
        return error

    async def close(self) -> None:
        """Wait for running functions, copy the log into the file, and close every connection."""
        self.closed = True
        await asyncio.to_thread(self._close)

    def _checkpoint(self) -> None:
        """Copy the whole log into the file, and note it in the mark."""
        busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").get
        if self._mark is not None and not busy:
            self._mark.note_checkpoint(lsn_of(self._connection))

    def _close(self) -> None:
        self._readers.close()
        if self._inline is not None:
            with contextlib.suppress(apsw.Error):
                self._inline.close()
        if self._writer is not None:
            self._writer.close()
            try:
                if self.damage is not None:  # keep its log, which may help to repair it
                    self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                else:
                    self._checkpoint()
            except apsw.Error as error:  # nothing is lost: the next start replays the log
                log.warning("could not copy the log of %s into the file at the end: %s", self.path, error)
        with contextlib.suppress(apsw.Error):
            self._connection.close()
        page_cache_vfs.close_descriptors(self.path)
        if self._mark is not None:
            self._mark.close()


def lsn_of(connection: apsw.Connection) -> int:
    """The number of the last write to an index; 0 for a file without the table `state`."""
    return int(connection.execute("SELECT lsn FROM state").get or 0) if _has_state(connection) else 0


def _has_state(connection: apsw.Connection) -> bool:
    """Whether the file has the table that says what index it is."""
    return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'state'").get)


def _quick_check(connection: apsw.Connection) -> str | None:
    """What SQLite finds wrong with the structure of a file, or None."""
    try:
        report = str(connection.execute("PRAGMA quick_check(1)").get)
    except apsw.Error as error:
        return str(error)
    return None if report == "ok" else report
