"""Copies the file of one index, says what the copy is, and checks it before it is used. Every backup is made of these.

A copy is of one moment, even while another connection writes.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec

from pinyon import failpoints
from pinyon.domain import Backup, BackupLabel
from pinyon.errors import DataLoss
from pinyon.files import sync
from pinyon.storage.sqlite.connection import page_checksums
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.connection.file_errors import translated
from pinyon.storage.sqlite.schema import migrations, tables

ABOUT = "backup.json"
"""The file of a backup that says what it is."""
PARTIAL = ".partial"


@contextlib.contextmanager
def complete_or_absent(folder: Path) -> Iterator[Path]:
    """A folder to fill. It gets its final name when all of it is on disk; after an error nothing of it is left.

    An empty folder of that name is replaced. Raises OSError.
    """
    part = folder.with_name(f"{folder.name}{PARTIAL}")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    part.mkdir(mode=0o700)  # like a data folder: only this user may read it
    try:
        yield part
        for inner in (*(path for path in part.iterdir() if path.is_dir()), part):
            sync(inner)
        failpoints.reach("copied")
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def bring_back(source: Path, to: Path, taken: Backup | None) -> None:
    """Check a copy of an index, then copy it.

    taken: what it was when it was taken; None if nobody wrote that down. Raises DataLoss if it is damaged or something
    else, and the errors of copy_file().
    """
    copy_file(source, to, at_rest=True)
    if taken is None:
        return
    written = described(to, taken.label)
    if written not in (None, msgspec.structs.replace(taken, bytes=to.stat().st_size)):
        raise DataLoss(f"The backup of index {taken.index.name} is damaged: its file is not what {ABOUT} says")


def described(copy: Path, label: BackupLabel) -> Backup | None:
    """What a copy is, read from itself. None if an earlier version of Pinyon made it: then it must be migrated first.

    Raises DataLoss if it does not say what it is.
    """
    try:
        with contextlib.closing(connect(copy, 0, "frozen", compare=True)) as connection:
            if connection.pragma("user_version") < len(migrations.STEPS):
                return None
            index = tables.index(connection)
            if index is None:
                raise DataLoss(f"The file {copy.name} of the backup does not say what it is")
            counts = [
                int(connection.execute(f"SELECT count(*) FROM {table}").get) for table in ("records", "namespaces")
            ]
            lsn, embedded_by = tables.lsn(connection), tables.fingerprint(connection)
    except apsw.Error as error:
        raise translated(error, copy) from error
    return Backup(label, index, lsn, embedded_by, counts[0], counts[1], copy.stat().st_size)


def copy_file(source: Path, to: Path, at_rest: bool, steps: migrations.Steps = migrations.STEPS) -> None:
    """Copy a SQLite file page by page, as one snapshot.

    at_rest: nobody writes to it, and it is checked first. Raises FailedPrecondition, DataLoss or Unavailable.
    """
    try:
        with reading(source, at_rest) as connection:
            migrations.check(connection, source.name, steps)
            if at_rest and (problem := connection.execute("PRAGMA quick_check").get) != "ok":
                raise DataLoss(f"The file {source.name} of the backup is damaged: {problem}")
            # This connection fills in checksums, which pages that are only in the log do not have yet.
            with contextlib.closing(connect(to, 0, "write")) as writing:
                if page_checksums.has_room(connection):
                    # cksumvfs sees by the first page that there are checksums, so it has to be there before the others:
                    # those of a large file are written before the copy is complete.
                    writing.pragma("user_version", 1)
                with writing.backup("main", connection, "main") as copying:
                    copying.step()
    except apsw.Error as error:
        raise translated(error, source) from error
    sync(to)


@contextlib.contextmanager
def reading(file: Path, at_rest: bool) -> Iterator[apsw.Connection]:
    """A connection to read a file. at_rest: nobody writes to it, so if its log is empty no file is made beside it."""
    log = file.with_name(file.name + "-wal")
    log_is_empty = not log.exists() or not log.stat().st_size
    connection = connect(file, 0, "frozen" if at_rest and log_is_empty else "read only", compare=True)
    try:
        yield connection
    finally:
        with contextlib.suppress(apsw.Error):  # nothing was written, so a failure here loses nothing
            connection.close()
