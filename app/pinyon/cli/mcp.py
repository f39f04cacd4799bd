"""`pinyon mcp`: the tools for agents over stdin and stdout."""

import argparse
import os
import sys
from typing import Any

from pinyon.cli.common import key_variable, local_tls, server_url, settings_of, with_url


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "mcp",
        help="serve tools for agents (MCP) over stdin and stdout",
        description="Serve tools for agents over stdin and stdout, by the Model Context Protocol. Agents start this "
        "command themselves; docs/mcp.md says how. The tools are those of a running server that has mcp = true, or "
        "this command opens the data folder.",
    )
    with_url(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    import asyncio

    from pinyon import logs
    from pinyon.mcp.sdk import require_sdk

    require_sdk()
    settings = settings_of(options)
    logs.configure(settings.server.log_level, settings.server.log_format)
    asyncio.run(_serve(options, settings))
    return 0


async def _serve(options: argparse.Namespace, settings: Any) -> None:
    from pinyon.mcp.bridge import bridge
    from pinyon.mcp.stdio import serve

    if options.url is not None:
        key = options.key or os.environ.get(key_variable(options.url), "")
        async with bridge(options.url, key, None, proxies=True) as server:
            await serve(server)
        return
    from pinyon.storage.engines import installation_of

    installation = installation_of(settings.storage)
    installation.require()
    if installation.holder() is not None:
        key = options.key or settings.server.api_key
        async with bridge(server_url(settings), key, local_tls(), proxies=False) as server:
            await serve(server)
        return
    await _serve_folder(settings)


async def _serve_folder(settings: Any) -> None:
    """Open the data folder, and serve its tools. Whoever may start this command may do everything."""
    import asyncio

    from pinyon.mcp.stdio import serve
    from pinyon.server import Service
    from pinyon.services.control_plane.addresses import Addresses
    from pinyon.serving.agents import mcp_server

    # Nobody else sends requests to this process, so no index needs a port.
    service = Service(settings, Addresses("localhost", 0, index_host="{index}.localhost"))
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with service.running(lambda: begun.set_result(None), begun.set_exception):
        await begun
        print("Pinyon serves its tools on stdin and stdout", file=sys.stderr)
        await serve(mcp_server(service))
