"""`pinyon mcp`, started by the official client as agents start it."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from pinyon.auth import keys
from pinyon.mcp.protocol import TOOLS

from tests.mcp.conftest import CURRENT, WITH_SESSIONS, call, refusal
from tests.running import GIVEN_UP_S, PROJECT, RunningServer, config, environment

pytestmark = pytest.mark.anyio
RECORDS = [{"_id": "a", "chunk_text": "pine trees"}, {"_id": "b", "chunk_text": "oak trees"}]
QUERY = {"inputs": {"text": "pine"}, "topK": 1}


@asynccontextmanager
async def started(*options: str | Path, mode: str = CURRENT, **variables: str) -> AsyncIterator[Client]:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "pinyon", "mcp", *map(str, options)],
        env=environment(**variables),
        cwd=PROJECT,
    )
    async with Client(command, mode=mode, read_timeout_seconds=GIVEN_UP_S) as client:
        yield client


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pinyon", "mcp", *options],
        cwd=PROJECT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=GIVEN_UP_S,
    )


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Path, str]]:
    """A server, its data folder, and a key that may only read."""
    folder = tmp_path_factory.mktemp("locked")
    data = folder / "data"
    reader = keys.create(data, "reader", keys.Limits(("read",)))
    server = RunningServer(config(folder), data, "--mcp", "--api-key", "master")
    yield server, folder, reader
    assert server.stop() == 0, server.text


@pytest.mark.parametrize("mode", [CURRENT, pytest.param(WITH_SESSIONS, marks=pytest.mark.slow)])
async def test_a_data_folder_is_served_without_a_server(tmp_path: Path, mode: str) -> None:
    (tmp_path / "data").mkdir()
    async with started("--config", config(tmp_path), "--data-dir", tmp_path / "data", mode=mode) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == set(TOOLS)
        await call(client, "upsert-records", name="quickstart", records=RECORDS)
        answer = await call(client, "search-records", name="quickstart", query=QUERY)
        assert answer["result"]["hits"][0]["_id"] == "a"
        made = {"name": "second", "embed": {"model": "pinyon-hash-embed", "fieldMap": {"text": "chunk_text"}}}
        assert "host" not in await call(client, "create-index-for-model", **made)
        assert (await refusal(client, "search-records", name="none", query=QUERY)).startswith("NOT_FOUND")


@pytest.mark.parametrize("mode", [WITH_SESSIONS, pytest.param(CURRENT, marks=pytest.mark.slow)])
async def test_a_running_server_is_asked_with_the_rights_of_the_key(
    locked: tuple[RunningServer, Path, str], mode: str
) -> None:
    server, folder, reader = locked
    async with started("--config", folder / "pinyon.toml", "--data-dir", folder / "data", "--key", "master") as client:
        await call(client, "upsert-records", name="quickstart", records=RECORDS)
    async with started("--url", server.url, mode=mode, PINYON_API_KEY=reader) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {
            name for name, tool in TOOLS.items() if not tool.writes
        }
        answer = await call(client, "search-records", name="quickstart", query=QUERY)
        assert answer["result"]["hits"][0]["_id"] == "a"
        denied = await refusal(client, "upsert-records", name="quickstart", records=RECORDS)
        assert denied.startswith("PERMISSION_DENIED") and "scope 'write'" in denied
        assert client.instructions and "list-indexes" in client.instructions


def test_what_keeps_it_from_starting_is_said_on_stderr(
    locked: tuple[RunningServer, Path, str], hash_server: RunningServer, tmp_path: Path
) -> None:
    told = {
        ("--url", "http://127.0.0.1:9"): "Nobody answers",
        ("--url", locked[0].url, "--key", "wrong"): "refuses the API key",
        ("--url", hash_server.url): "--mcp",
        ("--data-dir", str(tmp_path / "none")): "none",
    }
    for options, words in told.items():
        ended = run(*options)
        assert (ended.returncode, ended.stdout) == (1, ""), ended
        assert words in ended.stderr and "Traceback" not in ended.stderr
