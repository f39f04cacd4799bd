"""Picks the storage engine that the settings name: the only place that knows them all."""

from pinyon.settings import StorageSettings
from pinyon.storage.installation import Installation


def installation_of(settings: StorageSettings) -> Installation:
    """The stored data that the settings describe. Opens nothing."""
    match settings.engine:
        case "sqlite":
            from pinyon.storage.sqlite.installation import SqliteInstallation

            return SqliteInstallation(settings)
