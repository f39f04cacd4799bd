"""Checkpoints: they copy the write-ahead log of a file into the file, beside the writes.

They only keep the log short: acknowledged writes are safe without them. A thread with its own connection copies most
of a long log while writes go on. The writer copies the rest between two writes. The next write then begins at the start
of the log.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Literal

import apsw
import msgspec

ROUNDS = 2
"""Times that the thread copies the log. The second time copies what was written during the first."""

log = logging.getLogger("pinyon.storage")


class CheckpointPages(msgspec.Struct, frozen=True):
    """Pages of the log from which a checkpoint copies what readers allow, and from which it waits for the readers."""

    passive_from: int = 500
    restart_from: int = 8_000


PAGES = CheckpointPages()


class Checkpoint:
    """The checkpoints of one file. Call from the thread that writes. Call finish() at the end.

    connection: the one that writes. connect: makes another connection. number: reads the number of the last write.
    checkpointed: is called on any thread with the number up to which the file has every write without its log.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        connect: Callable[[], apsw.Connection],
        number: Callable[[apsw.Connection], int] = lambda _: 0,
        checkpointed: Callable[[int], None] = lambda _: None,
        pages: CheckpointPages = PAGES,
    ) -> None:
        self._limits = pages
        self._connection, self._connect, self._name = connection, connect, connection.filename
        self._number, self._checkpointed = number, checkpointed
        self._pages = 0
        self._thread: threading.Thread | None = None
        connection.set_wal_hook(self._written)  # replaces SQLite's own checkpoints, which make callers wait

    def _written(self, connection: apsw.Connection, database: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def advance(self) -> None:
        """Start or end a checkpoint if the log is long enough. Call between two writes."""
        if self._thread is not None and self._thread.is_alive():
            if self._pages < self._limits.restart_from:
                return
            self._thread.join()
        was_started, self._thread = self._thread is not None, None
        if self._pages < self._limits.passive_from:
            return
        if was_started or not self._start_thread():
            self._run(self._connection, "RESTART" if self._pages >= self._limits.restart_from else "PASSIVE")
            self._pages = 0

    def _start_thread(self) -> bool:
        """Start a thread that copies the log while writes go on. Returns whether it could be started."""
        thread = threading.Thread(target=self._work, name="checkpoint", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            return False
        self._thread = thread
        return True

    def _work(self) -> None:
        try:
            with contextlib.closing(self._connect()) as connection:
                for _ in range(ROUNDS):
                    self._run(connection, "PASSIVE")
        except apsw.Error as error:
            self._warn(error)

    def finish(self) -> None:
        """Wait for the thread. Needed before any other checkpoint, because a file can have only one at a time."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, connection: apsw.Connection, mode: Literal["PASSIVE", "RESTART"]) -> None:
        try:
            number = self._number(connection)
            busy, in_log, copied = connection.execute(f"PRAGMA wal_checkpoint({mode})").get
            if not busy and in_log == copied:
                self._checkpointed(number)
        except apsw.Error as error:
            self._warn(error)

    def _warn(self, error: apsw.Error) -> None:
        log.warning("the log of %s could not be copied into the file: %s", self._name, error)
