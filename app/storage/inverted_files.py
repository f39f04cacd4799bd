"""Where inverted files are kept: two files beside the index's, and a note that says what they hold. No SQL."""

import contextlib
from pathlib import Path

import msgspec

from app.domain import Metric
from app.files import put_in_place
from app.storage.arrays import Records
from app.storage.calibration import Cells
from app.storage.inverted_file import InvertedFile, beside


class Kept(msgspec.Struct, frozen=True):
    """What is kept beside the file of an inverted file. size: vectors when it was built."""

    version: int
    metric: Metric
    dimension: int
    size: int
    calibration: tuple[Cells, ...]


class InvertedFiles:
    """Those of all indexes of a folder, by an index's handle and the number of a namespace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, handle: str, ns: int) -> Kept | None:
        """What is there; None if nothing is, or nothing that can be read."""
        try:
            return msgspec.json.decode(self._note_file(handle, ns).read_bytes(), type=Kept)
        except (OSError, msgspec.MsgspecError):
            return None

    def load(self, handle: str, ns: int, kept: Kept, alive: Records) -> InvertedFile:
        """Read it. alive: the rows there are. Raises whatever the readers of damaged files raise."""
        path = self._file(handle, ns, kept.version)
        return InvertedFile.load(path, kept.metric, kept.version, kept.calibration, alive)

    def save(self, handle: str, ns: int, file: InvertedFile, metric: Metric, dimension: int, size: int) -> int:
        """Write it in place of what is there; the version that is in it. Raises OSError or RuntimeError."""
        part = self._note_file(handle, ns).with_suffix(".partial")
        version = file.save(part)
        put_in_place(beside(part), beside(self._file(handle, ns, version)))
        put_in_place(part, self._file(handle, ns, version))
        part.write_bytes(msgspec.json.encode(Kept(version, metric, dimension, size, file.calibration)))
        put_in_place(part, self._note_file(handle, ns))
        self.remove(handle, ns, keep=version)
        return version

    def remove(self, handle: str, ns: int, keep: int | None = None) -> None:
        """Remove those of a namespace, but for a version."""
        file = self._file(handle, ns, keep or 0)
        kept = [] if keep is None else [file, beside(file), self._note_file(handle, ns)]
        for path in self._folder.glob(f"{_name(handle)}.ns{ns}.*"):
            if path not in kept:
                _remove(path)

    def remove_others(self, handle: str, large: set[int]) -> None:
        """Remove those of an index whose namespaces are not among these."""
        for path in self._folder.glob(f"{_name(handle)}.ns*"):
            number = path.name.removeprefix(f"{_name(handle)}.ns").partition(".")[0]
            if number.isdecimal() and int(number) not in large:
                _remove(path)

    def _file(self, handle: str, ns: int, version: int) -> Path:
        return self._folder / f"{_name(handle)}.ns{ns}.{version}.ivf"

    def _note_file(self, handle: str, ns: int) -> Path:
        return self._folder / f"{_name(handle)}.ns{ns}.json"


def _name(handle: str) -> str:
    return handle.partition("@")[0]


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
