"""Backups of a whole data folder: the catalogue, every finished index and the API keys.

Inverted files are not copied, because they can be made again. backup.json says what each index was.
"""

import contextlib
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import msgspec

from pinyon import decoding
from pinyon.domain import Backup, BackupLabel
from pinyon.errors import AlreadyExists, DataLoss, FailedPrecondition, NotFound
from pinyon.files import put_in_place, replace_json, sync
from pinyon.storage.sqlite.folder import index_catalogue
from pinyon.storage.sqlite.folder.backups import index_backups, index_copy
from pinyon.storage.sqlite.folder.backups.index_copy import ABOUT
from pinyon.storage.sqlite.folder.data_dir import DataDir

CATALOGUE, INDEXES = "catalogue.sqlite", "indexes"
OTHER_FILES = ("keys.json",)
"""Files of the data folder that are copied as they are."""


def backup(data_dir: Path, to: Path) -> list[str]:
    """Copy a data folder, even while a server writes to it. Returns the names of the copied indexes.

    Raises AlreadyExists if the target is not empty. Raises FailedPrecondition or DataLoss if something cannot be read
    or written.
    """
    source = DataDir(data_dir, read_only=True).path
    label = BackupLabel(str(uuid4()), datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))
    with _new_folder(to) as part:
        index_copy.copy_file(source / CATALOGUE, part / CATALOGUE, False, index_catalogue.STEPS)
        taken = {}
        for file in _files_of_ready_indexes(source, part):
            copy = part / INDEXES / file.name
            index_copy.copy_file(file, copy, at_rest=False)
            taken[file.stem] = index_copy.described(copy, label)
        _copy_other_files(source, part)
        replace_json(part / ABOUT, taken)
    return sorted(taken)


def restore(backup: Path, data_dir: Path) -> list[str]:
    """Make a data folder from a backup, after checking every file. Returns the names of the indexes.

    Raises the errors of backup().
    """
    if not (backup / CATALOGUE).exists():
        raise FailedPrecondition(f"There is no backup of Pinyon's at {backup}")
    taken = _taken(backup)
    with _new_folder(data_dir) as part:
        index_copy.copy_file(backup / CATALOGUE, part / CATALOGUE, True, index_catalogue.STEPS)
        files = _files_of_ready_indexes(backup, part)
        for file in files:
            index_copy.bring_back(file, part / INDEXES / file.name, taken.get(file.stem))
        _copy_other_files(backup, part)
    return sorted(file.stem for file in files)


def restore_index(backup: Path, data_dir: Path, name: str) -> Path | None:
    """Check one index of a backup, and put it into a data folder in place of the index of that name.

    backup: a folder that backup() made, or a folder of IndexBackups. Returns the folder that the old file was moved to,
    or None if there was no old file. Raises the errors of backup(), NotFound if the backup has no such index, and
    FailedPrecondition if the data folder is in use.
    """
    files = _files(backup)
    if name not in files:
        raise NotFound(f"The backup {backup} has no index {name}; it has: {', '.join(sorted(files)) or 'none'}")
    source, taken = files[name]
    folder = DataDir(data_dir)
    try:
        file = folder.index_file(name)
        new = file.with_name(file.name + ".restored")
        new.unlink(missing_ok=True)
        index_copy.bring_back(source, new, taken)
        replaced = file.exists() or folder.has_files_beside(name)
        aside = folder.set_aside(file, "replaced by a backup") if replaced else None
        put_in_place(new, file)
        return aside
    except OSError as error:
        raise FailedPrecondition(f"The folder {data_dir} cannot be written: {error.strerror or error}") from error
    finally:
        folder.close()


@contextlib.contextmanager
def _new_folder(to: Path) -> Iterator[Path]:
    to = to.resolve()
    if to.exists() and any(to.iterdir()):
        raise AlreadyExists(f"The folder {to} is there already and is not empty; name another one")
    try:
        with index_copy.complete_or_absent(to) as part:
            (part / INDEXES).mkdir()
            yield part
    except OSError as error:
        raise FailedPrecondition(f"The folder {to} cannot be written: {error.strerror or error}") from error


def _files_of_ready_indexes(source: Path, part: Path) -> list[Path]:
    """The files of the indexes that the copied catalogue calls finished, as far as they have not been deleted since."""
    with index_copy.reading(part / CATALOGUE, at_rest=True) as connection:
        names = [name for name, state in index_catalogue.states(connection).items() if state == "ready"]
    return [file for name in names if (file := source / INDEXES / f"{name}.sqlite").exists()]


def _copy_other_files(source: Path, part: Path) -> None:
    for name in OTHER_FILES:
        if (source / name).exists():
            shutil.copy(source / name, part / name)
            sync(part / name)


def _files(backup: Path) -> dict[str, tuple[Path, Backup | None]]:
    """The file of each index of a backup, and what it was when it was taken, by the name of the index."""
    if (backup / index_backups.COPY).exists():
        taken = index_backups.read(backup / ABOUT)
        return {taken.index.name: (backup / index_backups.COPY, taken)}
    known = _taken(backup)
    return {file.stem: (file, known.get(file.stem)) for file in (backup / INDEXES).glob("*.sqlite")}


def _taken(backup: Path) -> dict[str, Backup | None]:
    """What each index of a backup was. Empty if an earlier version made the backup."""
    try:
        return decoding.decode((backup / ABOUT).read_bytes(), dict[str, Backup | None])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise DataLoss(f"The file {backup / ABOUT} cannot be read: {error}") from error
