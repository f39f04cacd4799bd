"""Small files that every process with the same data sees: API keys, judgements, uploads.

Where one process has the data, it keeps these files in its data folder, and needs none of this.
"""

from typing import Protocol

import msgspec


class SharedFile(msgspec.Struct, frozen=True):
    """A file as it was read. version: counts the changes of the file, from 1."""

    content: bytes
    version: int


class SharedFiles(Protocol):
    """Files by their paths, which have slashes between their parts. Methods raise only errors of pinyon.errors."""

    async def read(self, path: str) -> SharedFile | None:
        """A file. None if there is none."""
        ...

    async def write(self, path: str, content: bytes, version: int) -> None:
        """Store a file in place of the one with this version; 0: of none.

        Raises VersionConflict, and changes nothing, if the stored file is at another version.
        """
        ...

    async def paths(self, folder: str) -> list[str]:
        """The paths of the files in a folder and in the folders in it, those that were first written longest ago first.

        folder: ends in a slash.
        """
        ...

    async def remove(self, folder: str) -> None:
        """Remove the files in a folder and in the folders in it. folder: ends in a slash."""
        ...
