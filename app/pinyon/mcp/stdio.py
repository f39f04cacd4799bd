"""The tools over stdin and stdout, for agents that start their servers themselves."""

from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server


async def serve(server: Server[Any]) -> None:
    """Answer on stdout what arrives on stdin, until stdin ends. What else prints to stdout goes to stderr meanwhile."""
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
