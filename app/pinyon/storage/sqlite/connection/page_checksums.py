"""A checksum on every page of a SQLite file, which shows when the disk has changed a page.

SQLite's own extension does it (cksumvfs, which comes with apsw). It reserves eight bytes at the end of each page, fills
them in when a page is written to the file, and compares them when the page is read. Connections that only read do not
use it, because it forbids mmap. So every page is compared once when a file is opened for writing.
"""

import contextlib
import logging
from functools import cache
from pathlib import Path

import apsw
import apsw.sqlite_extra

PLAIN = "unix"
"""SQLite's own file access."""
CHECKED = "cksmvfs"
"""File access with checksums, for files that have room for them."""
RESERVED = 8
"""Bytes at the end of each page that hold its checksum."""
RESERVED_AT, PAGE_SIZE_AT, PAGE_COUNT_AT, HEADER_BYTES = 20, 16, 28, 100
"""Where a file's header says how many bytes are reserved, how large a page is, and how many pages there are."""

BUFFERED = 1_048_576
"""Bytes to read at a time. The file is not mapped, because an unreadable sector would then end the process."""

log = logging.getLogger("pinyon.storage")


@cache
def available() -> bool:
    """Whether the installed apsw has the extension. The first call loads it for the whole process."""
    try:
        connection = apsw.Connection(":memory:", vfs=PLAIN)
        apsw.sqlite_extra.load(connection, "cksumvfs")
        connection.close()
    except (apsw.Error, apsw.sqlite_extra.NotAvailable, LookupError) as error:
        log.warning("files get no checksums, because SQLite's extension cksumvfs does not load: %s", error)
        return False
    return True


def has_room(connection: apsw.Connection) -> bool:
    """Whether the pages of an open file have room for checksums."""
    _, header = connection.read("main", 0, 0, HEADER_BYTES)
    return header[RESERVED_AT] == RESERVED


def file_has_room(path: Path) -> bool:
    """Like has_room(), for a file that this process has not opened. False also if it is not a SQLite file."""
    header = _header(path)
    return header is not None and header[RESERVED_AT] == RESERVED


def file_lost_room(path: Path) -> bool:
    """Whether this is a SQLite file whose header says that its pages have no room for checksums."""
    header = _header(path)
    return header is not None and header[RESERVED_AT] != RESERVED


def _header(path: Path) -> bytes | None:
    """The header of a SQLite file. None for any other file."""
    try:
        with path.open("rb") as stream:
            header = stream.read(HEADER_BYTES)
    except OSError:
        return None
    return header if len(header) == HEADER_BYTES and header.startswith(b"SQLite format 3\0") else None


def wrong_pages(path: Path, only: set[int] | None = None) -> list[int]:
    """Numbers, from 1, of the pages whose checksum is wrong. Empty if the pages have no room for checksums.

    only: check no other pages. Nobody may be writing to the file. This process must have no connection to it, because
    closing the file here would drop the connection's locks. A page that is also in the log (pages_in_log) may be half
    written in the file. Raises OSError.
    """
    if not available() or not file_has_room(path):
        return []
    with path.open("rb", buffering=BUFFERED) as stream:
        header = stream.read(HEADER_BYTES)
        size = int.from_bytes(header[PAGE_SIZE_AT : PAGE_SIZE_AT + 2], "big")
        size = 65_536 if size == 1 else size
        if size < 512 or size & (size - 1):
            return [1]
        whole = path.stat().st_size // size
        counted = int.from_bytes(header[PAGE_COUNT_AT : PAGE_COUNT_AT + 4], "big")
        with contextlib.closing(apsw.Connection(":memory:", vfs=CHECKED)) as connection:
            cursor = connection.cursor()

            def fits(page: int) -> bool:
                stream.seek((page - 1) * size)
                content = stream.read(size)
                return len(content) == size and bool(cursor.execute("SELECT verify_checksum(?)", (content,)).get)

            checked = range(1, whole + 1) if only is None else [page for page in sorted(only) if page <= whole]
            wrong = [page for page in checked if not fits(page)]
        if only is None:  # pages that the header counts and the file does not have
            wrong += range(whole + 1, counted + 1)
        return wrong


LOG_HEADER, FRAME_HEADER = 32, 24
"""Bytes of the header of a write-ahead log, and of the header of each page in it."""


def pages_in_log(path: Path) -> set[int]:
    """Numbers of the pages of which the log may have newer versions. Layout: sqlite.org/fileformat2.html."""
    pages: set[int] = set()
    try:
        with path.with_name(path.name + "-wal").open("rb") as log_file:
            header = log_file.read(LOG_HEADER)
            size, salts = int.from_bytes(header[8:12], "big"), header[16:24]
            while len(frame := log_file.read(FRAME_HEADER)) == FRAME_HEADER and frame[8:16] == salts:
                pages.add(int.from_bytes(frame[:4], "big"))
                log_file.seek(size, 1)
    except OSError:
        pass
    return pages
