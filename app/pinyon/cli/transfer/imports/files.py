"""The files that an import reads: by their paths, in folders, or from standard input."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO

import msgspec

from pinyon.domain import DEFAULT_NAMESPACE
from pinyon.errors import InvalidArgument
from pinyon.formats.folders import namespace_of
from pinyon.formats.rows import FORMATS, Format, format_of

STDIN = "-"


class ImportFile(msgspec.Struct, frozen=True):
    """One file. path: None for standard input. name: in messages. size: in bytes; None if it is not known.

    modified: when it was last changed, in nanoseconds; 0 if it is not known. copy: what standard input had, for formats
    that are read more than once.
    """

    path: Path | None
    name: str
    format: Format
    namespace: str
    size: int | None = None
    modified: int = 0
    copy: IO[bytes] | None = None

    def open(self) -> BinaryIO:
        """The content, from its beginning. Raises InvalidArgument."""
        if self.copy is not None:
            self.copy.seek(0)
            return open(os.dup(self.copy.fileno()), "rb")
        if self.path is None:
            return open(sys.stdin.fileno(), "rb", closefd=False)
        try:
            return self.path.open("rb")
        except OSError as error:
            raise _unreadable(self.path, error) from None


def import_files(paths: Sequence[str], format: Format | None, namespace: str | None) -> list[ImportFile]:
    """The files behind these paths, those of a folder in the order of their names.

    A folder in a folder is a namespace. format: of all files, instead of what their names say. namespace: of all rows,
    instead of what their folders say. Raises InvalidArgument if there is nothing to import.
    """
    files = []
    for path in paths:
        if path == STDIN:
            files.append(_standard_input(format or "jsonl", namespace or DEFAULT_NAMESPACE))
        elif Path(path).is_dir():
            files += _in_folder(Path(path), format, namespace)
        else:
            files.append(_file(Path(path), format, namespace or DEFAULT_NAMESPACE))
    if len({file.path for file in files}) < len(files):
        raise InvalidArgument("A file is named twice; name each file once")
    return files


def _standard_input(format: Format, namespace: str) -> ImportFile:
    file = ImportFile(None, "standard input", format, namespace)
    if format == "jsonl":
        return file
    copy = tempfile.TemporaryFile()  # noqa: SIM115  (it is gone when the process ends)
    with file.open() as stream:
        shutil.copyfileobj(stream, copy)
    return msgspec.structs.replace(file, copy=copy)


def _in_folder(folder: Path, format: Format | None, namespace: str | None) -> Iterator[ImportFile]:
    """Hidden files are left out, and those whose names say no format."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    inside = [(path, path.relative_to(folder).parts) for path in paths]
    wanted = [
        (path, parts) for path, parts in inside if format_of(path.name) and not any(part[0] == "." for part in parts)
    ]
    if not wanted:
        raise InvalidArgument(f"There is no file to import in {folder}; {_expected()}")
    for path, parts in wanted:
        by_folder = namespace_of(parts[0]) if len(parts) > 1 else DEFAULT_NAMESPACE
        yield _file(path, format, namespace or by_folder)


def _file(path: Path, format: Format | None, namespace: str) -> ImportFile:
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    format = format or format_of(path.name)
    if format is None:
        raise InvalidArgument(f"The name of {path} does not say its format; {_expected()}, or --format")
    return ImportFile(path, str(path), format, namespace, status.st_size, status.st_mtime_ns)


def _unreadable(path: Path, error: OSError) -> InvalidArgument:
    return InvalidArgument(f"{path} cannot be read: {error.strerror or error}")


def _expected() -> str:
    return f"expected: names that end in {', '.join(FORMATS)}"
