"""What subcommands share: options for settings, and the settings that follow from them."""

import argparse
from pathlib import Path
from typing import Any


def add_settings(parser: argparse.ArgumentParser, *sections: str) -> None:
    """An option for every setting of these sections that fits in a word, and --config."""
    from app.settings import table

    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML)")
    for row in table():
        if not row.simple or row.section not in sections:
            continue
        if row.type is bool:
            parser.add_argument(
                row.flag, dest=row.key, action=argparse.BooleanOptionalAction, default=None, help=row.sentence
            )
        else:
            help_text = f"{row.sentence} (default: {row.default})".replace("%", "%%")
            parser.add_argument(row.flag, dest=row.key, metavar=row.key.upper(), help=help_text)


def settings_of(options: argparse.Namespace) -> Any:
    """The settings; the environment is set for the libraries that read it when they are imported."""
    import os

    from app.settings import load, table

    flags = {row.key: value for row in table() if row.simple and (value := getattr(options, row.key, None)) is not None}
    # Searches run side by side on threads of their own; a product that takes every core for itself only disturbs them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Only `pinyon models pull` may use the network: said before any hub library is imported, which reads it then.
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    return load(options.config, os.environ, flags)
