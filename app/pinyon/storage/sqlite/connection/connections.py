"""Connections to a SQLite file, with sqlite-vec loaded and the pragmas of this project set."""

from pathlib import Path
from typing import Literal

import apsw
import sqlite_vec

from pinyon.errors import FailedPrecondition
from pinyon.storage.sqlite.connection import page_cache_vfs, page_checksums

PAGE_BYTES = 16_384
"""With this size and mmap, a scan reads 1.5 times as fast as with SQLite's defaults."""
BUSY_MS = 5_000
"""Longest wait for the lock of another connection, in milliseconds."""

Mode = Literal["read", "write", "read only", "frozen"]
"""read: this process may write to the file. read only: another process may. frozen: no process does."""


def connect(path: Path, mmap_bytes: int, mode: Mode, compare: bool = False, in_memory: bool = False) -> apsw.Connection:
    """A connection with sqlite-vec loaded and the pragmas of this project set.

    A connection that writes fills in and compares the checksums of pages. compare: a connection that reads compares
    them too, and then has no mmap. in_memory: read only what is in the system's page cache, and raise NotInMemory for
    the rest. Raises FailedPrecondition if the file has checksums and this installation cannot write them.
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
            # A new file has room for checksums from the start. An older file gets it with its next VACUUM.
            connection.reserve_bytes("main", page_checksums.RESERVED)
        # A new file has a rollback journal until it is in WAL mode. Unlike FULL, EXTRA also syncs its removal.
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
    """A connection that changes nothing, not even the files beside the file. No process may be writing to it."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"{path.resolve().as_uri()}?immutable=1", flags=flags, vfs=vfs)
