"""Servers with /mcp, and the official client of the MCP SDK."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from pinyon.mcp.protocol import TOOLS

from tests.running import GIVEN_UP_S, RunningServer, config

CURRENT, WITH_SESSIONS = "auto", "legacy"
"""Modes of the client: the protocol of 2026-07-28, and the one with a handshake and sessions before it."""


@asynccontextmanager
async def connected(url: str, key: str = "", mode: str = CURRENT) -> AsyncIterator[Client]:
    """The official client, connected to the server at a URL."""
    headers = {"Api-Key": key} if key else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=GIVEN_UP_S, verify=False) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured result of a tool. The client has checked it against the output schema."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert tool in TOOLS
    structured: dict[str, Any] = result.structured_content
    return structured


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    """The text of a tool's error."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.content
    text: str = result.content[0].text
    return text


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server without keys that serves /mcp."""
    folder = tmp_path_factory.mktemp("agents")
    server = RunningServer(config(folder), folder / "data", "--mcp", "--index-ports", "free:3")
    yield server
    assert server.stop() == 0, server.text
