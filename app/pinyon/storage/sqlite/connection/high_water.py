"""The number of the last write that a file acknowledged, in a small file beside it.

SQLite does not notice that a log lost its end, or that an older file replaced a newer one. The mark shows it: it is
written after each commit, so the tables can be ahead of it but never behind it. It is not synced: after a power cut the
mark may be an older one, which does no harm.
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
    """lsn: of the last acknowledged write. checkpointed: LSN up to which the main file has every write without its log.

    checksums: whether the file's pages have checksums.
    """

    lsn: int
    checkpointed: int
    checksums: bool


def mark_file(path: Path) -> Path:
    """The path of the mark of a file."""
    return path.with_suffix(".lsn")


def read(path: Path) -> Mark | None:
    """The mark of a file. None if there is none, or if it cannot be read."""
    try:
        line = LINE.fullmatch(mark_file(path).read_bytes())
    except OSError:
        return None
    if line is None or f"{zlib.crc32(line[1]):08x}".encode() != line[5]:
        return None
    return Mark(int(line[2]), int(line[3]), line[4] == b"1")


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
        """Note that the write with this number is committed."""
        with self._lock:
            self._mark = Mark(lsn, self._mark.checkpointed, self._mark.checksums)
            self._write()

    def note_checkpoint(self, lsn: int) -> None:
        """Note that the main file has every write up to this one."""
        with self._lock:
            self._mark = Mark(self._mark.lsn, max(lsn, self._mark.checkpointed), self._mark.checksums)
            self._write()

    def _write(self) -> None:
        """Overwrite the mark in place. It lies within one sector, so the disk writes it as a whole."""
        if self._descriptor is not None:
            line = b"%020d %020d %d" % (self._mark.lsn, self._mark.checkpointed, self._mark.checksums)
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, b"%s %08x\n" % (line, zlib.crc32(line)), 0)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None
