"""A server of the MCP SDK that passes every call on to the /mcp of a Pinyon that runs elsewhere."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from pinyon.errors import FailedPrecondition, InvalidArgument, Unauthenticated, Unavailable

LONGEST_WAIT_S = 600.0
"""Seconds to wait for an answer. A first request may wait until a model is loaded."""

Context = ServerRequestContext[Any, Any]


@asynccontextmanager
async def bridge(url: str, key: str, tls: ssl.SSLContext | None, proxies: bool) -> AsyncIterator[Server[Any]]:
    """A server with the tools of the Pinyon at a URL, as far as the key may use them.

    tls: how certificates are checked; None for the authorities of this system. proxies: use those of the environment.
    Raises Unavailable if nobody answers, Unauthenticated if the key is refused, FailedPrecondition if it has no /mcp.
    """
    if not (key.isascii() and key.isprintable()):
        raise InvalidArgument("The API key has characters other than ASCII, or control characters; no key has such")
    headers = {"Api-Key": key} if key else {}
    async with httpx2.AsyncClient(
        headers=headers, timeout=LONGEST_WAIT_S, verify=True if tls is None else tls, trust_env=proxies
    ) as http:
        endpoint = f"{url.rstrip('/')}/mcp"
        await _check(http, endpoint)
        async with Client(streamable_http_client(endpoint, http_client=http)) as client:
            yield _passing_on(client)


async def _check(http: httpx2.AsyncClient, endpoint: str) -> None:
    """Raises an error in words unless there is an MCP server. A GET is refused by it, with status 405."""
    try:
        answer = await http.get(endpoint)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unavailable(f"Nobody answers at {endpoint}: {error or type(error).__name__}") from error
    if answer.status_code == 404:
        raise FailedPrecondition(
            f"The server has no {endpoint}; start it with --mcp, or set mcp = true in the [server] section of its "
            "settings"
        )
    if answer.status_code in (401, 403):
        raise Unauthenticated(f"The server at {endpoint} refuses the API key; give one with --key or PINYON_API_KEY")


def _passing_on(client: Client) -> Server[Any]:
    async def list_tools(_: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return await client.list_tools(cursor=None if params is None else params.cursor, cache_mode="bypass")

    async def call_tool(_: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await client.call_tool(params.name, params.arguments)

    about = client.server_info
    return Server(
        about.name if about else "pinyon",
        version=about.version if about else "",
        title=about.title if about else None,
        instructions=client.instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
