"""Where the files are that come with Pinyon: the model catalogue, small weights, settings files, documentation.

An installed package has them in its own folder, which it never writes to. A checkout has them at its top level.
"""

from pathlib import Path

import platformdirs

_PACKAGED = Path(__file__).resolve().parent / "data"

INSTALLED = (_PACKAGED / "models" / "manifest.toml").is_file()
"""Whether this is an installed package and not a checkout."""

SHIPPED = _PACKAGED if INSTALLED else Path(__file__).resolve().parents[2]
"""The folder that has models/, config/, docs/ and README.md."""

HOME = Path(platformdirs.user_data_dir("pinyon", appauthor=False)) if INSTALLED else SHIPPED
"""The folder that relative paths of model files start from: weights that are downloaded go there."""

QUICKSTART = SHIPPED / "config" / "quickstart.toml"
"""The settings that `pinyon serve` uses if none are named."""


def shipped_model(models_dir: Path, name: str) -> Path:
    """The path of a file or folder below a models folder: the folder's own, or else the one that was shipped."""
    own = models_dir / name
    return own if own.exists() else SHIPPED / "models" / name
