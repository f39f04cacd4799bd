"""The data folder. Only one process at a time has it open for writing, and it writes down which one.

DATA/pinyon.lock          locked while that process lives; the operating system releases the lock when it ends
DATA/holder.json          the process with the lock; a second process names it in its error message
DATA/catalogue.sqlite     which indexes exist, see index_catalogue.py
DATA/indexes/NAME.sqlite  one file for each index, with SQLite's -wal and -shm beside it
DATA/indexes/NAME.lsn     the last write that the file acknowledged, see high_water.py
DATA/indexes/NAME.nsN.*   inverted files of large namespaces, see ivf_files.py; made again if they are missing
DATA/backups/ID/          backups of single indexes, see index_backups.py
DATA/judgements/          what people judged in the console, see services/judgements/files.py
DATA/set-aside/WHEN-...   files that could not be used and were moved out of the way, one folder for each time
"""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from filelock import BaseFileLock, FileLock, Timeout

from pinyon import decoding, failpoints
from pinyon.errors import FailedPrecondition
from pinyon.files import sync
from pinyon.storage.holder import Holder
from pinyon.storage.sqlite.connection.high_water import mark_file

log = logging.getLogger("pinyon.storage")


class LockOwner(msgspec.Struct, frozen=True):
    """The process that has the folder open. url: its address on this machine; None if it has none."""

    pid: int
    since: str
    url: str | None = None


