"""Where inverted files are kept: two files beside the index's, and a note that says what they hold. No SQL.

The note has a checksum of each file and of itself: damaged bytes crash the library that reads them, or find less.
"""

import contextlib
import hashlib
from pathlib import Path

import msgspec

from pinyon.domain import IndexRef, Metric, name_of
from pinyon.files import put_in_place
from pinyon.storage.sqlite.ivf.ivf_index import InvertedFile, beside
from pinyon.storage.sqlite.ivf.nprobe import Cells
from pinyon.storage.sqlite.row_sets import Records


class Kept(msgspec.Struct, frozen=True):
    """What is kept beside the file of an inverted file. size: vectors when it was built.

    of: the index's name and the namespace's number. sha256: of the file and of that with the byte codes, in hex.
    """

    version: int
    metric: Metric
    dimension: int
    size: int
    calibration: tuple[Cells, ...]
    of: tuple[str, int] = ("", 0)
    sha256: tuple[str, str] = ("", "")


class Note(msgspec.Struct, frozen=True):
    """What was kept, as JSON, and the SHA-256 of that JSON in hex."""

    kept: msgspec.Raw
    sha256: str


class Damaged(Exception):
    """The files are not as they were written, or a start ended while they were read."""


class InvertedFiles:
    """Those of all indexes of a folder, by an index's handle and the number of a namespace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, index: IndexRef, ns: int) -> Kept | None:
        """What is there; None if nothing is, or nothing that can be trusted."""
        try:
            note = msgspec.json.decode(self._note_file(index, ns).read_bytes(), type=Note)
            kept = msgspec.json.decode(note.kept, type=Kept)
        except (OSError, msgspec.MsgspecError):
            return None
        fits = note.sha256 == hashlib.sha256(note.kept).hexdigest() and kept.of == (name_of(index), ns)
        return kept if fits else None

    def load(self, index: IndexRef, ns: int, kept: Kept, alive: Records) -> InvertedFile:
        """Read it, after comparing every byte with what was written. alive: the rows there are.

        Raises Damaged, OSError, or whatever the readers of such files raise. If reading ends the process, the next
        load() does not read them again.
        """
        path = self._file(index, ns, kept.version)
        self.compared(index, ns, kept)
        being_read = self._note_file(index, ns).with_suffix(".loading")
        if being_read.exists():
            raise Damaged("the process ended while it was read before")
        being_read.touch()
        file = InvertedFile.load(path, kept.metric, kept.version, kept.calibration, alive)
        being_read.unlink()
        return file

    def compared(self, index: IndexRef, ns: int, kept: Kept) -> Path:
        """The file with the byte codes, once both files are as they were written. Raises Damaged or OSError."""
        path = self._file(index, ns, kept.version)
        if (_digest(path), _digest(beside(path))) != kept.sha256:
            raise Damaged("it is not as it was written")
        return beside(path)

    def save(self, index: IndexRef, ns: int, file: InvertedFile, metric: Metric, dimension: int, size: int) -> int:
        """Write it in place of what is there; the version that is in it. Raises OSError or RuntimeError."""
        part = self._note_file(index, ns).with_suffix(".partial")
        version = file.save(part)
        sha256 = _digest(part), _digest(beside(part))
        put_in_place(beside(part), beside(self._file(index, ns, version)))
        put_in_place(part, self._file(index, ns, version))
        of = name_of(index), ns
        kept = msgspec.json.encode(Kept(version, metric, dimension, size, file.calibration, of, sha256))
        part.write_bytes(msgspec.json.encode(Note(msgspec.Raw(kept), hashlib.sha256(kept).hexdigest())))
        put_in_place(part, self._note_file(index, ns))
        self.remove(index, ns, keep=version)
        return version

    def remove(self, index: IndexRef, ns: int, keep: int | None = None) -> None:
        """Remove those of a namespace, but for a version."""
        file = self._file(index, ns, keep or 0)
        kept = [] if keep is None else [file, beside(file), self._note_file(index, ns)]
        for path in self._folder.glob(f"{name_of(index)}.ns{ns}.*"):
            if path not in kept:
                _remove(path)

    def remove_others(self, index: IndexRef, large: set[int]) -> None:
        """Remove those of an index whose namespaces are not among these."""
        for path in self._folder.glob(f"{name_of(index)}.ns*"):
            number = path.name.removeprefix(f"{name_of(index)}.ns").partition(".")[0]
            if number.isdecimal() and int(number) not in large:
                _remove(path)

    def _file(self, index: IndexRef, ns: int, version: int) -> Path:
        return self._folder / f"{name_of(index)}.ns{ns}.{version}.ivf"

    def _note_file(self, index: IndexRef, ns: int) -> Path:
        return self._folder / f"{name_of(index)}.ns{ns}.json"


def _digest(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
