"""What the tools do, over both protocols of HTTP."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from pinyon.mcp.protocol import TOOLS
from pinyon.mcp.shortening import ANSWER_CHARACTERS, CUT, VALUE_CHARACTERS

from tests.mcp.conftest import CURRENT, WITH_SESSIONS, call, connected, refusal
from tests.running import RunningServer

pytestmark = pytest.mark.anyio
RERANK = {"model": "bm25", "rankFields": ["chunk_text"], "topN": 2}
TREES = [
    {"_id": "pine", "chunk_text": "Pine trees keep their needles in winter", "kind": "tree", "height": 40},
    {"_id": "oak", "chunk_text": "Oak trees lose their leaves in winter", "kind": "tree", "height": 30},
    {"_id": "moss", "chunk_text": "Moss has no roots", "kind": "plant", "height": 1},
]


def query(text: str, top_k: int = 10, **more: Any) -> dict[str, Any]:
    return {"inputs": {"text": text}, "topK": top_k, **more}


@pytest.fixture(params=[CURRENT, WITH_SESSIONS])
async def client(request: pytest.FixtureRequest, agents: RunningServer) -> AsyncIterator[Client]:
    async with connected(agents.url, mode=request.param) as client:
        yield client


@pytest.fixture
async def trees(client: Client, namespace: str) -> dict[str, Any]:
    """Three records, as the arguments of other tools name them."""
    place = {"name": "quickstart", "namespace": namespace}
    stored = await call(client, "upsert-records", **place, records=TREES)
    assert stored["upsertedCount"] == 3
    return place


async def test_tools_say_what_they_take_return_and_change(client: Client) -> None:
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(listed) == set(TOOLS)
    for tool in listed.values():
        assert tool.description and tool.annotations
        for shape in (tool.input_schema, tool.output_schema):
            assert shape and shape["type"] == "object"
            jsonschema.Draft202012Validator.check_schema(shape)
            assert "$ref" not in json.dumps(shape)  # some clients do not follow references
    changing = {name for name, tool in listed.items() if not tool.annotations.read_only_hint}
    assert changing == {"upsert-records", "create-index-for-model"}
    assert {name for name, tool in listed.items() if tool.annotations.destructive_hint} == {"upsert-records"}


async def test_an_agent_finds_its_way_from_the_indexes_to_a_record(client: Client, trees: dict[str, Any]) -> None:
    index = next(i for i in (await call(client, "list-indexes"))["indexes"] if i["name"] == "quickstart")
    assert (index["embed"]["fieldMap"], index["status"]["ready"]) == ({"text": "chunk_text"}, True)
    assert await call(client, "describe-index", name="quickstart") == index
    stats = await call(client, "describe-index-stats", name="quickstart")
    assert stats["namespaces"][trees["namespace"]] == {"recordCount": 3}
    found = await call(client, "list-namespaces", name="quickstart", prefix=trees["namespace"])
    assert found["namespaces"] == [{"name": trees["namespace"], "recordCount": 3}]
    answer = await call(client, "search-records", **trees, query=query("trees in winter", filter={"kind": "tree"}))
    hits = answer["result"]["hits"]
    assert {hit["_id"] for hit in hits} == {"pine", "oak"}
    assert answer["models"] == ["pinyon-hash-embed"] and answer["usage"]["embedTotalTokens"] == 3
    fetched = await call(client, "fetch-records", **trees, ids=["moss", "none"])
    assert fetched["records"] == [{"_id": "moss", "fields": {k: v for k, v in TREES[2].items() if k != "_id"}}]
    assert fetched["missing"] == ["none"]


async def test_facets_are_counted_exactly(client: Client, trees: dict[str, Any]) -> None:
    counted = await call(client, "facet-values", **trees, field="kind", filter={"height": {"$lt": 40}}, limit=1)
    assert counted["facets"] == [{"value": "plant", "count": 1}] and counted["distinct"] == 2
    assert "most frequent of 2" in counted["notes"][0]


async def test_hits_are_reranked_and_explained(client: Client, trees: dict[str, Any]) -> None:
    asked = {**trees, "query": query("needles"), "rerank": RERANK}
    hits = (await call(client, "search-records", **asked))["result"]["hits"]
    assert len(hits) == 2
    for rank, hit in enumerate(hits, start=1):
        why = await call(client, "explain-hit", **asked, id=hit["_id"])
        assert (why["rank"], why["hits"], why["score"]) == (rank, 2, hit["_score"])
        assert why["parts"]["rerank"] == hit["_score"] and why["best"]["_id"] == hits[0]["_id"]
    last = ({tree["_id"] for tree in TREES} - {hit["_id"] for hit in hits}).pop()
    why = await call(client, "explain-hit", **asked, id=last)
    assert why["rank"] is None and "before reranking" in why["notes"][1]
    assert "no record 'none'" in await refusal(client, "explain-hit", **asked, id="none")


async def test_cascading_search_merges_deduplicates_and_reranks(client: Client, trees: dict[str, Any]) -> None:
    second = {"name": "quickstart", "namespace": f"{trees['namespace']}-2"}
    more = [{"_id": "pine", "chunk_text": "Another pine"}, {"_id": "fir", "chunk_text": "Fir trees have needles"}]
    await call(client, "upsert-records", **second, records=more)
    missing = {"name": "no-such-index", "namespace": "x"}
    places = [trees, second, missing, trees]
    answer = await call(client, "cascading-search", indexes=places, query=query("needles", 3), rerank=RERANK)
    assert len(answer["data"]) == 2 and "bm25" in answer["model"]
    assert [row["score"] for row in answer["data"]] == sorted((row["score"] for row in answer["data"]), reverse=True)
    assert "index no-such-index" in answer["notes"][0]
    every = await call(client, "cascading-search", indexes=places, query=query("needles", 9), rerank={"model": "bm25"})
    by_id = {row["_id"]: row for row in every["data"]}
    assert len(every["data"]) == len(by_id) == 4
    assert by_id["pine"]["source"] == f"quickstart/{trees['namespace']}"
    assert by_id["fir"]["source"] == f"quickstart/{second['namespace']}"
    nothing = await refusal(client, "cascading-search", indexes=[missing], query=query("needles"), rerank=RERANK)
    assert nothing.startswith("NOT_FOUND") and "quickstart" in nothing


async def test_documents_of_the_caller_are_reranked(client: Client) -> None:
    asked = {"model": "bm25", "query": "needles", "documents": [tree["chunk_text"] for tree in TREES]}
    answer = await call(client, "rerank-documents", **asked, options={"topN": 1})
    assert answer["data"][0]["index"] == 0 and answer["data"][0]["document"] == {"text": TREES[0]["chunk_text"]}
    options = {"rankFields": ["chunk_text"]}
    rows = await call(client, "rerank-documents", model="bm25", query="roots", documents=TREES, options=options)
    assert rows["data"][0]["index"] == 2


async def test_an_index_is_made_once(client: Client) -> None:
    embed = {"model": "pinyon-hash-embed", "fieldMap": {"text": "body"}}
    first = await call(client, "create-index-for-model", name="made", cloud="aws", region="us-east-1", embed=embed)
    again = await call(client, "create-index-for-model", name="made", embed={**embed, "fieldMap": {"text": "other"}})
    assert first["embed"]["fieldMap"] == again["embed"]["fieldMap"] == {"text": "body"}
    assert "Nothing was created" in again["notes"][0] and first["tags"] == {"source": "mcp"}


async def test_long_answers_are_cut_and_the_notes_lead_to_the_rest(client: Client, namespace: str) -> None:
    place = {"name": "quickstart", "namespace": namespace}
    text = "winter " + "".join(f"{n:05d}" for n in range(4_000))
    records = [{"_id": f"r{n:02d}", "chunk_text": text, "list": ["word" * 50] * 20} for n in range(20)]
    await call(client, "upsert-records", **place, records=records)
    ids: list[str] = []
    while len(ids) < 20:
        result = await client.call_tool(
            "search-records", {**place, "query": query("winter", 20), "skip": len(ids), "fields": ["chunk_text"]}
        )
        assert len(result.content[0].text) < 1.2 * ANSWER_CHARACTERS
        answer = result.structured_content
        hits = answer["result"]["hits"]
        assert hits and all(len(hit["fields"]["chunk_text"]) == VALUE_CHARACTERS + len(CUT) for hit in hits)
        ids += [hit["_id"] for hit in hits]
        if len(ids) < 20:
            assert f"skip: {len(ids)}" in answer["notes"][0]
    assert sorted(ids) == [record["_id"] for record in records]
    read, notes = "", ["begin"]
    while notes:
        asked = {"ids": ["r00"], "fields": ["chunk_text"], "textOffset": len(read)}
        fetched = await call(client, "fetch-records", **place, **asked)
        read += fetched["records"][0]["fields"]["chunk_text"].removesuffix(CUT)
        notes = fetched.get("notes", [])
        assert not notes or f"textOffset: {len(read)}" in notes[0]
    assert read == text
    several = await call(client, "fetch-records", **place, ids=["r01", "r02", "r03"])
    assert len(several["records"]) == 1 and "r02, r03" in several["notes"][-1]


async def test_an_empty_answer_says_why(client: Client, trees: dict[str, Any]) -> None:
    elsewhere = {**trees, "namespace": "nowhere"}
    answer = await call(client, "search-records", **elsewhere, query=query("trees"))
    assert not answer["result"]["hits"] and "no namespace 'nowhere'" in answer["notes"][0]
    answer = await call(client, "search-records", **trees, query=query("trees", filter={"kind": "stone"}))
    assert "facet-values" in answer["notes"][0]
    asked = query("zebra")
    asked["inputs"]["retrieval"] = "lexical"
    assert "dense" in (await call(client, "search-records", **trees, query=asked))["notes"][0]


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("search-records", {"name": "none", "query": query("x")}, "list-indexes|may see: .*quickstart"),
        ("search-records", {"name": "quickstart", "query": {"top_k": 3}}, "unknown field `top_k`.*takes: name, query"),
        ("search-records", {"name": "quickstart", "query": query("  ")}, "non-empty"),
        ("search-records", {"name": "quickstart", "query": query("x", 0)}, ">= 1"),
        ("search-records", {"name": "quickstart", "query": query("x", 10**6)}, "between 1 and 10000"),
        ("search-records", {"name": "quickstart", "query": query("x", filter={"a": {"$near": 1}})}, r"\$near"),
        ("search-records", {"name": "quickstart", "query": query("x"), "namespace": "ä"}, "ASCII"),
        (
            "search-records",
            {"name": "quickstart", "query": query("x"), "rerank": {"model": "no"}},
            "available for rerank",
        ),
        ("search-records", {"query": query("x")}, "required field `name`"),
        ("search-records", {"name": ["quickstart"], "query": query("x")}, "Expected `str`"),
        ("search-records", {"name": "a/../b\x00", "query": query("x")}, "not found"),
        ("upsert-records", {"name": "quickstart", "records": [{"chunk_text": "no id"}]}, "has no '_id'"),
        ("upsert-records", {"name": "quickstart", "records": []}, "INVALID_ARGUMENT"),
        (
            "upsert-records",
            {"name": "quickstart", "records": [{"_id": "a", "chunk_text": {"b": 1}}]},
            "must be a string",
        ),
        ("upsert-records", {"name": "quickstart", "records": [{"_id": "a", "chunk_text": "b"}] * 97}, "96"),
        ("fetch-records", {"name": "quickstart", "ids": []}, "length >= 1"),
        ("fetch-records", {"name": "quickstart", "ids": ["x" * 600]}, "512"),
        ("list-indexes", {"paginationToken": "nonsense"}, "pagination token"),
        ("list-namespaces", {"name": "quickstart", "limit": 101}, "<= 100"),
        ("facet-values", {"name": "quickstart", "field": ""}, "'field'"),
        (
            "create-index-for-model",
            {"name": "Bad Name", "embed": {"model": "bm25", "fieldMap": {"text": "t"}}},
            "INVALID|NOT_FOUND",
        ),
        (
            "create-index-for-model",
            {"name": "x", "embed": {"model": "no", "fieldMap": {"text": "t"}}},
            "available for embed",
        ),
        ("rerank-documents", {"model": "bm25", "query": "x", "documents": [1]}, "Expected `str | object`"),
        ("rerank-documents", {"model": "bm25", "query": "x", "documents": [{"a": "b"}]}, "field 'text' not found"),
        ("cascading-search", {"indexes": [], "query": query("x"), "rerank": RERANK}, "length >= 1"),
    ],
)
async def test_wrong_arguments_are_told_in_words(
    client: Client, tool: str, arguments: dict[str, Any], told: str
) -> None:
    text = await refusal(client, tool, **arguments)
    assert re.search(told, text), text
    assert "INTERNAL" not in text


async def test_an_unknown_tool_is_an_error_of_the_protocol(client: Client) -> None:
    with pytest.raises(MCPError, match="no tool 'delete-everything'.*list-indexes"):
        await client.call_tool("delete-everything", {})
