"""`pinyon models`: which there are, who answers, how their weights get here."""

import argparse
from typing import Any

from app.commands.common import add_settings, settings_of


def add(commands: Any) -> None:
    """Make the subcommand known."""
    models = commands.add_parser("models", help="the machine-learning models").add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = models.add_parser("list", help="every model, and who answers to it here")
    listing.set_defaults(run=_list)
    add_settings(listing, "models")
    pull = models.add_parser("pull", help="fetch a model's weights from the Hugging Face hub")
    pull.add_argument("name", metavar="NAME", help="a model of `pinyon models list`")
    pull.set_defaults(run=_pull)
    add_settings(pull, "models")


def _list(options: argparse.Namespace) -> int:
    from app.errors import FailedPrecondition
    from app.inference.catalog import Catalog

    settings = settings_of(options)
    catalog = Catalog(settings.models_dir, settings.models.paths, settings.models.stand_ins)
    for name, entry in catalog.entries.items():
        try:
            answer = catalog.answer(name).label
        except FailedPrecondition as error:
            answer = error.message
        print(f"{name}  ({entry.kind}, {entry.licence})\n    {answer}")
    return 0


def _pull(options: argparse.Namespace) -> int:
    import os

    settings = settings_of(options)
    if not settings.models.offline:
        os.environ.update(HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0")
    from app.inference.pull import pull

    print(pull(options.name, settings.models_dir, settings.models.offline))
    return 0
