"""Hits by document: at most so many hits with the same value of a field, over HTTP."""

import json
from typing import Any

import httpx
import pytest

TEXTS = ["blocked pump", "blocked blocked pump", "pump", "a pump in the hall", "water for a pump", "fig"]
RERANK = {"model": "bm25", "rank_fields": ["chunk_text"]}


@pytest.fixture
def filled(client: httpx.Client, namespace: str) -> str:
    """A namespace with six chunks of three documents, and one chunk of none."""
    rows = [{"_id": f"{n}", "chunk_text": text, "source": f"d{n // 2}", "n": n} for n, text in enumerate(TEXTS)]
    rows.append({"_id": "loose", "chunk_text": "pump pump", "n": 9})
    body = "\n".join(map(json.dumps, rows))
    assert client.post(f"/records/namespaces/{namespace}/upsert", content=body).status_code == 201
    return namespace


def ask(client: httpx.Client, namespace: str, top_k: int = 10, more: Any = None, **inputs: Any) -> httpx.Response:
    query = {"top_k": top_k, "inputs": {"text": "blocked pump", **inputs}, **(more or {}).pop("query", {})}
    return client.post(f"/records/namespaces/{namespace}/search", json={"query": query, **(more or {})})


def hits(answer: httpx.Response) -> list[tuple[str, float, str | None]]:
    assert answer.status_code == 200, answer.text
    return [(hit["_id"], hit["_score"], hit["fields"].get("source")) for hit in answer.json()["result"]["hits"]]


def best_of_each(every: list[tuple[str, float, str | None]], size: int) -> list[tuple[str, float, str | None]]:
    sources = [source for _, _, source in every]
    return [hit for place, hit in enumerate(every) if hit[2] is None or sources[:place].count(hit[2]) < size]


@pytest.mark.parametrize("retrieval", ["dense", "lexical", "hybrid"])
@pytest.mark.parametrize("size", [None, 1, 2])
def test_the_best_hits_of_each_document_are_shown(
    client: httpx.Client, filled: str, retrieval: str, size: int | None
) -> None:
    kept = {"query": {"filter": {"n": {"$gte": 1}}}}
    every = hits(ask(client, filled, more=dict(kept), retrieval=retrieval))
    wanted = best_of_each(every, size or 1)
    assert len(wanted) > 2
    grouped = {"retrieval": retrieval, "group_by": "source", "group_size": size}
    assert hits(ask(client, filled, more=dict(kept), **grouped)) == wanted
    assert hits(ask(client, filled, 2, more=dict(kept), **grouped)) == wanted[:2]


def test_hits_are_grouped_before_they_are_reranked(client: httpx.Client, filled: str) -> None:
    grouped = hits(ask(client, filled, group_by="source"))
    reranked = hits(ask(client, filled, more={"rerank": RERANK}, group_by="source"))
    assert {id for id, _, _ in reranked} == {id for id, _, _ in grouped}
    first = hits(ask(client, filled, more={"rerank": {**RERANK, "top_n": 2}}, group_by="source"))
    assert first == reranked[:2]


def test_a_search_by_vector_groups_its_hits_too(client: httpx.Client, filled: str) -> None:
    dimension = len(
        client.get("/vectors/fetch", params={"ids": "0", "namespace": filled}).json()["vectors"]["0"]["values"]
    )
    by_vector = {"query": {"vector": {"values": [1.0] * dimension}}}
    every = hits(ask(client, filled, more=dict(by_vector)))
    assert hits(ask(client, filled, more=dict(by_vector), group_by="source")) == best_of_each(every, 1)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"group_size": 2}, "'group_size' needs 'group_by', the name of the field whose values are the groups"),
        ({"group_by": ""}, "'group_by' must be the name of a field, got an empty string"),
        (
            {"group_by": "n", "group_size": 0},
            "group_size must be from 1 to 10000, got 0: it is the most hits of a group",
        ),
        ({"group_by": "n", "group_size": 10_001}, "group_size must be from 1 to 10000, got 10001"),
        ({"group_by": 3}, "Expected `str | null`, got `int` - at `$.query.inputs.group_by`"),
        ({"group_by": "n", "group_size": 1.5}, "Expected `int | null`, got `float` - at `$.query.inputs.group_size`"),
        ({"group_by": "n", "group_size": True}, "Expected `int | null`, got `bool`"),
    ],
)
def test_a_wrong_grouping_is_refused(client: httpx.Client, namespace: str, inputs: Any, message: str) -> None:
    answer = ask(client, namespace, **inputs)
    assert answer.status_code == 400
    assert message in answer.json()["message"]


def test_a_namespace_without_records_or_without_the_field_is_no_error(client: httpx.Client, filled: str) -> None:
    assert hits(ask(client, "nothing-here", group_by="source")) == []
    assert len(hits(ask(client, filled, group_by="no such field"))) == len(TEXTS) + 1
