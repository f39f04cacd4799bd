"""The number of the last write that a file acknowledged, in a small file beside it.

A log that lost its end, or an older file in the place of a newer one, looks complete to SQLite. The mark shows the
difference: it is written after each commit, so the tables can be ahead of it but never behind it. It is not synced:
after a power cut the mark may be an older one, which does no harm.
"""

import contextlib
import os
import re
import threading
import zlib
from pathlib import Path

import msgspec

LINE = re.compile(rb"((\d{20}) (\d{20}) ([01])) ([0-9a-f]{8})\n")


class Mark(msgspec.Struct, frozen=True):
    """lsn: of the last acknowledged write. folded: of the last one that the main file has without its log.

    checksums: whether the file's pages have checksums.
    """

    lsn: int
    folded: int
    checksums: bool


def mark_file(path: Path) -> Path:
    """Where the mark of a file of this name is."""
    return path.with_suffix(".lsn")


def read(path: Path) -> Mark | None:
    """The mark of the file; None if there is none that can be read."""
    try:
        found = LINE.fullmatch(mark_file(path).read_bytes())
    except OSError:
        return None
    if found is None or f"{zlib.crc32(found[1]):08x}".encode() != found[5]:
        return None
    return Mark(int(found[2]), int(found[3]), found[4] == b"1")


class HighWaterMark:
    """The mark of an open file, for several threads. Must be closed.

    A mark that cannot be written does not stop a write.
    """

    def __init__(self, path: Path, mark: Mark) -> None:
        self._mark, self._lock = mark, threading.Lock()
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):
            self._descriptor = os.open(mark_file(path), os.O_WRONLY | os.O_CREAT, 0o600)
        self._write()

    def acknowledge(self, lsn: int) -> None:
        """A write with this number is committed."""
        with self._lock:
            self._mark = Mark(lsn, self._mark.folded, self._mark.checksums)
            self._write()

    def fold(self, lsn: int) -> None:
        """The main file has every write up to this one."""
        with self._lock:
            self._mark = Mark(self._mark.lsn, max(lsn, self._mark.folded), self._mark.checksums)
            self._write()

    def _write(self) -> None:
        """In place: so few bytes, within one sector, are written as a whole."""
        if self._descriptor is not None:
            told = b"%020d %020d %d" % (self._mark.lsn, self._mark.folded, self._mark.checksums)
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, b"%s %08x\n" % (told, zlib.crc32(told)), 0)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None
