"""`pinyon reembed`: re-embeds an index with another model, in the running server, or here if none runs."""

import argparse
import json
import sys
import time
from typing import Any

from pinyon.cli.common import Progress, ask_server, index_path, settings_of, with_server
from pinyon.errors import FailedPrecondition


def add(commands: Any) -> None:
    """Make the subcommand known."""
    parser = commands.add_parser(
        "reembed",
        help="re-embed an index with another model",
        description="Embeds the stored texts of an index again. Meanwhile the index answers with its old vectors; once "
        "every record has a new one, all are switched at the same moment. A running server does it in the background; "
        "without one, this command does. An interrupted run continues.",
    )
    parser.add_argument("index", metavar="INDEX")
    parser.add_argument("--model", metavar="NAME", help="a model of `pinyon models list`")
    parser.add_argument("--dimension", type=int, metavar="N", help="length of the new vectors (default: the model's)")
    parser.add_argument(
        "--sparse-model", metavar="NAME", help="a learned sparse model for hybrid searches, or none (default: as it is)"
    )
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the end; only with a running server")
    parser.add_argument("--cancel", action="store_true", help="stop, and leave the index as it is")
    parser.set_defaults(run=_run)
    with_server(parser)


def _run(options: argparse.Namespace) -> int:
    if options.cancel == bool(options.model):
        raise FailedPrecondition("Say either --model NAME, or --cancel")
    settings = settings_of(options)
    from pinyon.storage.engines import installation_of

    installation = installation_of(settings.storage)
    installation.require()
    if installation.holder() is not None:
        return _in_server(settings, options)
    import asyncio

    return asyncio.run(_in_this_process(settings, options))


def _in_server(settings: Any, options: argparse.Namespace) -> int:
    """In the server that has the data folder open."""
    path = f"{index_path(options.index)}/reembed"
    if options.cancel:
        ask_server(settings, options.key, "DELETE", path)
        print(f"Index {options.index} stays as it is.")
        return 0
    chosen = {"model": options.model, "dimension": options.dimension, "sparse_model": options.sparse_model}
    body = {name: value for name, value in chosen.items() if value}
    told = ask_server(settings, options.key, "POST", path, body)
    if options.no_wait:
        print(json.dumps(told))
        return 0
    with Progress(options.index, "record") as progress:
        while told["running"]:
            progress.tell(told["done"], told["total"])
            time.sleep(0.2)
            told = ask_server(settings, options.key, "GET", path)
    return _ended(settings, options, told["failed"])


async def _in_this_process(settings: Any, options: argparse.Namespace) -> int:
    """In this process."""
    import asyncio

    from pinyon.server import Service
    from pinyon.services.control_plane.addresses import Addresses

    # Nobody sends requests to this process, so no index needs a port.
    service = Service(settings, Addresses("localhost", 0, index_host="{index}.localhost"))
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with service.running(lambda: begun.set_result(None), begun.set_exception):
        await begun
        reembeddings = service.ready().reembeddings
        if options.cancel:
            await reembeddings.cancel(options.index)
            print(f"Index {options.index} stays as it is.")
            return 0
        told = await reembeddings.start(options.index, options.model, options.dimension, options.sparse_model)
        with Progress(options.index, "record") as progress:
            while told.running:
                progress.tell(told.done, told.total)
                await asyncio.sleep(0.2)
                told = await reembeddings.progress(options.index)
        return _ended(settings, options, told.failed)


def _ended(settings: Any, options: argparse.Namespace, failed: str | None) -> int:
    if failed is not None:
        print(f"pinyon: {options.index} was not re-embedded: {failed}", file=sys.stderr)
        return 1
    print(f"Index {options.index} is embedded by {options.model} now.")
    if settings.index is not None and settings.index.name == options.index:
        if settings.index.model != options.model:
            print(f'Before the next start, say model = "{options.model}" in the [index] table of the settings file.')
        if options.sparse_model not in (None, settings.index.write_parameters.get("sparse_model", "none")):
            print(
                f'Before the next start, say sparse_model = "{options.sparse_model}" in the [index.write_parameters] '
                "table of the settings file."
            )
    return 0
