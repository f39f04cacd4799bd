"""A learned sparse model beside the dense one: the third side of hybrid search, by the real splade-tiny."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.running import LEARNED_SPARSE, RunningServer

pytestmark = pytest.mark.skipif(LEARNED_SPARSE != "splade-tiny", reason="the package with its weights is not installed")

HASH, SPLADE = "pinyon-hash-embed", "splade-tiny"
TEXTS = {
    "walk": "an astronaut performs a spacewalk outside the station",
    "sonar": "a submarine navigates under water using sonar",
    "duck": "Donald F. Duck is a funny animal character",
    "bread": "bread is baked from flour, water and salt",
}


def made(control: httpx.Client, name: str, **write: Any) -> httpx.Response:
    read = {"retrieval": "hybrid"}
    embed = {"model": HASH, "field_map": {"text": "text"}, "read_parameters": read, "write_parameters": write}
    body = {"name": name, "cloud": "aws", "region": "us-east-1", "embed": embed}
    return control.post("/indexes/create-for-model", json=body)


@contextmanager
def index(server: RunningServer, name: str, **write: Any) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """A client for indexes, and one for a new index with the texts."""
    with server.client() as control:
        answer = made(control, name, **write)
        assert answer.status_code == 201, answer.text
        with httpx.Client(base_url=answer.json()["host"], timeout=60) as client:
            rows = "\n".join(json.dumps({"_id": id, "text": text}) for id, text in TEXTS.items())
            assert client.post("/records/namespaces/n/upsert", content=rows).status_code == 201
            yield control, client
        assert control.delete(f"/indexes/{name}").status_code == 202


@pytest.fixture(scope="module")
def learned(control_server: RunningServer) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    with index(control_server, "three-sides", sparse_model=SPLADE) as clients:
        yield clients


def search(client: httpx.Client, text: str, rerank: dict[str, Any] | None = None, **inputs: Any) -> dict[str, Any]:
    """The hits by id, best first, with the parts of their scores."""
    query = {"top_k": 4, "inputs": {"text": text, "explain": True, **inputs}}
    body = {"query": query, "fields": []} | ({"rerank": rerank} if rerank else {})
    answer = client.post("/records/namespaces/n/search", json=body)
    assert answer.status_code == 200, answer.text
    return {hit["_id"]: {**hit["fields"]["_explain"], "last": hit["_score"]} for hit in answer.json()["result"]["hits"]}


def refusal(answer: httpx.Response) -> str:
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"]["message"])


def test_a_text_that_means_the_query_is_found_without_its_words(learned: tuple[httpx.Client, httpx.Client]) -> None:
    hits = search(learned[1], "birds")
    assert next(iter(hits)) == "duck"
    assert "lexical" not in hits["duck"]
    assert hits["duck"]["learned"] > max(hit["learned"] for id, hit in hits.items() if id != "duck")


def test_the_score_is_the_mean_of_its_three_parts(learned: tuple[httpx.Client, httpx.Client]) -> None:
    for hit in search(learned[1], "water").values():
        by_similarity = 1 - hit["lexical_weight"] - hit["learned_weight"]
        parts = (
            by_similarity * hit["similarity"]
            + hit["lexical_weight"] * hit["share"]
            + hit["learned_weight"] * hit["learned"]
        )
        assert hit["score"] == pytest.approx(parts, abs=1e-5)
        assert (by_similarity, hit["learned_weight"]) == pytest.approx((0.4, 0.2))


def test_the_mix_of_a_search_can_leave_them_out(learned: tuple[httpx.Client, httpx.Client]) -> None:
    hits = search(learned[1], "birds", mix={"learned": 0})
    assert {(hit["learned_weight"], hit["lexical_weight"]) for hit in hits.values()} == {(0, 0.5)}


def test_they_do_not_count_for_a_query_in_a_language_that_their_model_does_not_know(
    learned: tuple[httpx.Client, httpx.Client],
) -> None:
    for text in ("космонавт в открытом космосе", "wie backt man ein gutes Brot aus Mehl"):
        hits = search(learned[1], text)
        assert len(hits) == 4
        assert all("learned" not in hit and hit["lexical_weight"] == 0.5 for hit in hits.values())


def test_dense_and_lexical_searches_do_without_them(learned: tuple[httpx.Client, httpx.Client]) -> None:
    for retrieval in ("dense", "lexical"):
        assert all("learned" not in hit for hit in search(learned[1], "water", retrieval=retrieval).values())


def test_reranked_scores_have_the_same_sides_however_the_hits_were_found(
    learned: tuple[httpx.Client, httpx.Client],
) -> None:
    rerank = {"model": "pinyon-late-interaction", "rank_fields": ["text"]}
    hits = {how: search(learned[1], "water", rerank, retrieval=how) for how in ("dense", "lexical", "hybrid")}
    assert hits["lexical"].keys() == {"sonar", "bread"}
    assert all("learned" in hit for hit in hits["dense"].values())
    for how in ("lexical", "hybrid"):
        for id, hit in hits[how].items():
            assert hit["last"] == pytest.approx(hits["dense"][id]["last"], abs=1e-5)


def test_learned_words_of_another_query_do_not_count_when_hits_are_reranked(
    learned: tuple[httpx.Client, httpx.Client],
) -> None:
    rerank = {"model": "pinyon-late-interaction", "rank_fields": ["text"]}
    same, other = (search(learned[1], "water", {**rerank, "query": query}) for query in ("water", "water "))
    assert any(same[id]["last"] != pytest.approx(other[id]["last"], abs=1e-3) for id in same)


def test_they_are_no_values_of_a_record_and_its_model_is_named(learned: tuple[httpx.Client, httpx.Client]) -> None:
    control, client = learned
    record = client.get("/vectors/fetch", params={"ids": "duck", "namespace": "n"}).json()["vectors"]["duck"]
    assert "sparseValues" not in record
    described = control.get("/indexes/three-sides").json()["embed"]["write_parameters"]
    assert described["sparse_model"] == SPLADE
    answer = client.post("/records/namespaces/n/upsert", content='{"_id": "bread", "text": "bread is baked of flour"}')
    assert answer.headers["x-pinyon-model"] == f"{HASH}, {SPLADE}"
    for how, models in (("hybrid", f"{HASH}, {SPLADE}"), ("dense", HASH)):
        query = {"top_k": 1, "inputs": {"text": "birds", "retrieval": how}}
        answer = client.post("/records/namespaces/n/search", json={"query": query})
        assert answer.headers["x-pinyon-model"] == models


def test_an_existing_index_gets_them_by_re_embedding_and_loses_them_so(control_server: RunningServer) -> None:
    with index(control_server, "two-sides") as (control, client):
        assert all("learned" not in hit for hit in search(client, "birds").values())
        change = {"embed": {"write_parameters": {"sparse_model": SPLADE}}}
        assert "--sparse-model splade-tiny" in refusal(control.patch("/indexes/two-sides", json=change))
        for chosen, has_them in ((SPLADE, True), ("none", False)):
            body = {"model": HASH, "sparse_model": chosen}
            told = control.post("/indexes/two-sides/reembed", json=body)
            assert told.status_code == 202, told.text
            while told.json()["running"]:
                told = control.get("/indexes/two-sides/reembed")
            assert told.json().get("failed") is None
            assert all(("learned" in hit) == has_them for hit in search(client, "birds").values())
            shown = control.get("/indexes/two-sides").json()["embed"]["write_parameters"]
            assert shown.get("sparse_model") == (SPLADE if has_them else None)


def test_a_model_that_is_none_of_these_is_refused(control_server: RunningServer) -> None:
    with control_server.client() as control:
        for name in ("pinyon-bm25", "all-MiniLM-L6-v2", "pinecone-sparse-english-v0", 3):
            message = refusal(made(control, "refused", sparse_model=name))
            assert message == f"The parameter 'sparse_model' must be one of splade-tiny, none, got {name!r}"
        embed = {"model": "pinyon-bm25", "field_map": {"text": "text"}, "write_parameters": {"sparse_model": SPLADE}}
        body = {"name": "refused", "cloud": "aws", "region": "us-east-1", "embed": embed}
        assert "are for dense ones" in refusal(control.post("/indexes/create-for-model", json=body))
        assert control.get("/indexes/refused").status_code == 404
