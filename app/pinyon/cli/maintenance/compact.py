"""`pinyon compact`: frees the space of deleted records, in the running server, or here if none runs."""

import argparse
from typing import Any

from pinyon.cli.common import ask_server, index_path, say_where, settings_of, with_server
from pinyon.errors import NotFound


def add(commands: Any) -> None:
    """Make the subcommand known."""
    parser = commands.add_parser(
        "compact",
        help="free the space of deleted records",
        description="Rewrites the vectors of an index and shrinks its file. Searches go on, writes wait. Needs free "
        "disk space of about the size of the index. A running server does it; without one, this command does.",
    )
    parser.add_argument("index", nargs="*", metavar="INDEX", help="index to compact (default: all)")
    parser.set_defaults(run=_run)
    with_server(parser)


def _run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    from pinyon.storage.engines import installation_of

    installation = installation_of(settings.storage)
    installation.require()
    if installation.holder() is None:
        import asyncio

        return asyncio.run(_in_this_process(settings, installation, options.index))
    names = options.index or [one["name"] for one in ask_server(settings, options.key, "GET", "/indexes")["indexes"]]
    for name in names:
        told = ask_server(settings, options.key, "POST", f"{index_path(name)}/compact", timeout_s=3600)
        _say(name, told["bytes_before"], told["bytes_after"])
    say_where(settings)
    return 0


async def _in_this_process(settings: Any, installation: Any, wanted: list[str]) -> int:
    engine = await installation.open()
    try:
        names = [index.name for index in engine.indexes()]
        if missing := [name for name in wanted if name not in names]:
            raise NotFound(f"There is no index {missing[0]}; there are: {', '.join(names) or 'none'}")
        for name in wanted or names:
            _say(name, *await engine.compact(name))
    finally:
        await engine.close()
    say_where(settings)
    return 0


def _say(name: str, before: int, after: int) -> None:
    print(f"{name}: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now")
