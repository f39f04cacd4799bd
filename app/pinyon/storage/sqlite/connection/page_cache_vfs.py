"""A VFS of SQLite that never waits for the disk: it reads what is in the system's page cache, and fails for the rest.

The connection on the event-loop thread uses it. Linux itself says whether a page is in memory (RWF_NOWAIT), so no read
of this connection can block the event loop.
"""

import errno
import os
from pathlib import Path
from typing import Any

import apsw

from pinyon.storage.sqlite.connection import page_checksums

NAME = "pinyon-page-cache"
UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""Errors of a file system that cannot read without waiting, such as tmpfs and overlayfs."""

_descriptors: dict[str, int] = {}
"""The descriptor of each database file, by real path."""
_unsupported: set[str] = set()
"""Real paths of database files on such a file system."""
_vfs: "PageCacheVFS | None" = None


class NotInMemory(Exception):
    """A part of the file is not in the page cache."""


def available(path: Path) -> bool:
    """Whether a file can be read without waiting for the disk, as far as is known. The first call registers the VFS."""
    global _vfs
    if not hasattr(os, "RWF_NOWAIT") or (_unsupported and os.path.realpath(path) in _unsupported):
        return False
    if _vfs is None:
        _vfs = PageCacheVFS()
    return True


def close_descriptors(path: Path) -> None:
    """Close the descriptors of a file. Call when all connections of this process to it are closed.

    A process that closes any descriptor of a file loses SQLite's locks on it, so this cannot be done earlier.
    """
    real = os.path.realpath(path)
    _unsupported.discard(real)
    descriptor = _descriptors.pop(real, None)
    if descriptor is not None:
        os.close(descriptor)


class PageCacheVFS(apsw.VFS):
    """Opens files as PageCacheFile."""

    def __init__(self) -> None:
        super().__init__(NAME, page_checksums.PLAIN)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        if name is None:  # a temporary file, which only this connection uses
            return apsw.VFSFile(page_checksums.PLAIN, name, flags)
        return PageCacheFile(name, flags)


class PageCacheFile(apsw.VFSFile):
    """A file whose reads raise NotInMemory instead of waiting for the disk."""

    def __init__(self, name: Any, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        super().__init__(page_checksums.PLAIN, name, flags)
        self._has_locks = bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)
        self._database = os.path.realpath(path if self._has_locks else path.removesuffix("-wal"))
        if not self._has_locks:
            self._descriptor = os.open(path, os.O_RDONLY)
        elif self._database in _descriptors:
            self._descriptor = _descriptors[self._database]
        else:
            self._descriptor = _descriptors[self._database] = os.open(path, os.O_RDONLY)

    def xRead(self, amount: int, offset: int) -> bytes:
        """Read from memory. Raises NotInMemory."""
        buffer = bytearray(amount)
        try:
            count = os.preadv(self._descriptor, [buffer], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in UNSUPPORTED:
                _unsupported.add(self._database)
            elif error.errno != errno.EAGAIN:
                raise
            raise NotInMemory from None
        if count == amount:
            return buffer  # type: ignore[return-value]  # apsw copies from any buffer
        if offset + count < os.fstat(self._descriptor).st_size:
            raise NotInMemory
        return bytes(buffer[:count])

    def xClose(self) -> None:
        """Close the file. The descriptor of the main file stays open until close_descriptors()."""
        super().xClose()
        if not self._has_locks:
            os.close(self._descriptor)
