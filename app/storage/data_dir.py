"""The data folder: one process at a time holds it, and says who it is.

DATA/pinyon.lock          held as long as the process lives; the operating system lets go of it at any kind of end
DATA/holder.json          who holds it, for the message a second process prints
DATA/catalogue.sqlite     which indexes exist, see index_catalogue.py
DATA/indexes/NAME.sqlite  one file per index, with SQLite's -wal and -shm beside it
DATA/indexes/NAME.nsN.*   inverted files of large namespaces, see approximate.py; made again if they are taken away
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from filelock import BaseFileLock, FileLock, Timeout

from app import failpoints
from app.errors import FailedPrecondition
from app.files import sync


class Holder(msgspec.Struct, frozen=True):
    """The process that has the folder open."""

    pid: int
    since: str


class DataDir:
    """An open data folder. Raises FailedPrecondition if it cannot be made, written or locked.

    read_only: neither; it must be there.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path.resolve()
        self.indexes = self.path / "indexes"
        self.catalogue_file = self.path / "catalogue.sqlite"
        self._lock: BaseFileLock | None = None
        if read_only:
            if not self.catalogue_file.exists():
                raise FailedPrecondition(f"There is no data folder of Pinyon's at {self.path} to read")
            return
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # the data is nobody else's business
            self.indexes.mkdir(exist_ok=True)
            self._lock = FileLock(self.path / "pinyon.lock", timeout=0)
            self._lock.acquire()
            now = datetime.now(UTC).isoformat(timespec="seconds")
            (self.path / "holder.json").write_bytes(msgspec.json.encode(Holder(os.getpid(), now)))
        except Timeout:
            raise FailedPrecondition(
                f"The data folder {self.path} is in use by {_holder(self.path)}; stop that process, choose another "
                "folder with --data-dir, or only read this one with --read-only"
            ) from None
        except OSError as error:
            raise FailedPrecondition(
                f"The data folder {self.path} cannot be opened for writing: {error.strerror or error}. If it is there, "
                "--read-only reads it"
            ) from error

    def index_file(self, name: str) -> Path:
        """Where the index of this name lives."""
        return self.indexes / f"{name}.sqlite"

    def sizes(self, name: str) -> dict[str, int]:
        """Bytes of an index's files by kind: data, log, inverted."""
        file = self.index_file(name)
        kinds = {
            "data": [file],
            "log": [file.with_name(file.name + "-wal")],
            "inverted": self.indexes.glob(f"{name}.ns*"),
        }
        return {kind: sum(_size(path) for path in paths) for kind, paths in kinds.items()}

    def remove_index_files(self, name: str) -> None:
        """Remove the file of an index and what SQLite keeps beside it; none of it there is fine.

        When this returns they are gone also after a power cut. Raises FailedPrecondition if the system refuses.
        """
        file = self.index_file(name)
        try:
            # The main file last: while it is there, the rest of it is known to be unfinished business.
            beside = [file.with_name(file.name + end) for end in ("-wal", "-shm", "-journal")]
            for path in (*beside, *self.indexes.glob(f"{name}.ns*"), file):
                failpoints.reach("remove")
                path.unlink(missing_ok=True)
            sync(self.indexes)
        except OSError as error:
            raise FailedPrecondition(f"The file {file} cannot be removed: {error.strerror}") from error

    def close(self) -> None:
        """Let the folder go."""
        if self._lock is not None:
            self._lock.release()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def in_use_by(path: Path) -> str | None:
    """Who holds the folder, or None; makes nothing there."""
    lock = path / "pinyon.lock"
    if not lock.exists():
        return None
    try:
        with FileLock(lock, timeout=0):
            return None
    except Timeout:
        return _holder(path)


def _holder(path: Path) -> str:
    try:
        holder = msgspec.json.decode((path / "holder.json").read_bytes(), type=Holder)
    except (OSError, msgspec.MsgspecError):
        return "another process"
    return f"another Pinyon (process {holder.pid}, since {holder.since})"
