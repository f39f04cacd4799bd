"""Late interaction with token vectors that were stored with the records, over HTTP."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.running import RunningServer

VERSION = {"X-Pinecone-Api-Version": "2025-10"}
HASH = "pinyon-hash-embed"
TEXTS = {
    "pump": "a blocked pump must be cleaned with water",
    "fruit": "apples and pears keep you healthy",
    "monks": "orchards were planted by monks in the middle ages",
}
Create = Callable[..., Any]


@pytest.fixture
def create(control_server: RunningServer) -> Iterator[Create]:
    """Makes an index with these write parameters, and returns a client of it. Indexes are deleted afterwards."""
    with control_server.client() as control:
        made: list[Any] = []

        def one(**write: str) -> Any:
            embed = {"model": HASH, "field_map": {"text": "text"}, "write_parameters": write}
            body = {"name": f"tv-{uuid4().hex[:12]}", "cloud": "aws", "region": "us-east-1", "embed": embed}
            answer = control.post("/indexes/create-for-model", json=body, headers=VERSION)
            assert answer.status_code == 201, answer.text
            made.append(httpx.Client(base_url=answer.json()["host"], timeout=60))
            return answer.json(), made[-1], control

        yield one
        for client in made:
            client.close()
        for index in control.get("/indexes", headers=VERSION).json()["indexes"]:
            if index["name"].startswith("tv-"):
                control.delete(f"/indexes/{index['name']}")


def upsert(client: httpx.Client, texts: dict[str, str]) -> None:
    lines = "\n".join(json.dumps({"_id": id, "text": text}) for id, text in texts.items())
    answer = client.post("/records/namespaces/n/upsert", content=lines)
    assert answer.status_code == 201, answer.text


def reranked(client: httpx.Client, **more: Any) -> dict[str, dict[str, Any]]:
    """What explains the hits of one question, by id."""
    rerank = {"model": "pinyon-late-interaction", "rank_fields": ["text"], **more}
    body = {
        "query": {"top_k": 10, "inputs": {"text": "who cleaned the pump?", "retrieval": "hybrid", "explain": True}},
        "rerank": rerank,
    }
    answer = client.post("/records/namespaces/n/search", json=body)
    assert answer.status_code == 200, answer.text
    return {hit["_id"]: hit["fields"]["_explain"] for hit in answer.json()["result"]["hits"]}


def test_stored_token_vectors_rank_like_texts_that_are_read(create: Create) -> None:
    made, storing, _ = create(token_vectors="stored")
    assert made["embed"]["write_parameters"]["token_vectors"] == "stored"
    plain, reading, _ = create()
    assert "token_vectors" not in plain["embed"]["write_parameters"]
    upsert(storing, TEXTS)
    upsert(reading, TEXTS)
    stored, read = reranked(storing), reranked(reading)
    assert list(stored) == list(read) == ["pump", *list(read)[1:]]
    for id, explained in stored.items():
        assert explained["token_vectors"] == "stored"
        assert "token_vectors" not in read[id]
        assert explained["rerank"] == pytest.approx(read[id]["rerank"], abs=0.03)
        assert explained["score"] == pytest.approx(read[id]["score"], abs=1e-6)


def test_texts_without_them_are_read_and_the_explanation_says_so(create: Create) -> None:
    _, client, _ = create(token_vectors="stored")
    upsert(client, TEXTS)
    fields = {"text": "the pump was cleaned by apples"}
    changed = {"id": "fruit", "values": [0.1] * 64, "setMetadata": fields, "namespace": "n"}
    assert client.post("/vectors/update", json=changed).status_code == 200
    own = {"id": "own", "values": [0.1] * 64, "metadata": {"text": "a pump of a foreign vector"}}
    answer = client.post("/vectors/upsert", json={"vectors": [own], "namespace": "n"})
    assert answer.status_code == 200, answer.text
    found = {id: explained["token_vectors"] for id, explained in reranked(client).items()}
    assert found == {"pump": "stored", "monks": "stored", "fruit": "read", "own": "read"}


def test_the_words_that_a_hybrid_search_has_counted_are_not_counted_again_and_weigh_the_same(create: Create) -> None:
    _, client, _ = create(token_vectors="stored")
    upsert(client, TEXTS)
    by_search, counted_again = reranked(client), reranked(client, query="who cleaned the pump?")
    assert list(by_search) == list(counted_again)
    for id, explained in by_search.items():
        assert explained["rerank"] == pytest.approx(counted_again[id]["rerank"], abs=1e-6)


def test_a_query_of_its_own_for_reranking_uses_them_too_and_other_fields_are_read(create: Create) -> None:
    _, client, _ = create(token_vectors="stored")
    upsert(client, TEXTS)
    by_monks = reranked(client, query="monks in the middle ages")
    assert next(iter(by_monks)) == "monks"
    assert {explained["token_vectors"] for explained in by_monks.values()} == {"stored"}
    lines = json.dumps({"_id": "titled", "text": "a pump", "title": "who cleaned the pump"})
    assert client.post("/records/namespaces/m/upsert", content=lines).status_code == 201
    body = {
        "query": {"top_k": 1, "inputs": {"text": "pump", "explain": True}},
        "rerank": {"model": "pinyon-late-interaction", "rank_fields": ["title"]},
    }
    (hit,) = client.post("/records/namespaces/m/search", json=body).json()["result"]["hits"]
    assert "token_vectors" not in hit["fields"]["_explain"]


def test_an_index_begins_and_ends_to_store_them_when_it_is_configured(create: Create) -> None:
    made, client, control = create()
    upsert(client, {"pump": TEXTS["pump"]})
    for value, found in (("stored", {"pump": "read", "fruit": "stored"}), ("none", {"pump": None, "fruit": None})):
        embed = {"write_parameters": {"token_vectors": value}}
        answer = control.patch(f"/indexes/{made['name']}", json={"embed": embed}, headers=VERSION)
        assert answer.status_code == 200, answer.text
        upsert(client, {"fruit": TEXTS["fruit"]})
        assert {id: explained.get("token_vectors") for id, explained in reranked(client).items()} == found


def test_reembedding_with_the_same_model_adds_what_older_records_lack(create: Create) -> None:
    made, client, control = create()
    upsert(client, TEXTS)
    path = f"/indexes/{made['name']}"
    assert control.post(f"{path}/reembed", json={"model": HASH}).status_code == 400
    embed = {"write_parameters": {"token_vectors": "stored"}}
    assert control.patch(path, json={"embed": embed}, headers=VERSION).status_code == 200
    assert {explained["token_vectors"] for explained in reranked(client).values()} == {"read"}
    assert control.post(f"{path}/reembed", json={"model": HASH}).status_code == 202
    while (told := control.get(f"{path}/reembed").json())["running"]:
        pass
    assert told["failed"] is None
    assert {explained["token_vectors"] for explained in reranked(client).values()} == {"stored"}


@pytest.mark.parametrize(
    ("model", "value", "message"),
    [
        (HASH, "all", "must be one of none, stored"),
        ("pinyon-bm25", "stored", "Sparse models have no token vectors to store"),
    ],
)
def test_what_cannot_be_stored_is_refused(control_server: RunningServer, model: str, value: str, message: str) -> None:
    embed = {"model": model, "field_map": {"text": "text"}, "write_parameters": {"token_vectors": value}}
    body = {"name": "refused", "cloud": "aws", "region": "us-east-1", "embed": embed}
    with control_server.client() as control:
        answer = control.post("/indexes/create-for-model", json=body, headers=VERSION)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
