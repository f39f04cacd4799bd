"""Picks the storage engine that the settings name: the only place that knows them all.

Imports happen inside the functions. holder_of() needs little, so that commands which only ask a server start fast.
"""

from typing import TYPE_CHECKING

from pinyon.errors import FailedPrecondition
from pinyon.settings import StorageSettings
from pinyon.storage.holder import Holder

if TYPE_CHECKING:
    from pinyon.storage.installation import Installation


def installation_of(settings: StorageSettings) -> "Installation":
    """The stored data that the settings describe. Opens nothing."""
    match settings.engine:
        case "sqlite":
            from pinyon.storage.sqlite.installation import SqliteInstallation

            return SqliteInstallation(settings)
        case "postgres":
            try:
                from pinyon.storage.postgres.installation import PostgresInstallation
            except ModuleNotFoundError as error:
                raise FailedPrecondition(
                    f"[storage] engine = \"postgres\" needs the package {error.name}: pip install 'pinyon[postgres]'"
                ) from error
            return PostgresInstallation(settings)


def holder_of(settings: StorageSettings) -> Holder | None:
    """The process that has the data open, if any."""
    match settings.engine:
        case "sqlite":
            from pinyon.storage.sqlite.folder import data_dir

            return data_dir.holder(settings.data_dir)
        case "postgres":
            return None  # any number of processes may have a database open
