"""A VFS of SQLite that never waits for the disk: it reads what is in the system's page cache, and refuses the rest.

A connection on the event-loop thread uses it. The kernel itself tells whether a page is in memory (RWF_NOWAIT of
Linux), so such a connection cannot hold up the event loop, whatever it is asked for.
"""

import errno
import os
from pathlib import Path
from typing import Any

import apsw

from pinyon.storage.sqlite.connection import page_checksums

NAME = "pinyon-page-cache"
WOULD_WAIT = (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of a read that would wait for the disk, or that the file system cannot do without waiting."""

_descriptors: dict[str, list[int]] = {}
_vfs: "PageCacheVFS | None" = None


class NotInMemory(Exception):
    """A part of the file is not in the page cache."""


def available() -> bool:
    """Whether the system can refuse to wait for the disk. Registers the VFS when it is first asked."""
    global _vfs
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    if _vfs is None:
        _vfs = PageCacheVFS()
    return True


def close_descriptors(path: Path) -> None:
    """Close what was opened for the connections to a file. Call when all connections of this process are closed.

    SQLite's locks are lost when a process closes any descriptor of the file, so this cannot be done earlier.
    """
    for descriptor in _descriptors.pop(os.path.abspath(path), []):
        os.close(descriptor)


class PageCacheVFS(apsw.VFS):
    """Opens files as PageCacheFile."""

    def __init__(self) -> None:
        super().__init__(NAME, page_checksums.PLAIN)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        if name is None:  # a temporary file, which is of this connection alone
            return apsw.VFSFile(page_checksums.PLAIN, name, flags)
        return PageCacheFile(name, flags)


class PageCacheFile(apsw.VFSFile):
    """A file whose reads raise NotInMemory instead of waiting for the disk."""

    def __init__(self, name: Any, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        super().__init__(page_checksums.PLAIN, name, flags)
        self._descriptor = os.open(path, os.O_RDONLY)
        self._has_locks = bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)
        if self._has_locks:
            _descriptors.setdefault(os.path.abspath(path), []).append(self._descriptor)

    def xRead(self, amount: int, offset: int) -> bytes:
        """Read from memory. Raises NotInMemory."""
        buffer = bytearray(amount)
        try:
            count = os.preadv(self._descriptor, [buffer], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in WOULD_WAIT:
                raise NotInMemory from None
            raise
        if count == amount:
            return buffer  # type: ignore[return-value]  # apsw copies from any buffer
        if offset + count < os.fstat(self._descriptor).st_size:
            raise NotInMemory
        return bytes(buffer[:count])

    def xClose(self) -> None:
        """Close the file; see close_descriptors() for the file that has SQLite's locks."""
        super().xClose()
        if not self._has_locks:
            os.close(self._descriptor)
