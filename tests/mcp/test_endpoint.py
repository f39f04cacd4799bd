"""The endpoint /mcp: sessions, methods, protocol versions, hostile requests, and a server that has it switched off."""

import ast
import json
import sys
from typing import Any

import anyio
import httpx
import pytest
from mcp.server.lowlevel import Server
from pinyon.errors import FailedPrecondition
from pinyon.mcp import endpoint
from pinyon.mcp.sdk import require_sdk

from tests.mcp.conftest import CURRENT, WITH_SESSIONS, call, connected
from tests.running import PROJECT, RunningServer

HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
OLD_VERSIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]


def message(method: str, id: int | None = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params} | ({} if id is None else {"id": id})


def initialize(version: str) -> dict[str, Any]:
    return message("initialize", protocolVersion=version, capabilities={}, clientInfo={"name": "test", "version": "1"})


@pytest.fixture
def http(agents: RunningServer) -> Any:
    with httpx.Client(base_url=agents.url, headers=HEADERS, timeout=60) as client:
        yield client


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_clients_of_every_version_with_sessions_are_served_until_they_end_theirs(
    http: httpx.Client, version: str
) -> None:
    begun = http.post("/mcp", json=initialize(version))
    assert begun.json()["result"]["protocolVersion"] == version
    session = {"Mcp-Session-Id": begun.headers["mcp-session-id"], "MCP-Protocol-Version": version}
    assert http.post("/mcp", json=message("notifications/initialized", None), headers=session).status_code == 202
    listed = http.post("/mcp", json=message("tools/list", 2), headers=session).json()["result"]["tools"]
    assert {"search-records", "list-indexes"} <= {tool["name"] for tool in listed}
    called = message("tools/call", 3, name="list-indexes", arguments={})
    answer = http.post("/mcp", json=called, headers=session).json()["result"]
    assert json.loads(answer["content"][0]["text"])["indexes"]
    assert http.delete("/mcp", headers=session).status_code == 200
    assert http.post("/mcp", json=called, headers=session).status_code == 404


def test_no_streams_are_opened(http: httpx.Client) -> None:
    answer = http.get("/mcp")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, DELETE")
    assert http.put("/mcp").status_code == 405
    assert http.post("/mcp/other", json={}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
        json.dumps([initialize("2025-03-26")] * 3).encode(),
        json.dumps(message("tools/call", name="list-indexes", arguments=[1])).encode(),
        json.dumps(initialize("9999-99-99") | {"id": {"a": 1}}).encode(),
        b'{"jsonrpc": "2.0", "id": 1e999, "method": "initialize", "params": {}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": ' + b"9" * 5_000 + b"}}",
    ],
)
@pytest.mark.parametrize("version", [None, "2025-11-25", "2026-07-28", "1999-01-01", "x" * 5_000])
def test_hostile_requests_are_refused(http: httpx.Client, body: bytes, version: str | None) -> None:
    headers = {} if version is None else {"MCP-Protocol-Version": version}
    for session in ({}, {"Mcp-Session-Id": "nobody's"}):
        answer = http.post("/mcp", content=body, headers=headers | session)
        assert 400 <= answer.status_code < 500, answer.text
    assert http.get("/ready").status_code == 200


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_web_pages_of_others_are_refused_like_everywhere(http: httpx.Client, headers: dict[str, str]) -> None:
    answer = http.post("/mcp", json=initialize("2025-11-25"), headers=headers)
    assert answer.status_code == 403 and "mcp-session-id" not in answer.headers


async def begin(client: httpx.AsyncClient) -> int:
    return (await client.post("http://localhost/mcp", json=initialize("2025-11-25"), headers=HEADERS)).status_code


def asking(app: endpoint.McpEndpoint) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), timeout=60)


@pytest.mark.anyio
async def test_sessions_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MOST_SESSIONS", 2)
    app = endpoint.McpEndpoint(Server("bounded"), 10_000)
    async with asking(app) as client:
        async with app.running():
            assert [await begin(client) for _ in range(3)] == [200, 200, 503]
            large = await client.post("http://localhost/mcp", content=b"x" * 10_001, headers=HEADERS)
            assert large.status_code == 413
        assert await begin(client) == 503, "it has ended"


@pytest.mark.anyio
async def test_sessions_that_nobody_uses_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MOST_SESSIONS", 1)
    monkeypatch.setattr(endpoint, "IDLE_S", 0.05)
    app = endpoint.McpEndpoint(Server("bounded"), 10_000)
    async with asking(app) as client, app.running():
        assert await begin(client) == 200
        with anyio.fail_after(60):
            while await begin(client) != 200:
                await anyio.sleep(0.01)


@pytest.mark.anyio
@pytest.mark.parametrize("mode", [CURRENT, WITH_SESSIONS])
async def test_agents_that_work_side_by_side_get_their_own_answers(agents: RunningServer, mode: str) -> None:
    async def work(number: int) -> None:
        place = {"name": "quickstart", "namespace": f"side-{mode}-{number}"}
        async with connected(agents.url, mode=mode) as client:
            for turn in range(3):
                record = {"_id": str(turn), "chunk_text": f"agent {number} turn {turn}"}
                await call(client, "upsert-records", **place, records=[record])
                fetched = await call(client, "fetch-records", **place, ids=[str(turn)])
                assert fetched["records"][0]["fields"]["chunk_text"] == record["chunk_text"]

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(work, number)


def test_it_is_off_unless_asked_for(hash_server: RunningServer) -> None:
    with hash_server.client() as client:
        assert client.post("/mcp", json=initialize("2025-11-25"), headers=HEADERS).status_code == 404


def test_nothing_imports_the_sdk_before_somebody_asks_for_it() -> None:
    own = {f"pinyon.mcp.{name}" for name in ("protocol", "endpoint", "stdio", "bridge")}
    late = own | {"mcp", "mcp_types", "starlette", "httpx2"}
    for path in (PROJECT / "app").rglob("*.py"):
        module = ".".join(path.relative_to(PROJECT / "app").with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:  # not what functions import
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            early = {name for name in names if name in late or name.split(".")[0] in late}
            assert not early or module in own, f"{module} imports {early}"


def test_without_the_sdk_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(FailedPrecondition, match=r"pip install 'pinyon\[mcp\]'"):
        require_sdk()
