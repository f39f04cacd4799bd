"""What keys may do with the tools: the same as over REST, with every kind of key, whoever shares a session with whom."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx
import pytest
from mcp import Client
from pinyon.auth import keys
from pinyon.mcp.protocol import TOOLS

from tests.auth.test_permissions import KEYS, MINE, OTHER, may
from tests.mcp.conftest import CURRENT, WITH_SESSIONS, call, connected
from tests.mcp.test_endpoint import HEADERS, initialize, message
from tests.running import RunningServer, config

pytestmark = pytest.mark.anyio
QUERY = {"inputs": {"text": "a text"}, "topK": 9}
EMBED = {"model": "pinyon-hash-embed", "fieldMap": {"text": "chunk_text"}}
RERANK = {"model": "bm25"}


class Operation(NamedTuple):
    """scope, of: as in tests/auth/test_permissions.py. arguments: for an index and a namespace."""

    scope: str | None
    of: str
    arguments: Any


OPERATIONS = {
    "list-indexes": Operation(None, "server", lambda ix, ns: {}),
    "describe-index": Operation(None, "index", lambda ix, ns: {"name": ix}),
    "describe-index-stats": Operation("read", "index", lambda ix, ns: {"name": ix}),
    "list-namespaces": Operation("read", "index", lambda ix, ns: {"name": ix}),
    "create-index-for-model": Operation("control", "whole index", lambda ix, ns: {"name": ix, "embed": EMBED}),
    "upsert-records": Operation(
        "write",
        "namespace",
        lambda ix, ns: {"name": ix, "namespace": ns, "records": [{"_id": "x", "chunk_text": "a text"}]},
    ),
    "search-records": Operation("read", "namespace", lambda ix, ns: {"name": ix, "namespace": ns, "query": QUERY}),
    "explain-hit": Operation(
        "read", "namespace", lambda ix, ns: {"name": ix, "namespace": ns, "query": QUERY, "id": "kept"}
    ),
    "fetch-records": Operation("read", "namespace", lambda ix, ns: {"name": ix, "namespace": ns, "ids": ["kept"]}),
    "facet-values": Operation("read", "namespace", lambda ix, ns: {"name": ix, "namespace": ns, "field": "chunk_text"}),
    "cascading-search": Operation(
        "read",
        "namespace",
        lambda ix, ns: {"indexes": [{"name": ix, "namespace": ns}], "query": QUERY, "rerank": RERANK},
    ),
    "rerank-documents": Operation(
        "read", "server", lambda ix, ns: {"model": "bm25", "query": "a text", "documents": ["a text"]}
    ),
}


class Site(NamedTuple):
    """A server with two indexes of two namespaces, the key with every right, and the others. data: its folder."""

    url: str
    master: str
    made: list[tuple[keys.Limits, str]]
    data: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("keys")
    data = folder / "data"
    master = keys.create(data, "master")
    made = [(limits, keys.create(data, f"key-{n}", limits)) for n, limits in enumerate(KEYS)]
    server = RunningServer(config(folder), data, "--mcp", "--index-ports", "free:2")

    async def fill() -> None:
        async with connected(server.url, master) as client:
            for index in (MINE, OTHER):
                await call(client, "create-index-for-model", name=index, embed=EMBED)
                for namespace in (MINE, OTHER):
                    record = {"_id": "kept", "chunk_text": f"a text of {index} {namespace}"}
                    await call(client, "upsert-records", name=index, namespace=namespace, records=[record])

    anyio.run(fill)
    yield Site(server.url, master, made, data)
    assert server.stop() == 0, server.text


def test_every_tool_is_in_the_table() -> None:
    assert set(OPERATIONS) == set(TOOLS)


async def tried(client: Client, limits: keys.Limits) -> None:
    """Call every tool for every index and namespace; each answers exactly if the key is for that."""
    offered = {tool.name for tool in (await client.list_tools()).tools}
    assert offered == {
        name
        for name, tool in OPERATIONS.items()
        if (tool.scope is None or tool.scope in limits.scopes)
        and not (tool.scope == "control" and limits.namespaces is not None)
    }
    for name, (scope, of, arguments) in OPERATIONS.items():
        for index, namespace in itertools.product((MINE, OTHER), (MINE, OTHER)):
            allowed = may(limits, scope, of, index, namespace)
            result = await client.call_tool(name, arguments(index, namespace))
            text = result.content[0].text
            assert result.is_error != allowed, (limits, name, index, namespace, text)
            if not allowed:
                assert text.startswith("PERMISSION_DENIED")
            if limits.indexes and limits.namespaces and OTHER not in (index, namespace):
                assert OTHER not in text, "what is outside is not even named"


@pytest.mark.parametrize(
    "step", [5, pytest.param(1, marks=pytest.mark.slow)], ids=["every fifth kind of key", "every kind of key"]
)
async def test_a_key_does_what_it_is_for_and_nothing_else(site: Site, step: int) -> None:
    for limits, key in site.made[::step]:
        async with connected(site.url, key) as client:
            await tried(client, limits)


async def test_keys_that_work_at_the_same_time_do_not_lend_each_other_rights(site: Site) -> None:
    """Sessions are served by tasks that the SDK starts; each call has the rights of its own request all the same."""
    chosen = [site.made[0], site.made[-1], (keys.Limits(), site.master)]
    async with anyio.create_task_group() as tasks:
        for limits, key in chosen:

            async def work(limits: keys.Limits = limits, key: str = key) -> None:
                async with connected(site.url, key, WITH_SESSIONS) as client:
                    await tried(client, limits)

            tasks.start_soon(work)


def test_a_session_belongs_to_the_key_that_opened_it(site: Site) -> None:
    reader = keys.create(site.data, "reader", keys.Limits(("read",)))
    called = message("tools/call", 2, name="list-indexes", arguments={})
    with httpx.Client(base_url=site.url, timeout=60) as http:
        begun = http.post("/mcp", json=initialize("2025-11-25"), headers={**HEADERS, "Api-Key": site.master})
        session = {**HEADERS, "Mcp-Session-Id": begun.headers["mcp-session-id"]}
        assert http.post("/mcp", json=called, headers={**session, "Api-Key": reader}).status_code == 404
        assert http.delete("/mcp", headers={**session, "Api-Key": reader}).status_code == 404
        as_bearer = {**session, "Authorization": f"Bearer {site.master}"}
        assert http.post("/mcp", json=called, headers=as_bearer).json()["result"]["content"]
        assert http.post("/mcp", json=called, headers=session).status_code == 401
        own = http.post("/mcp", json=initialize("2025-11-25"), headers={**HEADERS, "Api-Key": reader})
        session = {**HEADERS, "Mcp-Session-Id": own.headers["mcp-session-id"], "Api-Key": reader}
        assert http.post("/mcp", json=called, headers=session).status_code == 200
        keys.revoke(site.data, "reader")
        assert http.post("/mcp", json=called, headers=session).status_code == 401


@pytest.mark.parametrize("mode", [CURRENT, WITH_SESSIONS])
async def test_what_a_key_writes_is_found_at_once(site: Site, mode: str) -> None:
    async with connected(site.url, site.master, mode) as client:
        place = {"name": MINE, "namespace": f"new-{mode}"}
        await call(client, "upsert-records", **place, records=[{"_id": "a", "chunk_text": "fresh"}])
        answer = await call(client, "search-records", **place, query={"inputs": {"text": "fresh"}, "topK": 1})
        assert answer["result"]["hits"][0]["_id"] == "a"
