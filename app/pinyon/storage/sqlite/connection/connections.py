"""Connections to a SQLite file, with sqlite-vec loaded and the pragmas of this project set."""

from pathlib import Path
from typing import Literal

import apsw
import sqlite_vec

from pinyon.errors import FailedPrecondition
from pinyon.storage.sqlite.connection import page_cache_vfs, page_checksums

PAGE_BYTES = 16_384
"""Larger pages and mmap together read a scan 1.5 times as fast as SQLite's defaults."""
BUSY_MS = 5_000

Mode = Literal["read", "write", "read only", "frozen"]
"""read: beside a writer of this process. read only: beside one of another. frozen: there is none, nor can there be."""


def connect(path: Path, mmap_bytes: int, mode: Mode, compare: bool = False, in_memory: bool = False) -> apsw.Connection:
    """A connection with sqlite-vec loaded and the pragmas of this project set.

    in_memory: one that reads only what is in the system's page cache, and raises NotInMemory for the rest.

    One that writes fills in the checksums of pages and compares them. compare: one that reads does, too; then there is
    no mmap. Raises FailedPrecondition if it cannot.
    """
    vfs = page_checksums.CHECKED if compare and page_checksums.available() else page_checksums.PLAIN
    vfs = page_cache_vfs.NAME if in_memory else vfs
    if mode == "frozen":
        connection = connect_frozen(path, vfs)
    elif mode == "write":
        connection = _connect_to_write(path)
    else:
        flags = apsw.SQLITE_OPEN_READONLY if mode == "read only" else apsw.SQLITE_OPEN_READWRITE
        connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
        # Only a connection that fills in checksums may copy the log into the file.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.enable_load_extension(False)
    connection.set_busy_timeout(BUSY_MS)
    connection.execute(f"PRAGMA mmap_size = {mmap_bytes}")
    if mode == "write":
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        if page_checksums.available():
            # Of a new file's pages from the first on; of an older file's from the next VACUUM on.
            connection.reserve_bytes("main", page_checksums.RESERVED)
        # Beyond FULL: also the removal of the rollback journal that a new file has until it is in WAL mode.
        connection.execute("PRAGMA synchronous = EXTRA")
    else:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _connect_to_write(path: Path) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    if not page_checksums.available():
        connection = apsw.Connection(str(path), flags=flags, vfs=page_checksums.PLAIN)
        if page_checksums.has_room(connection):
            connection.close()
            raise FailedPrecondition(
                f"The file {path.name} has checksums, which this installation cannot write: SQLite's extension "
                "cksumvfs is missing; install apsw from its wheel"
            )
        return connection
    return apsw.Connection(str(path), flags=flags, vfs=page_checksums.CHECKED)


def connect_frozen(path: Path, vfs: str = page_checksums.PLAIN) -> apsw.Connection:
    """A connection to a file that nobody has open, which changes nothing, not even the files beside it."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"{path.resolve().as_uri()}?immutable=1", flags=flags, vfs=vfs)
