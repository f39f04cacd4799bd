"""Folding the write-ahead log of a file into the file, beside the writes: what was answered is safe with or without.

Most of a long log is copied by a thread and a connection of their own while writes go on; what was written meanwhile by
the writer, between two writes, after which the next one begins the log anew.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Literal

import apsw

FROM, WHOLE_FROM = 500, 8_000
"""Pages of the log from which it is folded as far as readers allow, or with waiting for them."""
ROUNDS = 2
"""The second round copies what was written during the first, and leaves less for the writer."""

log = logging.getLogger("pinyon.storage")


class Folding:
    """For the thread that writes, which gives its connection; connect: makes another one. Must be finished.

    number: of the last write; folded: told the number up to which the file has every write, by any thread.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        connect: Callable[[], apsw.Connection],
        number: Callable[[apsw.Connection], int] = lambda _: 0,
        folded: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._connection, self._connect, self._name = connection, connect, connection.filename
        self._number, self._folded = number, folded
        self._pages = 0
        self._beside: threading.Thread | None = None
        connection.set_wal_hook(self._written)  # in place of SQLite's own folding, which callers would wait for

    def _written(self, connection: apsw.Connection, database: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def go_on(self) -> None:
        """Between two writes: fold what is due."""
        if self._beside is not None and self._beside.is_alive():
            if self._pages < WHOLE_FROM:
                return
            self._beside.join()
        begun, self._beside = self._beside is not None, None
        if self._pages < FROM:
            return
        if begun or not self._begin():
            self._fold(self._connection, "RESTART" if self._pages >= WHOLE_FROM else "PASSIVE")
            self._pages = 0

    def _begin(self) -> bool:
        """Whether a thread is there to fold beside the writes."""
        thread = threading.Thread(target=self._fold_beside, name="fold", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            return False
        self._beside = thread
        return True

    def _fold_beside(self) -> None:
        try:
            with contextlib.closing(self._connect()) as connection:
                for _ in range(ROUNDS):
                    self._fold(connection, "PASSIVE")
        except apsw.Error as error:
            self._warn(error)

    def finish(self) -> None:
        """Wait for what runs: two cannot fold at once."""
        if self._beside is not None:
            self._beside.join()

    def _fold(self, connection: apsw.Connection, how: Literal["PASSIVE", "RESTART"]) -> None:
        try:
            number = self._number(connection)
            busy, in_log, copied = connection.execute(f"PRAGMA wal_checkpoint({how})").get
            if not busy and in_log == copied:
                self._folded(number)
        except apsw.Error as error:
            self._warn(error)

    def _warn(self, error: apsw.Error) -> None:
        log.warning("the log of %s could not be folded: %s", self._name, error)
