"""Backups of single indexes, kept in the data folder.

DATA/backups/ID/index.sqlite   the file of the index, as it was at one moment
DATA/backups/ID/backup.json    what it is (domain.Backup)
DATA/backups/*.partial         a backup that is being made, or a copy that is becoming an index; a start removes it
DATA/backups/*.deleted         a backup that is being deleted; a start removes the rest of it

A folder gets the name ID when all of it is on disk, and loses it before any of it is removed.
"""

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec

from pinyon import decoding
from pinyon.domain import Backup, BackupLabel
from pinyon.errors import AlreadyExists, DataLoss, FailedPrecondition, NotFound, Unavailable
from pinyon.files import replace_json, sync
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.connection.file_errors import translated
from pinyon.storage.sqlite.folder.backups import index_copy
from pinyon.storage.sqlite.folder.backups.index_copy import ABOUT, PARTIAL
from pinyon.storage.sqlite.schema import migrations

COPY = "index.sqlite"
DELETED = ".deleted"
RETRY_AFTER_S = 5

T = TypeVar("T")
log = logging.getLogger("pinyon.storage")


class IndexBackups:
    """The backups in one data folder. Every method reads or writes files, so call it from a worker thread."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "backups"

    def clear(self) -> None:
        """Remove what was not finished when the last process ended."""
        for end in (PARTIAL, DELETED):
            for path in self._folder.glob(f"*{end}"):
                shutil.rmtree(path, ignore_errors=True)

    def take(self, file: Path, label: BackupLabel) -> Backup:
        """Copy the file of an index, even while it is written to.

        Raises AlreadyExists, or Unavailable if the disk fails.
        """
        if label.id in self._ids():
            raise AlreadyExists(f"Backup {label.id} already exists")
        with _disk_errors(), index_copy.complete_or_absent(self._folder / label.id) as part:
            index_copy.copy_file(file, part / COPY, at_rest=False)
            backup = index_copy.described(part / COPY, label)
            assert backup is not None  # an index that is open has been migrated
            replace_json(part / ABOUT, backup)
            sync(self._folder.parent)  # the folder of all backups may be new
        return backup

    def all(self) -> list[Backup]:
        """Every complete backup, oldest first. Those that cannot be read are left out, and named in the log."""
        backups = [backup for id in self._ids() if (backup := self._readable(id)) is not None]
        return sorted(backups, key=lambda backup: (backup.label.created_at, backup.label.id))

    def get(self, id: str) -> Backup:
        """One backup. Raises NotFound."""
        backup = self._readable(id) if id in self._ids() else None
        if backup is None:
            raise NotFound(f"Backup {id[:80]} not found.")
        return backup

    def _ids(self) -> set[str]:
        return {
            about.parent.name
            for about in self._folder.glob(f"*/{ABOUT}")
            if about.parent.suffix not in (PARTIAL, DELETED)
        }

    def _readable(self, id: str) -> Backup | None:
        try:
            backup = read(self._folder / id / ABOUT)
        except DataLoss as error:
            if not isinstance(error.__cause__, FileNotFoundError):  # else it was deleted a moment ago
                log.error("%s", error.message)
            return None
        if backup.label.id != id:
            log.error("the backup %s cannot be used: it says that its id is %s", self._folder / id, backup.label.id)
            return None
        return backup

    def remove(self, id: str) -> None:
        """Delete a backup. Raises NotFound, or Unavailable if the disk fails."""
        self.get(id)
        aside = self._folder / f"{id}{DELETED}"
        with _disk_errors():
            try:
                (self._folder / id).rename(aside)
            except FileNotFoundError:  # another caller has deleted it a moment ago
                raise NotFound(f"Backup {id[:80]} not found.") from None
            sync(self._folder)
        shutil.rmtree(aside, ignore_errors=True)  # a start removes the rest

    def read(self, id: str, run: Callable[[apsw.Connection], T]) -> T:
        """Call this with a connection to a backup, which nobody changes. The checksums of what it reads are compared.

        Raises NotFound, DataLoss if the backup is damaged, or FailedPrecondition if another version made it.
        """
        self.get(id)
        file = self._folder / id / COPY
        try:
            with contextlib.closing(connect(file, 0, "frozen", compare=True)) as connection:
                migrations.check(connection, file.name)
                if connection.pragma("user_version") < len(migrations.STEPS):
                    raise FailedPrecondition(
                        f"Backup {id} was made by an earlier version of Pinyon, so its records cannot be read from it; "
                        "make an index of it"
                    )
                return run(connection)
        except apsw.Error as error:
            raise translated(error, file) from error

    def copy_out(self, id: str, name: str) -> Path:
        """Check a backup and copy it, for an index of this name. Returns the file, in a folder that a start removes.

        Raises NotFound, DataLoss or FailedPrecondition if the backup cannot be used, Unavailable if the disk fails.
        """
        backup = self.get(id)
        part = self._folder / f"{id}-{name}{PARTIAL}"
        try:
            with _disk_errors():
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(mode=0o700)
                file = part / f"{name}.sqlite"
                index_copy.bring_back(self._folder / id / COPY, file, backup)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return file


def read(about: Path) -> Backup:
    """What a backup says that it is. Raises DataLoss if that cannot be read."""
    try:
        return decoding.decode(about.read_bytes(), Backup)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataLoss(f"The backup {about.parent} cannot be used: {error}") from error


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"The disk did not take the backup: {error.strerror or error}", RETRY_AFTER_S) from error
