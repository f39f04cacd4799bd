"""Files on this machine, in allowed folders only.

A path is resolved before anything else is done with it, so that no link and no ".." leads out of these folders.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pinyon.errors import InvalidArgument
from pinyon.services.imports.sources import SourceFile, not_allowed, only_file, source_files


class LocalFiles:
    """A file or a folder. path: absolute. allowed: absolute folders and files."""

    def __init__(self, path: str, allowed: Sequence[str]) -> None:
        """Raises PermissionDenied if the path leads elsewhere, whether or not there is something."""
        self._address = path
        self._allowed = [os.path.realpath(each) for each in allowed]
        self._path = self._resolved(path)

    def _resolved(self, path: str) -> str:
        """The path without links and "..". Raises PermissionDenied."""
        real = os.path.realpath(path)
        if not any(real == each or real.startswith(os.path.join(each, "")) for each in self._allowed):
            raise not_allowed()
        return real

    def files(self) -> list[SourceFile]:
        try:
            if os.path.isdir(self._path):
                paths = [(path, names, os.path.getsize(path)) for path, names in self._walk(self._path, [], set())]
                return source_files(self._address, paths)
            return [only_file(self._address, self._path, os.path.basename(self._path), os.path.getsize(self._path))]
        except OSError as error:
            raise InvalidArgument(f"{self._address} cannot be read: {error.strerror}") from None

    def _walk(self, folder: str, names: list[str], above: set[str]) -> Iterator[tuple[str, list[str]]]:
        """The files below a folder, with their names from the first folder down. above: the folders that it is in."""
        if folder in above:  # a link to a folder that it is in
            return
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        for entry in inside:
            path = self._resolved(entry.path)
            if entry.is_dir():
                yield from self._walk(path, [*names, entry.name], above | {folder})
            elif entry.is_file():
                yield path, [*names, entry.name]

    def open(self, file: SourceFile) -> BinaryIO:
        path = self._resolved(file.path)  # again, because it may have become a link since
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return os.fdopen(descriptor, "rb")
            os.close(descriptor)
        except OSError as error:
            raise InvalidArgument(f"{file.name} cannot be read: {error.strerror}") from None
        raise InvalidArgument(f"{file.name} cannot be read: it is no file")