class DataDir:
    """An open data folder. Raises FailedPrecondition if it cannot be made, written or locked.

    read_only: do not make, write or lock the folder. Raises FailedPrecondition if it does not exist.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path.resolve()
        self.indexes = self.path / "indexes"
        self.catalogue_file = self.path / "catalogue.sqlite"
        self._aside = self.path / "set-aside"
        self._lock: BaseFileLock | None = None
        if read_only:
            if not self.catalogue_file.exists():
                raise FailedPrecondition(f"There is no data folder of Pinyon's at {self.path} to read")
            return
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # only this user may read the data
            self.indexes.mkdir(exist_ok=True)
            self._lock = FileLock(self.path / "pinyon.lock", timeout=0)
            self._lock.acquire()
            now = datetime.now(UTC).isoformat(timespec="seconds")
            (self.path / "holder.json").write_bytes(msgspec.json.encode(LockOwner(os.getpid(), now)))
        except Timeout:
            raise FailedPrecondition(
                f"The data folder {self.path} is in use by {_owner_in_words(self.path)}; stop that process, choose "
                "another folder with --data-dir, or only read this one with --read-only"
            ) from None
        except OSError as error:
            raise FailedPrecondition(
                f"The data folder {self.path} cannot be opened for writing: {error.strerror or error}"
                f"{_owner(self.path)}. If it exists, --read-only reads it"
            ) from error

    def index_file(self, name: str) -> Path:
        """The path of the file of an index."""
        return self.indexes / f"{name}.sqlite"

    def sizes(self, name: str) -> dict[str, int]:
        """Bytes of the files of an index by kind: data, log, inverted."""
        file = self.index_file(name)
        kinds = {
            "data": [file],
            "log": [file.with_name(file.name + "-wal")],
            "inverted": self.indexes.glob(f"{name}.ns*"),
        }
        return {kind: sum(_size(path) for path in paths) for kind, paths in kinds.items()}

    def index_names(self, also_without_file: bool = False) -> set[str]:
        """Names of the indexes that have a file. also_without_file: or of which a log or a mark is left."""
        names = {file.stem for file in self.indexes.glob("*.sqlite")}
        if also_without_file:
            names |= {
                file.name.partition(".")[0] for end in ("sqlite-wal", "lsn") for file in self.indexes.glob(f"*.{end}")
            }
        return names

    def has_files_beside(self, name: str) -> bool:
        """Whether any of the files that belong beside the file of an index exists."""
        return any(path.exists() for path in self._beside(name))

    def log_size(self, name: str) -> int:
        """Bytes of the log of an index."""
        return self.sizes(name)["log"]

    def remove_index_files(self, name: str) -> None:
        """Remove the file of an index and everything beside it. Missing files are not an error.

        When this returns, they stay removed even after a power cut. Raises FailedPrecondition if the system refuses.
        """
        file = self.index_file(name)
        try:
            # The main file goes last: while it exists, the next start knows that the rest must be removed.
            for path in (*self._beside(name), file):
                failpoints.reach("remove")
                path.unlink(missing_ok=True)
            sync(self.indexes)
        except OSError as error:
            raise FailedPrecondition(f"The file {file} cannot be removed: {error.strerror}") from error

    def set_aside(self, file: Path, why: str) -> Path:
        """Move a SQLite file and all files beside it out of the way. Returns the folder that they are moved to.

        why: a few words for the folder's name. Raises FailedPrecondition if the system refuses.
        """
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        folder = self._aside / f"{now}-{file.stem}-{why.replace(' ', '-')}"
        beside = self._beside(file.stem) if file.parent == self.indexes else _of_sqlite(file)
        try:
            folder.mkdir(mode=0o700, parents=True)
            for path in (file, *beside):
                if path.exists():
                    path.rename(folder / path.name)
            for changed in (folder, self._aside, self.path, file.parent):
                sync(changed)
        except OSError as error:
            raise FailedPrecondition(f"The file {file} cannot be moved to {folder}: {error.strerror}") from error
        log.error("%s was moved to %s: %s. Nothing was deleted; docs/reliability.md says what to do", file, folder, why)
        return folder

    def set_aside_folders(self) -> list[str]:
        """Names of the folders of files that were moved out of the way, oldest first."""
        return set_aside_in(self.path)

    def _beside(self, name: str) -> list[Path]:
        file = self.index_file(name)
        return [*_of_sqlite(file), mark_file(file), *self.indexes.glob(f"{name}.ns*")]

    def close(self) -> None:
        """Release the lock of the folder."""
        if self._lock is not None:
            self._lock.release()


def set_aside_in(path: Path) -> list[str]:
    """Names of the folders in the set-aside of a data folder, oldest first."""
    try:
        return sorted(folder.name for folder in (path / "set-aside").iterdir())
    except OSError:
        return []


def _owner(path: Path) -> str:
    """Who owns the folder, as the end of a message. Empty if it is this user, or unknown."""
    existing = next((each for each in (path, *path.parents) if each.exists()), None)
    try:
        if existing is None or existing.stat().st_uid == os.geteuid():
            return ""
        return f"; {existing} belongs to {existing.owner()}"
    except (OSError, KeyError):
        return ""


def _of_sqlite(file: Path) -> list[Path]:
    """The files that SQLite makes beside a file."""
    return [file.with_name(file.name + end) for end in ("-wal", "-shm", "-journal")]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def announce(path: Path, url: str) -> None:
    """Write down the address of this process, which has the folder open. Raises OSError."""
    owner = last_owner(path)
    since = owner.since if owner is not None else datetime.now(UTC).isoformat(timespec="seconds")
    new = path / "holder.json.new"
    new.write_bytes(msgspec.json.encode(LockOwner(os.getpid(), since, url)))
    new.replace(path / "holder.json")


def last_owner(path: Path) -> LockOwner | None:
    """The last process that had the folder open, from holder.json. None if it cannot be read."""
    try:
        return decoding.decode((path / "holder.json").read_bytes(), LockOwner)
    except (OSError, msgspec.MsgspecError):
        return None


def in_use_by(path: Path) -> str | None:
    """The process that has the folder open, in words. None if there is none. Makes no file."""
    lock = path / "pinyon.lock"
    if not lock.exists():
        return None
    try:
        with FileLock(lock, timeout=0):
            return None
    except Timeout:
        return _owner_in_words(path)


def holder(path: Path | str) -> Holder | None:
    """The process that has the folder open. None if there is none. Makes no file."""
    folder = Path(path).resolve()
    name = in_use_by(folder)
    if name is None:
        return None
    owner = last_owner(folder)
    return Holder(name, None if owner is None else owner.url)


def _owner_in_words(path: Path) -> str:
    owner = last_owner(path)
    if owner is None:
        return "another process"
    where = f" on {owner.url}" if owner.url else ""
    return f"another Pinyon{where} (process {owner.pid}, since {owner.since})"
