"""A disk whose power can be cut, and which can fail, as a VFS that SQLite uses for every file.

What is written goes to the real file at once. Beside it stands what a power cut would leave: of each file only what was
written before its last sync; of a folder only the names it had at its last sync, whoever removed or renamed since.
"""

import os
import random
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import apsw.sqlite_extra
from pinyon.storage.sqlite.connection import page_checksums

Change = tuple[int, bytes] | int
"""Bytes written at a place, or the length that was cut to."""
SECTOR = 512


class Disk(apsw.VFS):
    """The default VFS from now on, or as long as it is used with `with`.

    on: called with "write", "sync" or "open" and the path before each of these; may raise. keep: what cut() needs.
    """

    def __init__(self, on: Callable[[str, str], None] = lambda what, name: None, keep: bool = True) -> None:
        self.on, self.keep = on, keep
        self._lock = threading.RLock()
        self._safe: dict[str, bytearray] = {}
        self._pending: dict[str, list[Change]] = {}
        self.syncs = 0
        assert page_checksums.available()
        super().__init__("disk", "unix", makedefault=True)
        load_checksums_over("disk")

    def __enter__(self) -> "Disk":
        self._fsync, os.fsync = os.fsync, self._synced
        return self

    def __exit__(self, *_: object) -> None:
        os.fsync = self._fsync
        self.unregister()
        load_checksums_over("unix")

    def xOpen(self, name: Any, flags: list[int]) -> "File":
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.on("open", str(path))
        return File(self, name, str(path), flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.on("write", filename)
        if os.path.exists(filename):  # SQLite does not mind, but apsw tells its callers of it
            super().xDelete(filename, syncdir)
        if syncdir:
            with self._lock:
                self._forget_names(os.path.dirname(filename))

    def changed(self, path: str, change: Change) -> None:
        with self._lock:
            self._pending.setdefault(path, []).append(change)

    def synced(self, path: str) -> None:
        with self._lock:
            self.syncs += 1
            self._safe[path] = applied(self._safe.get(path, bytearray()), self._pending.pop(path, []))

    def _synced(self, descriptor: int) -> None:
        """os.fsync, as the rest of the program calls it."""
        self._fsync(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        with self._lock:
            if os.path.isdir(path):
                self._forget_names(path)

    def _forget_names(self, folder: str) -> None:
        for path in [path for path in self._safe if os.path.dirname(path) == folder and not os.path.exists(path)]:
            del self._safe[path]
            self._pending.pop(path, None)

    def cut(self, below: Path, to: Path, dice: random.Random | None = None) -> None:
        """Write what a power cut at this moment would leave of the files below a folder to another one.

        dice: without it nothing unsynced has reached the disk; with it, some sectors of it have, in any order.
        """
        # Never synced, but it may be there all the same. Read first: a mark is never ahead of what is synced.
        marks = {file: file.read_bytes() for file in below.rglob("*.lsn")} if dice is not None else {}
        with self._lock:
            safe = {path: bytes(content) for path, content in self._safe.items()}
            pending = {path: list(changes) for path, changes in self._pending.items()}
        for path, content in safe.items():
            if not Path(path).is_relative_to(below):
                continue
            found = bytearray(content)
            if dice is not None:
                found = applied(found, [part for c in pending.get(path, []) for part in torn(c) if dice.random() < 0.5])
            copy = to / Path(path).relative_to(below)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(found)
        for file, content in marks.items():
            copy = to / file.relative_to(below)
            if copy.parent.exists():
                copy.write_bytes(content)


def load_checksums_over(vfs: str) -> None:
    """Load SQLite's extension for checksums over this VFS. It stays over the one it was loaded over, so load a copy."""
    apsw.unregister_vfs(page_checksums.CHECKED)
    apsw.set_default_vfs(vfs)  # else whichever VFS was registered last is the default now
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(apsw.sqlite_extra.path("cksumvfs"), Path(folder) / "cksumvfs.so")
        connection = apsw.Connection(":memory:")
        connection.enable_load_extension(True)
        connection.load_extension(str(copy), "sqlite3_cksumvfs_init")
        connection.close()
    assert page_checksums.CHECKED in apsw.vfs_names()


class File(apsw.VFSFile):
    """One open file of a Disk."""

    def __init__(self, disk: Disk, name: Any, path: str, flags: list[int]) -> None:
        self._disk, self._path = disk, path
        self._kept = disk.keep and not flags[0] & (apsw.SQLITE_OPEN_DELETEONCLOSE | apsw.SQLITE_OPEN_TEMP_DB)
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.on("write", self._path)
        super().xWrite(data, offset)
        if self._kept:
            self._disk.changed(self._path, (offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        self._disk.on("write", self._path)
        super().xTruncate(size)
        if self._kept:
            self._disk.changed(self._path, size)

    def xSync(self, flags: int) -> None:
        self._disk.on("sync", self._path)
        super().xSync(flags)
        if self._kept:
            self._disk.synced(self._path)


def applied(content: bytearray, changes: list[Change]) -> bytearray:
    """The content after the changes."""
    for change in changes:
        if isinstance(change, int):
            del content[change:]
            continue
        place, data = change
        if len(content) < place + len(data):
            content.extend(bytes(place + len(data) - len(content)))
        content[place : place + len(data)] = data
    return content


def torn(change: Change) -> list[Change]:
    """A change as the sectors a disk writes one by one."""
    if isinstance(change, int):
        return [change]
    place, data = change
    return [(place + at, data[at : at + SECTOR]) for at in range(0, len(data), SECTOR)]
