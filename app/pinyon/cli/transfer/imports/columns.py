"""What the columns of the files of an import are: as the user says, and as their cells look."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import cast, get_args

import msgspec

from pinyon.cli.transfer.imports.files import ImportFile
from pinyon.cli.transfer.imports.requests import Target
from pinyon.errors import InvalidArgument
from pinyon.formats import files
from pinyon.formats.layout import CellType, Columns


def columns_of(
    inputs: Sequence[ImportFile], map: Sequence[str], types: Sequence[str], id_column: str | None, target: Target
) -> list[tuple[ImportFile, Columns]]:
    """How each file is read. Shows on stderr what the columns of CSV and TSV files are.

    map: COLUMN=FIELD. types: COLUMN=TYPE. Raises InvalidArgument.
    """
    names = pairs("--map", map)
    given = pairs("--type", types)
    for column, kind in given.items():
        if kind not in get_args(CellType):
            raise InvalidArgument(f"--type {column}={kind}: allowed are {', '.join(get_args(CellType))}")
    columns = Columns(id_column, names, target.needed)
    typed = cast(Mapping[str, CellType], given)
    return [(file, _with_types(file, columns, typed, target.text_field)) for file in inputs]


def pairs(option: str, words: Iterable[str]) -> dict[str, str]:
    """The values of an option that is given as NAME=VALUE, by name. Raises InvalidArgument."""
    new_names: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise InvalidArgument(f"{option} {word}: expected is a name, =, and another name, such as title=chunk_text")
        if name in new_names:
            raise InvalidArgument(f"{option} has '{name}' twice")
        new_names[name] = value
    return new_names


def _with_types(file: ImportFile, columns: Columns, given: Mapping[str, CellType], text_field: str | None) -> Columns:
    """The columns with the types of this file, which are shown."""
    if file.format not in files.DELIMITERS:
        return columns
    with file.open() as stream:
        inferred = files.infer_types(stream, file.name, file.format, columns)
    types: dict[str, CellType] = {
        name: "text" if columns.names.get(name, name) == text_field else kind for name, kind in inferred.items()
    }
    if unknown := [name for name in given if name not in types]:
        raise InvalidArgument(
            f"{file.name} has no column '{unknown[0]}' for --type; its fields are: {', '.join(types) or 'none'}"
        )
    types |= given
    print(f"{file.name}: {', '.join(f'{name} {kind}' for name, kind in types.items())}", file=sys.stderr)
    return msgspec.structs.replace(columns, types=types)
