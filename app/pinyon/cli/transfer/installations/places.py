"""Which data folder or database `--from` or `--to` means."""

import os
from pathlib import Path

from pinyon.errors import InvalidArgument
from pinyon.settings import StorageSettings
from pinyon.settings_loader import load

DATABASES = ("postgresql://", "postgres://")
FOLDERS = ("/", ".", "~")
"""How the name of a folder begins that is not there yet."""


def storage_at(place: str) -> StorageSettings | None:
    """The [storage] settings of a place: a folder, a database, or a settings file. None if it is none of these.

    Raises FailedPrecondition if it is a settings file with a fault.
    """
    if place.startswith(DATABASES):
        return StorageSettings(engine="postgres", dsn=place)
    if "://" in place:
        return None
    path = Path(place).expanduser()
    if path.suffix == ".toml":
        return load(path, os.environ).storage
    if place.startswith(FOLDERS) or path.is_dir():
        return StorageSettings(data_dir=str(path))
    return None


def both(source: str, target: str) -> tuple[StorageSettings, StorageSettings] | None:
    """The [storage] settings of both places. None if both are addresses of indexes.

    Raises InvalidArgument if only one is, and as storage_at().
    """
    of_source, of_target = storage_at(source), storage_at(target)
    if of_source is not None and of_target is not None:
        return of_source, of_target
    if of_source is None and of_target is None:
        return None
    address = target if of_target is None else source
    raise InvalidArgument(
        f"'{address}' is the address of an index, and the other place is a data folder or a database; a copy is from "
        "index to index, or between folders (such as ./data), databases (postgresql://...) and settings files (.toml)"
    )
