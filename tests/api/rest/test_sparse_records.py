"""Text in indexes of sparse vectors: search by words, and match_terms."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.running import LEARNED_SPARSE, RunningServer

TEXTS = {
    "training": "astronaut training in zero gravity conditions",
    "submarine": "submarine underwater navigation using sonar",
    "walk": "astronaut performs spacewalk outside the station",
    "duck": "Donald F. Duck is a funny animal character",
    "other duck": "A duck is a funny animal",
}


@pytest.fixture(scope="module")
def index(control_server: RunningServer) -> Iterator[httpx.Client]:
    """An index of sparse vectors with the texts in the namespace n."""
    embed = {"model": "pinyon-bm25", "field_map": {"text": "chunk"}}
    body = {"name": "words", "cloud": "aws", "region": "us-east-1", "embed": embed}
    with control_server.client() as control:
        made = control.post("/indexes/create-for-model", json=body).json()
        with httpx.Client(base_url=made["host"], timeout=60) as client:
            rows = [f'{{"_id": "{id}", "chunk": "{text}", "length": {len(text)}}}' for id, text in TEXTS.items()]
            answer = client.post("/records/namespaces/n/upsert", content="\n".join(rows))
            assert answer.status_code == 201, answer.text
            assert answer.headers["x-pinyon-model"] == "pinyon-bm25"
            yield client
        assert control.delete("/indexes/words").status_code == 202


def search(index: httpx.Client, text: str, terms: list[str] | None = None, **query: Any) -> list[str]:
    if terms is not None:
        query["match_terms"] = {"strategy": "all", "terms": terms}
    body = {"query": {"top_k": 10, "inputs": {"text": text}, **query}, "fields": ["length"]}
    answer = index.post("/records/namespaces/n/search", json=body)
    assert answer.status_code == 200, answer.text
    hits = answer.json()["result"]["hits"]
    assert all(hit["fields"] == {"length": len(TEXTS[hit["_id"]])} for hit in hits)
    return [hit["_id"] for hit in hits]


def test_records_that_share_words_are_found_and_others_are_not(index: httpx.Client) -> None:
    assert search(index, "space exploration") == ["walk"]
    assert search(index, "astronauts in training") == ["training", "walk"]
    assert search(index, "quantum chromodynamics") == []


def test_hits_are_grouped_by_a_field(index: httpx.Client) -> None:
    every = search(index, "astronaut duck funny animal")
    assert set(every) == {"training", "walk", "duck", "other duck"}
    rows = [f'{{"_id": "{id}", "chunk": "{TEXTS[id]}", "duck": {json.dumps("duck" in id)}}}' for id in every]
    assert index.post("/records/namespaces/ducks/upsert", content="\n".join(rows)).status_code == 201
    query = {"top_k": 10, "inputs": {"text": "astronaut duck funny animal", "group_by": "duck"}}
    answer = index.post("/records/namespaces/ducks/search", json={"query": query, "fields": ["duck"]})
    assert [hit["fields"]["duck"] for hit in answer.json()["result"]["hits"]] == [True, False]


def test_rare_words_count_more_than_common_ones(index: httpx.Client) -> None:
    # "astronaut" is in two texts, "sonar" in one.
    assert search(index, "astronaut sonar")[0] == "submarine"


def test_every_term_must_occur_as_a_word(index: httpx.Client) -> None:
    assert search(index, "space exploration", ["astronaut"]) == ["walk"]
    assert search(index, "astronaut", ["ASTRONAUT", "gravity conditions"]) == ["training"]
    assert search(index, "funny", ["animal", "CHARACTER", "donald Duck"]) == ["duck"]
    assert set(search(index, "funny", ["animal"])) == {"duck", "other duck"}
    assert search(index, "astronaut", ["astro"]) == []
    assert search(index, "astronaut", ["submarine"]) == []


def test_terms_and_filter_must_both_hold(index: httpx.Client) -> None:
    assert search(index, "funny", ["animal"], filter={"length": {"$lt": 30}}) == ["other duck"]
    assert search(index, "funny", ["animal"], filter={"length": {"$lt": 3}}) == []


def test_hits_can_be_reranked(index: httpx.Client) -> None:
    rerank = {"model": "bge-reranker-v2-m3", "rank_fields": ["chunk"], "top_n": 1}
    body = {"query": {"top_k": 5, "inputs": {"text": "astronaut"}}, "rerank": rerank}
    answer = index.post("/records/namespaces/n/search", json=body)
    assert len(answer.json()["result"]["hits"]) == 1


def test_own_sparse_vectors_are_searched_by_their_dot_product(index: httpx.Client) -> None:
    sparse = {"indices": [7], "values": [2.0]}
    vector = {"id": "own", "sparseValues": sparse, "metadata": {"chunk": "by hand"}}
    assert index.post("/vectors/upsert", json={"vectors": [vector], "namespace": "m"}).status_code == 200
    body = {"query": {"top_k": 1, "vector": {"sparse_indices": [7], "sparse_values": [3.0]}}}
    (hit,) = index.post("/records/namespaces/m/search", json=body).json()["result"]["hits"]
    assert (hit["_id"], hit["_score"]) == ("own", 6.0)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"terms": ["a"], "strategy": "any"}, "must be 'all'"),
        ({"terms": [" ! "], "strategy": "all"}, "at least one word"),
        ({"terms": [], "strategy": "all"}, "at least one word"),
        ({"terms": [f"w{n}" for n in range(101)], "strategy": "all"}, "at most 100"),
        ({"terms": "a", "strategy": "all"}, "Expected `array`"),
        ({"strategy": "all"}, "missing required field `terms`"),
    ],
)
def test_wrong_terms_are_refused(index: httpx.Client, terms: Any, message: str) -> None:
    body = {"query": {"top_k": 1, "inputs": {"text": "x"}, "match_terms": terms}}
    answer = index.post("/records/namespaces/n/search", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["message"]


@pytest.mark.parametrize(("name", "value"), [("retrieval", "hybrid"), ("mix", {"words": 2}), ("min_score", 0.5)])
def test_what_only_dense_indexes_have_is_refused(index: httpx.Client, name: str, value: Any) -> None:
    body = {"query": {"top_k": 1, "inputs": {"text": "duck", name: value}}}
    answer = index.post("/records/namespaces/n/search", json=body)
    assert (answer.status_code, answer.json()["message"].partition(";")[0]) == (400, f"'{name}' is for dense indexes")


def test_dense_indexes_have_no_terms_to_match(client: httpx.Client) -> None:
    body = {"query": {"top_k": 1, "inputs": {"text": "x"}, "match_terms": {"strategy": "all", "terms": ["x"]}}}
    answer = client.post("/records/namespaces/n/search", json=body)
    assert answer.status_code == 400
    assert "only supported for sparse indexes" in answer.json()["message"]


def test_the_text_is_changed_together_with_its_sparse_vector_only(index: httpx.Client) -> None:
    row = '{"_id": "changed", "chunk": "old words"}'
    assert index.post("/records/namespaces/changes/upsert", content=row).status_code == 201
    change = {"id": "changed", "namespace": "changes", "setMetadata": {"chunk": "new words"}}
    refused = index.post("/vectors/update", json=change)
    assert refused.status_code == 400
    assert "'sparseValues' as well" in refused.json()["message"]
    both = {**change, "sparseValues": {"indices": [1, 2], "values": [0.5, 0.5]}}
    assert index.post("/vectors/update", json=both).status_code == 200


@pytest.mark.skipif(LEARNED_SPARSE != "splade-tiny", reason="the package with its weights is not installed")
def test_a_learned_model_finds_what_is_meant_and_its_scores_are_plain_dot_products(
    control_server: RunningServer,
) -> None:
    embed = {"model": "pinecone-sparse-english-v0", "field_map": {"text": "chunk"}}
    body = {"name": "learned", "cloud": "aws", "region": "us-east-1", "embed": embed}
    with control_server.client() as control:
        made = control.post("/indexes/create-for-model", json=body).json()
        with httpx.Client(base_url=made["host"], timeout=60) as client:
            rows = [f'{{"_id": "{id}", "chunk": "{text}", "length": {len(text)}}}' for id, text in TEXTS.items()]
            answer = client.post("/records/namespaces/n/upsert", content="\n".join(rows))
            assert answer.headers["x-pinyon-model"] == "splade-tiny; stand-in-for=pinecone-sparse-english-v0"
            assert search(client, "nasa")[:2] == ["walk", "training"]
            assert set(search(client, "birds")[:2]) == {"duck", "other duck"}
            (item,) = control.post(
                "/embed",
                json={"model": embed["model"], "inputs": [{"text": "duck"}], "parameters": {"input_type": "query"}},
            ).json()["data"]
            by_text, by_vector = (
                client.post("/records/namespaces/n/search", json={"query": {"top_k": 2, **query}}).json()["result"]
                for query in (
                    {"inputs": {"text": "duck"}},
                    {"vector": {key: item[key] for key in ("sparse_indices", "sparse_values")}},
                )
            )
        assert [(hit["_id"], pytest.approx(hit["_score"], rel=1e-5)) for hit in by_text["hits"]] == [
            (hit["_id"], hit["_score"]) for hit in by_vector["hits"]
        ]
        assert control.delete("/indexes/learned").status_code == 202
