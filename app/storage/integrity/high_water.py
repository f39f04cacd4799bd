"""The number of the last write that a file acknowledged, kept in a small file of its own beside it.

A log that lost its end, or a file that somebody replaced by an older one, looks whole to SQLite. The mark tells: it is
written after each commit, so that the tables can only be ahead of it, never behind. It is not synced: after a power cut
an older mark is there, which is harmless.
"""

import contextlib
import os
import re
import zlib
from pathlib import Path

import msgspec

LINE = re.compile(rb"(\d{20}) ([01]) ([0-9a-f]{8})\n")


class Mark(msgspec.Struct, frozen=True):
    """lsn: of the last acknowledged write. checksums: whether the file's pages have checksums."""

    lsn: int
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
    if found is None or f"{zlib.crc32(found[0][:22]):08x}".encode() != found[3]:
        return None
    return Mark(int(found[1]), found[2] == b"1")


def remove(path: Path) -> None:
    """Forget the mark: whatever the file holds is accepted from now on. Raises OSError."""
    mark_file(path).unlink(missing_ok=True)


class HighWaterMark:
    """The mark of an open file. Must be closed. A disk that does not take it is no reason to refuse a write."""

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):
            self._descriptor = os.open(mark_file(path), os.O_WRONLY | os.O_CREAT, 0o600)

    def note(self, mark: Mark) -> None:
        """Write it in place; 32 bytes within one sector are written as a whole."""
        if self._descriptor is not None:
            told = b"%020d %d" % (mark.lsn, mark.checksums)
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, b"%s %08x\n" % (told, zlib.crc32(told)), 0)

    def close(self) -> None:
        """Let the file go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
