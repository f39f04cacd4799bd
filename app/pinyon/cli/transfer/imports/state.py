"""How far an import is: a small file in the user's state folder, from which an interrupted import goes on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pinyon import decoding
from pinyon.cli.transfer.imports.files import ImportFile
from pinyon.errors import FailedPrecondition, PinyonError


class FileState(msgspec.Struct):
    """How far a file is. row: the last row that is stored or was refused. size, modified: of the file at that time."""

    row: int
    size: int | None
    modified: int


class ImportState(msgspec.Struct):
    """How far an import is. files: by their paths. imported, refused: rows."""

    files: dict[str, FileState] = {}
    imported: int = 0
    refused: int = 0

    def row(self, file: ImportFile) -> int:
        """The last row of a file that is done. Raises FailedPrecondition if the file has changed since."""
        done = self.files.get(str(file.path))
        if done is None:
            return 0
        if (done.size, done.modified) != (file.size, file.modified):
            raise FailedPrecondition(
                f"{file.name} has changed since the import was interrupted, so it cannot go on; begin again without "
                "--resume. Rows that are stored already are stored again"
            )
        return done.row

    def reached(self, file: ImportFile, row: int) -> None:
        """Note that a file is done up to this row."""
        self.files[str(file.path)] = FileState(row, file.size, file.modified)


class StateFile:
    """Where the state of one import is. what: everything that tells this import from others."""

    def __init__(self, what: Sequence[object]) -> None:
        from platformdirs import user_state_path

        name = hashlib.sha256(msgspec.json.encode(what)).hexdigest()[:32]
        self._path: Path = user_state_path("pinyon") / "imports" / f"{name}.json"

    def read(self) -> ImportState | None:
        """The state of an interrupted import; None if there is none. Raises FailedPrecondition if it is unreadable."""
        try:
            return decoding.decode(self._path.read_bytes(), ImportState)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise FailedPrecondition(f"{self._path} cannot be read, so the import cannot go on: {error}") from error

    def write(self, state: ImportState) -> None:
        """Store the state. It need not outlast a power cut: rows that are stored twice do no harm.

        Raises FailedPrecondition.
        """
        part = self._path.with_suffix(".partial")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode(state))
            part.replace(self._path)
        except OSError as error:
            raise self._unwritable(error) from error

    def remove(self) -> None:
        """The import has ended, or another one begins. Raises FailedPrecondition."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> PinyonError:
        return FailedPrecondition(
            f"{self._path}, from which an interrupted import goes on, cannot be written: {error.strerror or error}. "
            "The variable XDG_STATE_HOME names another folder"
        )
