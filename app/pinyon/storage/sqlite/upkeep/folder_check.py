"""`pinyon check`: checks every file of a data folder, and repairs files if it is asked to.

A check changes nothing, and works beside a running server too. A repair needs the folder for itself. It makes a new
file from the values that the old one stores, and moves the old file to the folder set-aside.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import apsw
import msgspec
import numpy as np

from pinyon.errors import DataLoss, FailedPrecondition, NotFound, PinyonError
from pinyon.files import put_in_place
from pinyon.storage.sqlite.connection import high_water, page_checksums
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.connection.database import lsn_of
from pinyon.storage.sqlite.connection.file_errors import translated
from pinyon.storage.sqlite.folder import index_catalogue
from pinyon.storage.sqlite.folder.data_dir import DataDir, set_aside_in
from pinyon.storage.sqlite.ivf.ivf_files import IvfFiles
from pinyon.storage.sqlite.ivf.sq8 import Sq8Codes
from pinyon.storage.sqlite.schema import changes, migrations
from pinyon.storage.sqlite.upkeep.checking import STORED_TABLES, Problem, problems, table_of
from pinyon.storage.sqlite.upkeep.rebuilding import rebuild
from pinyon.storage.sqlite.vectors import vector_rows

CHECKSUM_READS = 3
"""How often a page with a wrong checksum is read. A running server may be writing it at the first read."""


class Report(msgspec.Struct):
    """The problems of one file. name: "catalogue", or the name of an index. notes: worth knowing, but not wrong."""

    name: str
    problems: list[Problem] = []
    notes: list[str] = []

    @property
    def repairable(self) -> bool:
        """Whether everything that is wrong can be derived again from stored values."""
        return all(problem.kind == "derived" for problem in self.problems)


def check_folder(path: Path, wanted: list[str]) -> Iterator[Report]:
    """Check the catalogue and every index. If `wanted` names indexes, check only these.

    Raises FailedPrecondition if there is no data folder, and NotFound if a wanted index does not exist.
    """
    indexes = path / "indexes"
    if not indexes.is_dir():
        raise FailedPrecondition(f"There is no data folder of Pinyon's at {path}")
    files = {file.stem for file in indexes.glob("*.sqlite")}
    catalogue, states = _check_catalogue(path, files)
    names = files | states.keys()
    if missing := [name for name in wanted if name not in names]:
        raise NotFound(f"There is no index {missing[0]}; there are: {', '.join(sorted(names)) or 'none'}")
    if not wanted:
        yield catalogue
    for name in wanted or sorted(names):
        yield check_index(indexes / f"{name}.sqlite")


def _check_catalogue(path: Path, files: set[str]) -> tuple[Report, dict[str, str]]:
    """A report on the catalogue, and the state of each index in it by name. files: names of indexes with a file."""
    report, states = Report("catalogue"), dict[str, str]()
    if folders := set_aside_in(path):
        report.notes.append(f"set aside by earlier starts, in {path / 'set-aside'}: {', '.join(folders)}")
    file = path / "catalogue.sqlite"
    if not file.exists():
        report.problems.append(Problem("derived", "there is no catalogue; the next start makes one from the files"))
        return report, states
    if wrong := _wrong_pages(file):
        report.problems.append(
            Problem("derived", f"{len(wrong)} pages are not as they were written; the next start makes a new catalogue")
        )
    try:
        with contextlib.closing(connect(file, 0, "read only")) as connection:
            states = index_catalogue.states(connection)
    except apsw.Error as error:
        report.problems.append(Problem("derived", f"it cannot be read: {translated(error, file).message}"))
        return report, states
    for name in sorted(files - states.keys()):
        report.problems.append(Problem("derived", f"the index {name} is not in it; the next start adds it"))
    for name, state in sorted(states.items()):
        if state != "ready":
            report.notes.append(f"the index {name} is '{state}'; the next start finishes that, or undoes it")
    return report, states


def check_index(file: Path) -> Report:
    """Check the file of an index."""
    report = Report(file.stem)
    if not file.exists():
        report.problems.append(Problem("stored", "its file is gone; put it back, or restore it from a backup"))
        return report
    mark = high_water.read(file)
    wrong = _wrong_pages(file)
    has_checksums = page_checksums.file_has_room(file)
    if mark is not None and mark.checksums and page_checksums.file_lost_room(file):
        report.problems.append(Problem("stored", "its header says that it has no checksums, and it has"))
    elif not has_checksums:
        report.notes.append(f"its pages have no checksums; `pinyon compact {file.stem}` adds them")
    try:
        with contextlib.closing(connect(file, 0, "read only")) as connection:
            migrations.check(connection, file.name)
            connection.execute("BEGIN")  # so that all reads see the same snapshot
            if wrong:
                report.problems.append(_pages_problem(connection, wrong))
            lsn = lsn_of(connection)
            if mark is not None and lsn < mark.lsn:
                report.problems.append(Problem("stored", f"it ends at write {lsn}; write {mark.lsn} was acknowledged"))
            version = connection.pragma("user_version")
            if version < len(migrations.STEPS):
                report.notes.append(f"it has schema {version}; the next start brings it up to date")
                return report
            report.problems += problems(connection)
            report.problems += _inverted_files(connection, file)
    except apsw.Error as error:
        report.problems.append(Problem("stored", translated(error, file).message))
    except PinyonError as error:
        report.problems.append(Problem("stored", error.message))
    return report


def _wrong_pages(file: Path) -> list[int]:
    """The numbers of pages whose checksum is wrong at every read, and that the log does not replace."""
    wrong = set(page_checksums.wrong_pages(file))
    for _ in range(CHECKSUM_READS - 1):
        if not wrong:
            return []
        wrong &= set(page_checksums.wrong_pages(file))
    return sorted(wrong - page_checksums.pages_in_log(file))


def _pages_problem(connection: apsw.Connection, wrong: list[int]) -> Problem:
    names = table_of(connection, wrong)
    stored = names == "unknown" or any(name.startswith(STORED_TABLES) for name in names.split(", "))
    return Problem(
        "stored" if stored else "derived",
        f"{len(wrong)} pages are not as they were written, page {wrong[0]} first, of {names}",
    )


def _inverted_files(connection: apsw.Connection, file: Path) -> Iterator[Problem]:
    """Finds inverted files that are damaged or lack vectors. The next start makes these again."""
    files = IvfFiles(file.parent)
    for path in sorted(file.parent.glob(f"{file.stem}.ns*.json")):
        ns = int(path.name.removeprefix(f"{file.stem}.ns").partition(".")[0])
        note = files.note(file.stem, ns)
        why = None
        if note is None:
            why = "its note is not as it was written"
        else:
            try:
                rows = Sq8Codes.load(files.checked_codes_file(file.stem, ns, note))[0].rows
                changed = changes.since(connection, ns, note.version)
                stored_rows = vector_rows.row_numbers(connection, ns)
                if changed is not None and len(np.setdiff1d(np.setdiff1d(stored_rows, changed), rows)):
                    why = "it lacks vectors"
            except Exception as error:  # reading a damaged file can raise many kinds of errors
                why = str(error)
        if why is not None:
            yield Problem("derived", f"the inverted file of namespace number {ns} is not used: {why}", ns)


def repair(path: Path, report: Report, accept: bool) -> str:
    """Make a new file of an index from the values that the old file stores. Returns what was done, in words.

    If only inverted files are wrong, it removes these instead. accept: use the stored values even if they are damaged,
    which means that they may differ from what clients sent. Raises FailedPrecondition if stored values are damaged and
    `accept` is not given, or if the folder is in use. Raises DataLoss if stored values cannot be read.
    """
    folder = DataDir(path)
    try:
        if report.name == "catalogue":
            return "the next start repairs it"
        if not report.repairable and not accept:
            raise FailedPrecondition(
                f"Stored values of the index {report.name} are damaged. `pinyon restore DIR --index {report.name}` "
                "puts a backup in its place; --accept takes what there is"
            )
        file = folder.index_file(report.name)
        if not file.exists():
            raise DataLoss(f"The file of the index {report.name} is gone; put it back, or restore it from a backup")
        namespaces = [problem.inverted_file for problem in report.problems]
        if None not in namespaces:
            for ns in namespaces:
                IvfFiles(folder.indexes).remove(report.name, cast(int, ns))
            return "removed the inverted files; the next start makes them again"
        new = file.with_name(file.name + ".rebuilt")
        count = rebuild(file, new)
        aside = folder.set_aside(file, "before repair")
        put_in_place(new, file)
        return f"made again with {count} records; the old file is in {aside}"
    finally:
        folder.close()
