"""`pinyon backup` and `pinyon restore`: copies of a data folder. A server may write to it meanwhile."""

import argparse
from pathlib import Path
from typing import Any

from pinyon.cli.common import add_settings, settings_of


def add(commands: Any) -> None:
    """Make the subcommands known."""
    for name, run, sentence, told in (
        (
            "backup",
            _backup,
            "copy a data folder; a server may use it meanwhile",
            "Each index is copied as it was at one moment. The copy is complete or absent, never partial.",
        ),
        (
            "restore",
            _restore,
            "make a data folder from a backup",
            "Checks the backup and creates the data folder, which must not exist yet, completely or not at all. With "
            "--index, puts one index into an existing data folder that no server uses; a previous one is set aside.",
        ),
    ):
        one = commands.add_parser(name, help=sentence, description=told)
        one.add_argument("folder", type=Path, metavar="DIR", help="folder of the backup")
        if name == "restore":
            one.add_argument(
                "--index", metavar="INDEX", help="restore only this index, and replace the one in the data folder"
            )
        one.set_defaults(run=run)
        add_settings(one, "storage")


def _backup(options: argparse.Namespace) -> int:
    from pinyon.storage.engines import installation_of

    names = installation_of(settings_of(options).storage).backup(options.folder)
    print(f"{options.folder} has a copy of {', '.join(names) or 'no index'}")
    return 0


def _restore(options: argparse.Namespace) -> int:
    from pinyon.storage.engines import installation_of

    settings = settings_of(options)
    installation, data_dir = installation_of(settings.storage), settings.storage.data_dir
    if options.index is not None:
        aside = installation.restore_index(options.folder, options.index)
        replaced = f"; what was there is in {aside}" if aside is not None else ""
        print(f"{data_dir} has {options.index} of {options.folder} now{replaced}")
        return 0
    names = installation.restore(options.folder)
    print(f"{data_dir} has {', '.join(names) or 'no index'} now")
    return 0
