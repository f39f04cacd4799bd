"""Every setting of Pinyon: its name, its default, and one sentence. settings_loader.py reads the values."""

from pathlib import Path

import msgspec

from pinyon.settings.forms import FREE, INDEX_NAME, TEXT_FIELD, Activation, Pooling, in_words
from pinyon.settings.imports import ImportSettings
from pinyon.settings.index import IndexSettings
from pinyon.settings.limits import LimitSettings
from pinyon.settings.models import ModelSettings, OwnModel
from pinyon.settings.server import ServerSettings
from pinyon.settings.storage import StorageSettings
from pinyon.shipped import HOME

__all__ = [
    "FREE",
    "INDEX_NAME",
    "TEXT_FIELD",
    "Activation",
    "ImportSettings",
    "IndexSettings",
    "LimitSettings",
    "ModelSettings",
    "OwnModel",
    "Pooling",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "in_words",
]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings. index: None if there is no [index] section."""

    server: ServerSettings = ServerSettings()
    storage: StorageSettings = StorageSettings()
    models: ModelSettings = ModelSettings()
    limits: LimitSettings = LimitSettings()
    imports: ImportSettings = msgspec.field(default=ImportSettings(), name="import")
    index: IndexSettings | None = None

    @property
    def models_dir(self) -> Path:
        """Absolute path of the models folder."""
        return HOME / self.models.models_dir
