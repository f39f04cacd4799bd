"""Copies a data folder: the catalogue, every finished index and the API keys.

A copy is written next to its final place, and renamed when all of it is on disk. Inverted files are not copied, because
they can be made again.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw

from pinyon import failpoints
from pinyon.errors import AlreadyExists, DataLoss, FailedPrecondition, NotFound
from pinyon.files import put_in_place, sync
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.connection.file_errors import translated
from pinyon.storage.sqlite.folder import index_catalogue
from pinyon.storage.sqlite.folder.data_dir import DataDir
from pinyon.storage.sqlite.schema import migrations

OTHER_FILES = ("keys.json",)
"""Files of the data folder that are copied as they are."""


def backup(data_dir: Path, to: Path) -> list[str]:
    """Copy a data folder, even while a server writes to it. Returns the names of the copied indexes.

    Raises AlreadyExists if the target is not empty. Raises FailedPrecondition or DataLoss if something cannot be read
    or written.
    """
    return _copy(DataDir(data_dir, read_only=True).path, to, check=False)


def restore(backup: Path, data_dir: Path) -> list[str]:
    """Make a data folder from a backup, after checking every file. Returns the names of the indexes.

    Raises the errors of backup().
    """
    if not (backup / "catalogue.sqlite").exists():
        raise FailedPrecondition(f"There is no backup of Pinyon's at {backup}")
    return _copy(backup, data_dir, check=True)


def restore_index(backup: Path, data_dir: Path, name: str) -> Path | None:
    """Check one index of a backup, and put it into a data folder in place of the index of that name.

    Returns the folder that the old file was moved to, or None if there was no old file. Raises the errors of backup(),
    NotFound if the backup has no such index, and FailedPrecondition if the data folder is in use.
    """
    source = backup / "indexes" / f"{name}.sqlite"
    if not source.exists():
        names = sorted(file.stem for file in (backup / "indexes").glob("*.sqlite"))
        raise NotFound(f"The backup {backup} has no index {name}; it has: {', '.join(names) or 'none'}")
    folder = DataDir(data_dir)
    try:
        file = folder.index_file(name)
        new = file.with_name(file.name + ".restored")
        new.unlink(missing_ok=True)
        copy_file(source, new, True, migrations.STEPS)
        taken = file.exists() or folder.has_files_beside(name)
        aside = folder.set_aside(file, "replaced by a backup") if taken else None
        put_in_place(new, file)
        return aside
    except OSError as error:
        raise FailedPrecondition(f"The folder {data_dir} cannot be written: {error.strerror or error}") from error
    finally:
        folder.close()


def _copy(source: Path, to: Path, check: bool) -> list[str]:
    to = to.resolve()
    if to.exists() and any(to.iterdir()):
        raise AlreadyExists(f"The folder {to} is there already and is not empty; name another one")
    part = to.with_name(f"{to.name}.partial")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(mode=0o700)  # like a data folder: only this user may read it
        (part / "indexes").mkdir()
        copy_file(source / "catalogue.sqlite", part / "catalogue.sqlite", check, index_catalogue.STEPS)
        names = _ready(part / "catalogue.sqlite")
        for name in names:
            file = source / "indexes" / f"{name}.sqlite"
            if file.exists():  # it may have been deleted since the catalogue was copied
                copy_file(file, part / "indexes" / file.name, check, migrations.STEPS)
        for name in OTHER_FILES:
            if (source / name).exists():
                shutil.copy(source / name, part / name)
                sync(part / name)
        for folder in (part / "indexes", part):
            sync(folder)
        failpoints.reach("copied")
        if to.exists():
            to.rmdir()
        part.rename(to)
        sync(to.parent)
    except OSError as error:
        raise FailedPrecondition(f"The folder {to} cannot be written: {error.strerror or error}") from error
    return sorted(file.stem for file in (to / "indexes").glob("*.sqlite"))


def copy_file(source: Path, to: Path, check: bool, steps: migrations.Steps = migrations.STEPS) -> None:
    """Copy a SQLite file page by page, as one snapshot, even while another connection writes to it.

    check: nobody writes to it, and it is checked first. Raises FailedPrecondition, DataLoss or Unavailable.
    """
    try:
        with _reading(source, at_rest=check) as reading:
            migrations.check(reading, source.name, steps)
            if check and (problem := reading.execute("PRAGMA quick_check").get) != "ok":
                raise DataLoss(f"The file {source.name} of the backup is damaged: {problem}")
            # This connection fills in checksums, which pages that are only in the log do not have yet.
            with (
                contextlib.closing(connect(to, 0, "write")) as writing,
                writing.backup("main", reading, "main") as copying,
            ):
                copying.step()
    except apsw.Error as error:
        raise translated(error, source) from error
    sync(to)


def _ready(catalogue: Path) -> list[str]:
    with _reading(catalogue, at_rest=True) as connection:
        return [name for name, state in index_catalogue.states(connection).items() if state == "ready"]


@contextlib.contextmanager
def _reading(file: Path, at_rest: bool) -> Iterator[apsw.Connection]:
    """A connection to read a file. at_rest: nobody writes to it, so if its log is empty no file is made beside it."""
    log = file.with_name(file.name + "-wal")
    log_is_empty = not log.exists() or not log.stat().st_size
    connection = connect(file, 0, "frozen" if at_rest and log_is_empty else "read only", compare=True)
    try:
        yield connection
    finally:
        with contextlib.suppress(apsw.Error):  # nothing was written, so a failure here loses nothing
            connection.close()
