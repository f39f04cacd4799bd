"""Saves inverted files and reads them again. No SQL.

Each one has two files beside the index's file, and a note that says what they hold. The note has a checksum of each
file and of itself, because damaged bytes could crash the library that reads them, or let it find less.
"""

import contextlib
import hashlib
from pathlib import Path

import msgspec

from pinyon import decoding
from pinyon.domain import IndexRef, Metric, name_of
from pinyon.files import put_in_place
from pinyon.storage.shared.row_sets import Records
from pinyon.storage.sqlite.ivf.ivf_index import IvfIndex, codes_file
from pinyon.storage.sqlite.ivf.nprobe import MeasuredNprobe


class IvfNote(msgspec.Struct, frozen=True):
    """What the files of an inverted file hold. version: of the namespace. size: its vectors when it was built.

    of: the index's name and the namespace's number. sha256: of both files, in hex.
    """

    version: int
    metric: Metric
    dimension: int
    size: int
    calibration: tuple[MeasuredNprobe, ...]
    of: tuple[str, int] = ("", 0)
    sha256: tuple[str, str] = ("", "")


class SignedNote(msgspec.Struct, frozen=True, rename={"note": "kept"}):
    """An IvfNote as JSON, and the SHA-256 of that JSON in hex. The other name is that of the file's field."""

    note: msgspec.Raw
    sha256: str


class DamagedFile(Exception):
    """The files are not as they were written, or the process ended while it read them."""


class IvfFiles:
    """The saved inverted files of a folder, by index and number of a namespace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, index: IndexRef, ns: int) -> IvfNote | None:
        """The note of a namespace; None if there is none that can be trusted."""
        try:
            signed = decoding.decode(self._note_file(index, ns).read_bytes(), SignedNote)
            note = decoding.decode(signed.note, IvfNote)
        except (OSError, msgspec.MsgspecError):
            return None
        fits = signed.sha256 == hashlib.sha256(signed.note).hexdigest() and note.of == (name_of(index), ns)
        return note if fits else None

    def load(self, index: IndexRef, ns: int, note: IvfNote, alive: Records) -> IvfIndex:
        """Read an inverted file, after comparing every byte with what was written. alive: the rows that exist.

        Raises DamagedFile, OSError, or whatever the readers of such files raise. If reading ends the process, the next
        load() does not read the files again.
        """
        path = self._file(index, ns, note.version)
        self.checked_codes_file(index, ns, note)
        being_read = self._note_file(index, ns).with_suffix(".loading")
        if being_read.exists():
            raise DamagedFile("the process ended while it was read before")
        being_read.touch()
        file = IvfIndex.load(path, note.metric, note.version, note.calibration, alive)
        being_read.unlink()
        return file

    def checked_codes_file(self, index: IndexRef, ns: int, note: IvfNote) -> Path:
        """Compare both files with their checksums; the path of the one with the byte codes.

        Raises DamagedFile or OSError.
        """
        path = self._file(index, ns, note.version)
        if (_digest(path), _digest(codes_file(path))) != note.sha256:
            raise DamagedFile("it is not as it was written")
        return codes_file(path)

    def save(self, index: IndexRef, ns: int, file: IvfIndex, metric: Metric, dimension: int, size: int) -> int:
        """Replace the files of a namespace. Returns the version that they hold. Raises OSError or RuntimeError."""
        part = self._note_file(index, ns).with_suffix(".partial")
        version = file.save(part)
        sha256 = _digest(part), _digest(codes_file(part))
        put_in_place(codes_file(part), codes_file(self._file(index, ns, version)))
        put_in_place(part, self._file(index, ns, version))
        of = name_of(index), ns
        note = msgspec.json.encode(IvfNote(version, metric, dimension, size, file.calibration, of, sha256))
        part.write_bytes(msgspec.json.encode(SignedNote(msgspec.Raw(note), hashlib.sha256(note).hexdigest())))
        put_in_place(part, self._note_file(index, ns))
        self.remove(index, ns, keep=version)
        return version

    def remove(self, index: IndexRef, ns: int, keep: int | None = None) -> None:
        """Remove the files of a namespace, except those of the version `keep`."""
        file = self._file(index, ns, keep or 0)
        wanted = [] if keep is None else [file, codes_file(file), self._note_file(index, ns)]
        for path in self._folder.glob(f"{name_of(index)}.ns{ns}.*"):
            if path not in wanted:
                _remove(path)

    def remove_others(self, index: IndexRef, large: set[int]) -> None:
        """Remove the files of an index whose namespaces are not among these numbers."""
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
