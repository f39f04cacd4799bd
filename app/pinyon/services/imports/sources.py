"""What an import reads: addresses, and the files behind them."""

from collections.abc import Sequence
from typing import BinaryIO, Protocol

import msgspec

from pinyon.domain import DEFAULT_NAMESPACE
from pinyon.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from pinyon.formats.folders import namespace_of
from pinyon.formats.rows import FORMATS, Format, format_of

MOST_FILES = 100_000
"""Files that an import may have."""
NOT_ALLOWED = (
    "This server does not import from there. What it may import from is listed in the setting allow, in the section "
    "[import] of its settings"
)
"""Says nothing of what there is."""


class SourceUnavailable(FailedPrecondition):
    """A source cannot be read now: a library, credentials or the network are missing. It may be there later."""


class SourceFile(msgspec.Struct, frozen=True):
    """A file of a source. path: where the source reads it. name: its name in messages, below the address.

    size: in bytes; None if nobody knows.
    """

    path: str
    name: str
    namespace: str
    format: Format
    size: int | None


class Source(Protocol):
    """Files behind one address. The methods wait for disks and networks, so call them on a thread."""

    def files(self) -> list[SourceFile]:
        """The files, in the order in which they are imported. It is the same each time, while nothing changes.

        Raises InvalidArgument if there are none, PermissionDenied, or SourceUnavailable.
        """
        ...

    def open(self, file: SourceFile) -> BinaryIO:
        """The content of a file. Raises InvalidArgument, PermissionDenied or SourceUnavailable."""
        ...


def not_allowed() -> PermissionDenied:
    """The error for an address that is not in the list."""
    return PermissionDenied(NOT_ALLOWED)


def source_files(address: str, paths: Sequence[tuple[str, list[str], int | None]]) -> list[SourceFile]:
    """The files of a folder. paths: path, names from the folder down, and size of each.

    A folder in the folder is a namespace, which has the name that an export would give to this folder. Files beside it
    go into the default namespace. Hidden files and folders are left out, and files whose names say no format that can
    be read. Raises InvalidArgument.
    """
    files = []
    for path, names, size in paths:
        folders = names[:-1]
        hidden = any(name.startswith(".") for name in names)
        format = format_of(names[-1])
        if not hidden and format is not None:
            namespace = namespace_of(folders[0]) if folders else DEFAULT_NAMESPACE
            files.append(SourceFile(path, "/".join(names), namespace, format, size))
    if not files:
        raise InvalidArgument(f"There is no file to import in {address}; {expected_names()}")
    if len(files) > MOST_FILES:
        raise InvalidArgument(f"There are {len(files)} files in {address}; an import may have {MOST_FILES}")
    return sorted(files, key=lambda file: file.name.encode())


def only_file(address: str, path: str, name: str, size: int | None) -> SourceFile:
    """The file of an address that is a file. Raises InvalidArgument if its name does not say its format."""
    format = format_of(name)
    if format is None:
        raise InvalidArgument(f"The format of {address} is not known; {expected_names()}")
    return SourceFile(path, name, DEFAULT_NAMESPACE, format, size)


def expected_names() -> str:
    """What names of files are expected."""
    return f"expected: names that end in {', '.join(FORMATS)}"
