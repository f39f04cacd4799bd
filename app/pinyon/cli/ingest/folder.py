"""Finds the documents of a folder."""

import hashlib
import os
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import msgspec

from pinyon.documents import reading
from pinyon.documents.record_ids import document_id
from pinyon.errors import InvalidArgument

BUILT = ("__pycache__", "node_modules", "build", "dist", "target", "venv", "site-packages", "*.egg-info")
"""Folders of what programs have made or fetched. Hidden ones are left out too."""


class SourceFile(msgspec.Struct, frozen=True):
    """A document in the folder. source: its path, beginning with the prefix. modified: seconds since 1970."""

    path: Path
    source: str
    modified: int
    digest: str

    @property
    def document(self) -> str:
        """What the ids of its chunks begin with."""
        return document_id(self.source)


def as_text(source: str) -> str:
    """A source as text. Bytes of a file's name that are not UTF-8 become question marks."""
    return os.fsencode(source).decode(errors="replace")


class Listing(msgspec.Struct, frozen=True):
    """The documents of a folder by id, and why others cannot be read, by their paths. A path may be a folder's."""

    files: dict[str, SourceFile]
    unreadable: dict[str, str]

    def may_exist(self, document: str) -> bool:
        """Whether a document may be in the folder although it is not listed, because it could not be read."""
        paths = [document_id(path) for path in self.unreadable]
        return any(document == path or document.startswith(f"{path}/") for path in paths)


class Folder:
    """A folder whose documents are listed again and again. Only files that have changed are read again.

    prefix: what their sources begin with. include: globs, one of which a document must match; none for all. exclude:
    globs of what is left out. A glob is compared with the path in the folder and with the name of each part of it.
    Raises InvalidArgument if there is no such folder.
    """

    def __init__(self, root: Path, prefix: str, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self.root = root.resolve()
        self.prefix = prefix
        self._include, self._exclude = include, exclude
        self._digests: dict[Path, tuple[int, int, str]] = {}
        if not self.root.is_dir():
            raise InvalidArgument(f"There is no folder {root}; `pinyon ingest` reads a folder of documents")

    @property
    def id_prefix(self) -> str:
        """What the ids of all its documents begin with."""
        return document_id(self.prefix)

    def listed(self) -> Listing:
        """The documents that are there now, in the order of their paths.

        Raises InvalidArgument if the folder itself cannot be opened any more.
        """
        listing = Listing({}, {})
        digests: dict[Path, tuple[int, int, str]] = {}

        def cannot_enter(error: OSError) -> None:
            if Path(str(error.filename)) == self.root:
                raise InvalidArgument(f"The folder {self.root} cannot be opened: {error.strerror}") from error
            listing.unreadable[self._source(Path(str(error.filename)))] = f"it cannot be opened: {error.strerror}"

        for folder, folders, names in os.walk(self.root, onerror=cannot_enter):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if not self._left_out(here / name, of_programs=True))
            for name in sorted(names):
                path = here / name
                if not reading.is_document(path) or self._left_out(path) or not self._included(path):
                    continue
                try:
                    self._add(path, listing, digests)
                except OSError as error:
                    listing.unreadable[self._source(path)] = f"it cannot be opened: {error.strerror or error}"
        self._digests = digests
        return listing

    def _add(self, path: Path, listing: Listing, digests: dict[Path, tuple[int, int, str]]) -> None:
        source = self._source(path)
        if path.is_symlink() and not path.resolve().is_relative_to(self.root):
            listing.unreadable[source] = "it is a link to a place outside of the folder"
            return
        status = path.stat()
        if not path.is_file():
            return
        known = self._digests.get(path)
        if known is not None and known[:2] == (status.st_mtime_ns, status.st_size):
            digest = known[2]
        else:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        digests[path] = (status.st_mtime_ns, status.st_size, digest)
        file = SourceFile(path, source, int(status.st_mtime), digest)
        listing.files[file.document] = file

    def _source(self, path: Path) -> str:
        return self.prefix + path.relative_to(self.root).as_posix()

    def _left_out(self, path: Path, of_programs: bool = False) -> bool:
        hidden = path.name.startswith(".") or (of_programs and any(fnmatch(path.name, glob) for glob in BUILT))
        return hidden or self._matches(path, self._exclude)

    def _included(self, path: Path) -> bool:
        return not self._include or self._matches(path, self._include)

    def _matches(self, path: Path, globs: Sequence[str]) -> bool:
        inside = path.relative_to(self.root)
        names = (inside.as_posix(), *inside.parts)
        return any(fnmatch(name, glob.rstrip("/")) for glob in globs for name in names)
