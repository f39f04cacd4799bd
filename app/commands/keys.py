"""`pinyon keys`: the API keys."""

import argparse
import sys
from pathlib import Path
from typing import Any

from app.commands.common import add_settings, settings_of


def add(commands: Any) -> None:
    """Make the subcommand known."""
    keys = commands.add_parser("keys", help="the API keys").add_subparsers(required=True, metavar="ACTION")
    for action, run, sentence in (
        ("create", _create, "make a key; it is shown once"),
        ("list", _list, "names of the keys, and since when they exist"),
        ("revoke", _revoke, "make a key unknown, at once, also to a running server"),
    ):
        one = keys.add_parser(action, help=sentence)
        if action != "list":
            one.add_argument("name", metavar="NAME", help="what the key is for")
        one.set_defaults(run=run)
        add_settings(one, "storage")


def _create(options: argparse.Namespace) -> int:
    from app import keys

    print(keys.create(Path(settings_of(options).storage.data_dir), options.name))
    print("This is the only time that the key is shown. Clients send it as Api-Key.", file=sys.stderr)
    return 0


def _list(options: argparse.Namespace) -> int:
    from app import keys

    for key in keys.stored(Path(settings_of(options).storage.data_dir)):
        print(f"{key.name}  (since {key.created}, sha256 {key.sha256[:12]})")
    return 0


def _revoke(options: argparse.Namespace) -> int:
    from app import keys

    keys.revoke(Path(settings_of(options).storage.data_dir), options.name)
    print(f"The key {options.name} is revoked.")
    return 0
