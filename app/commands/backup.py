"""`pinyon backup` and `pinyon restore`: copies of a data folder, taken also while a server writes to it."""

import argparse
from pathlib import Path
from typing import Any

from app.commands.common import add_settings, settings_of


def add(commands: Any) -> None:
    """Make the subcommands known."""
    for name, run, sentence, told in (
        (
            "backup",
            _backup,
            "copy a data folder, also while a server runs on it",
            "Each index is copied as it was at one moment. The copy is there as a whole or not at all.",
        ),
        (
            "restore",
            _restore,
            "make a data folder from a backup",
            "Checks the backup, and makes the data folder, which must not be there yet, as a whole or not at all.",
        ),
    ):
        one = commands.add_parser(name, help=sentence, description=told)
        one.add_argument("folder", type=Path, metavar="DIR", help="folder of the backup")
        one.set_defaults(run=run)
        add_settings(one, "storage")


def _backup(options: argparse.Namespace) -> int:
    from app.storage.copies import backup

    names = backup(Path(settings_of(options).storage.data_dir), options.folder)
    print(f"{options.folder} has a copy of {', '.join(names) or 'no index'}")
    return 0


def _restore(options: argparse.Namespace) -> int:
    from app.storage.copies import restore

    data_dir = Path(settings_of(options).storage.data_dir)
    names = restore(options.folder, data_dir)
    print(f"{data_dir} has {', '.join(names) or 'no index'} now")
    return 0
