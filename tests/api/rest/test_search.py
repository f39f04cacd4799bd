"""POST /records/namespaces/{namespace}/search, over a real socket."""

from typing import Any

import httpx
import pytest

from tests.running import RunningServer

APPLES = [
    ("rec1", "Apples are a great source of dietary fiber, which supports digestion.", "digestive system", 1),
    ("rec2", "Apples originated in Central Asia and have been cultivated for thousands of years.", "cultivation", 2),
    ("rec3", "Rich in vitamin C and other antioxidants, apples contribute to immune health.", "immune system", 3),
    ("rec4", "The high fiber content in apples can also help regulate blood sugar levels.", "endocrine system", 4),
]
Hits = list[dict[str, Any]]


@pytest.fixture(scope="module")
def apples(hash_server: RunningServer) -> str:
    """A namespace with four records."""
    rows = [{"_id": id, "chunk_text": text, "category": kind, "n": n} for id, text, kind, n in APPLES]
    with hash_server.client() as client:
        assert client.post("/records/namespaces/apples/upsert", json=rows).status_code == 201
    return "/records/namespaces/apples/search"


def search(client: httpx.Client, path: str, query: dict[str, Any], **more: Any) -> httpx.Response:
    return client.post(path, json={"query": {"top_k": 4, **query}, **more})


def hits(answer: httpx.Response) -> Hits:
    assert answer.status_code == 200, answer.text
    found: Hits = answer.json()["result"]["hits"]
    return found


def vector_of(text: str) -> list[float]:
    from pinyon.inference.backends.embedding.hash_backend import HashEncoder

    values: list[float] = HashEncoder(64, 256).encode([text], 256).vectors[0].tolist()
    return values


TEXT = {"inputs": {"text": "vitamin C and antioxidants"}}


def test_a_text_finds_the_nearest_record(client: httpx.Client, apples: str) -> None:
    answer = search(client, apples, TEXT)
    found = hits(answer)
    assert found[0]["_id"] == "rec3"
    assert found[0]["fields"] == {"chunk_text": APPLES[2][1], "category": "immune system", "n": 3}
    assert [hit["_score"] for hit in found] == sorted((hit["_score"] for hit in found), reverse=True)
    assert answer.json()["usage"] == {"read_units": 1, "embed_total_tokens": 4}
    assert answer.headers["x-pinyon-model"] == "pinyon-hash-embed"
    assert answer.headers["x-pinecone-max-indexed-lsn"] == answer.headers["x-pinecone-lsn-reconciled"]


def test_a_vector_finds_what_its_text_finds(client: httpx.Client, apples: str) -> None:
    by_text = hits(search(client, apples, TEXT))
    answer = search(client, apples, {"vector": {"values": vector_of(TEXT["inputs"]["text"])}})
    assert hits(answer) == by_text
    assert answer.json()["usage"] == {"read_units": 1}
    assert "x-pinyon-model" not in answer.headers


def test_an_id_finds_the_record_itself_first(client: httpx.Client, apples: str) -> None:
    answer = search(client, apples, {"id": "rec2"})
    assert (hits(answer)[0]["_id"], hits(answer)[0]["_score"]) == ("rec2", 1.0)
    assert answer.json()["usage"] == {"read_units": 1}


def test_a_vector_beside_a_text_is_what_is_searched_for(client: httpx.Client, apples: str) -> None:
    both = {**TEXT, "vector": {"values": vector_of("cultivated in Central Asia")}}
    assert hits(search(client, apples, both))[0]["_id"] == "rec2"


@pytest.mark.parametrize("top_k", [1, 2, 4, 10_000])
def test_top_k_is_a_prefix_of_a_larger_one(client: httpx.Client, apples: str, top_k: int) -> None:
    everything = hits(search(client, apples, TEXT, fields=[]))
    assert hits(search(client, apples, {**TEXT, "top_k": top_k}, fields=[])) == everything[:top_k]


@pytest.mark.parametrize("query", [TEXT, {"id": "rec1"}], ids=["text", "id"])
def test_unknown_namespaces_have_no_hits(client: httpx.Client, query: dict[str, Any]) -> None:
    answer = search(client, "/records/namespaces/nowhere/search", query)
    assert hits(answer) == []
    assert answer.json()["usage"]["read_units"] == 1


def test_an_unknown_id_has_no_hits(client: httpx.Client, apples: str) -> None:
    assert hits(search(client, apples, {"id": "nobody"})) == []


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        (["category"], {"category": "immune system"}),
        (["category", "nothing", "_id"], {"category": "immune system"}),
        ([], {}),
        (["*"], {"chunk_text": APPLES[2][1], "category": "immune system", "n": 3}),
        (None, {"chunk_text": APPLES[2][1], "category": "immune system", "n": 3}),
    ],
)
def test_only_the_fields_asked_for_are_shown(
    client: httpx.Client, apples: str, fields: list[str] | None, shown: dict[str, Any]
) -> None:
    assert hits(search(client, apples, TEXT, fields=fields))[0]["fields"] == shown


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ({"category": "cultivation"}, {"rec2"}),
        ({"category": {"$ne": "cultivation"}}, {"rec1", "rec3", "rec4"}),
        ({"n": {"$gte": 2, "$lt": 4}}, {"rec2", "rec3"}),
        ({"$or": [{"n": 1}, {"category": {"$in": ["cultivation"]}}]}, {"rec1", "rec2"}),
        ({"missing": {"$exists": True}}, set()),
        ({}, {"rec1", "rec2", "rec3", "rec4"}),
        (None, {"rec1", "rec2", "rec3", "rec4"}),
    ],
)
@pytest.mark.parametrize("top_k", [1, 4])
def test_a_filter_applies_before_top_k(
    client: httpx.Client, apples: str, raw: dict[str, Any] | None, kept: set[str], top_k: int
) -> None:
    found = {hit["_id"] for hit in hits(search(client, apples, {**TEXT, "filter": raw, "top_k": top_k}))}
    assert found <= kept
    assert len(found) == min(top_k, len(kept))


RERANK = {"model": "pinyon-late-interaction", "rank_fields": ["chunk_text"]}


def test_hits_are_reranked_and_cut_to_top_n(client: httpx.Client, apples: str) -> None:
    answer = search(client, apples, TEXT, rerank={**RERANK, "query": "cultivated Asia", "top_n": 2}, fields=["n"])
    found = hits(answer)
    assert len(found) == 2
    assert found[0]["_id"] == "rec2"
    assert found[0]["fields"] == {"n": 2}
    assert 0 <= found[1]["_score"] <= found[0]["_score"] <= 1
    assert answer.json()["usage"] == {"read_units": 1, "embed_total_tokens": 4, "rerank_units": 1}
    assert answer.headers["x-pinyon-model"] == "pinyon-hash-embed, pinyon-late-interaction"


def test_a_stand_in_reranker_says_so(client: httpx.Client, apples: str) -> None:
    answer = search(client, apples, {"id": "rec1"}, rerank={"model": "bge-reranker-v2-m3", "query": "fiber"})
    assert answer.headers["x-pinyon-model"] == "pinyon-late-interaction; stand-in-for=bge-reranker-v2-m3"


def test_the_mapped_field_and_the_search_text_are_the_defaults(client: httpx.Client, apples: str) -> None:
    spelled = search(client, apples, TEXT, rerank={**RERANK, "query": TEXT["inputs"]["text"], "top_n": 4})
    assert hits(search(client, apples, TEXT, rerank={"model": "pinyon-late-interaction"})) == hits(spelled)


@pytest.mark.parametrize("query", [{"id": "rec1"}, {"vector": {"values": [0.3] * 64}}], ids=["id", "vector"])
def test_searches_without_text_are_reranked_by_their_own_query(
    client: httpx.Client, apples: str, query: dict[str, Any]
) -> None:
    found = hits(search(client, apples, query, rerank={**RERANK, "query": "blood sugar levels", "top_n": 1}))
    assert [hit["_id"] for hit in found] == ["rec4"]


def test_another_field_can_be_ranked_by(client: httpx.Client, apples: str) -> None:
    rerank = {**RERANK, "rank_fields": ["category"], "query": "cultivation"}
    assert hits(search(client, apples, TEXT, rerank=rerank))[0]["_id"] == "rec2"


def test_several_fields_can_be_ranked_by_where_the_model_has_them(client: httpx.Client, apples: str) -> None:
    rerank: dict[str, Any] = {
        "model": "cohere-rerank-3.5",
        "rank_fields": ["category", "chunk_text"],
        "query": "cultivation Asia",
    }
    rerank["parameters"] = {"max_chunks_per_doc": 10}
    assert hits(search(client, apples, TEXT, rerank=rerank))[0]["_id"] == "rec2"


def test_a_score_does_not_depend_on_the_other_hits(client: httpx.Client, apples: str) -> None:
    def score(top_k: int) -> float:
        found = hits(search(client, apples, {"id": "rec4", "top_k": top_k}, rerank={**RERANK, "query": "fiber"}))
        return float(next(hit["_score"] for hit in found if hit["_id"] == "rec4"))

    assert score(1) == pytest.approx(score(4), abs=1e-6)


def test_no_hits_cost_no_rerank(client: httpx.Client) -> None:
    answer = search(client, "/records/namespaces/nowhere/search", TEXT, rerank=RERANK)
    assert hits(answer) == []
    assert answer.json()["usage"]["rerank_units"] == 0


def test_more_than_100_hits_are_not_reranked(client: httpx.Client, namespace: str) -> None:
    path = f"/records/namespaces/{namespace}"
    for start in (0, 60):
        rows = [{"_id": f"r{n}", "chunk_text": f"text {n}"} for n in range(start, start + 60)]
        client.post(f"{path}/upsert", json=rows)
    assert len(hits(search(client, f"{path}/search", {**TEXT, "top_k": 100}, rerank=RERANK))) == 100
    answer = search(client, f"{path}/search", {**TEXT, "top_k": 101}, rerank=RERANK)
    assert answer.status_code == 400
    assert "There are 101 hits to rerank" in answer.json()["message"]
    assert "at most 100" in answer.json()["message"]


def test_a_rerank_unit_is_a_hundred_documents(client: httpx.Client, namespace: str) -> None:
    path = f"/records/namespaces/{namespace}"
    for start in range(0, 150, 75):
        rows = [{"_id": f"r{n}", "chunk_text": f"text {n}"} for n in range(start, start + 75)]
        client.post(f"{path}/upsert", json=rows)
    for top_k, units in ((100, 1), (101, 2), (150, 2)):
        answer = search(client, f"{path}/search", {**TEXT, "top_k": top_k}, rerank={"model": "cohere-rerank-3.5"})
        assert answer.json()["usage"]["rerank_units"] == units


def test_a_query_that_was_cut_says_so(client: httpx.Client, apples: str) -> None:
    answer = search(client, apples, {"inputs": {"text": "apples " * 300}})
    assert answer.headers["x-pinyon-truncated"] == "1"
    assert answer.json()["usage"]["embed_total_tokens"] == 256
    assert "x-pinyon-truncated" not in search(client, apples, TEXT).headers


def test_equal_texts_are_equal_hits_ordered_by_id(client: httpx.Client, namespace: str) -> None:
    path = f"/records/namespaces/{namespace}"
    client.post(f"{path}/upsert", json=[{"_id": f"r{n:02}", "chunk_text": "the same"} for n in range(90, 9, -1)])
    found = hits(search(client, f"{path}/search", {**TEXT, "top_k": 5}, fields=[]))
    assert [hit["_id"] for hit in found] == ["r10", "r11", "r12", "r13", "r14"]
    assert len({hit["_score"] for hit in found}) == 1


def test_an_over_long_pair_is_refused_by_default_and_cut_on_request(client: httpx.Client, namespace: str) -> None:
    path = f"/records/namespaces/{namespace}"
    client.post(f"{path}/upsert", json={"_id": "long", "chunk_text": "apples " * 1100})
    rerank: dict[str, Any] = {"model": "bge-reranker-v2-m3", "query": "apples"}
    refused = search(client, f"{path}/search", TEXT, rerank=rerank)
    assert refused.status_code == 400
    assert "record 'long' has 1101 tokens, which exceeds the maximum of 1024 tokens" in refused.json()["message"]
    assert len(hits(search(client, f"{path}/search", TEXT, rerank={**rerank, "parameters": {"truncate": "END"}}))) == 1


REFUSED: list[tuple[str, Any, int, str]] = [
    ("no body", b"", 400, "The request body is empty"),
    ("broken", b'{"query":', 400, "not valid JSON"),
    ("array", [], 400, "Expected `object`, got `array`"),
    ("deep", b'{"query":{"top_k":1,"filter":{"a":' + b"[" * 50_000, 400, "nested too deeply"),
    ("no query", {}, 400, "query"),
    ("no top_k", {"query": {"id": "a"}}, 400, "missing required field `top_k` - at `$.query`"),
    ("top_k 0", {"query": {"id": "a", "top_k": 0}}, 400, "top_k must be between 1 and 10000, got 0"),
    ("top_k 10001", {"query": {"id": "a", "top_k": 10_001}}, 400, "top_k must be between 1 and 10000, got 10001"),
    ("top_k text", {"query": {"id": "a", "top_k": "3"}}, 400, "Expected `int`, got `str` - at `$.query.top_k`"),
    ("nothing asked", {"query": {"top_k": 1}}, 400, "needs one of 'inputs', 'vector' and 'id'"),
    ("id and vector", {"query": {"top_k": 1, "id": "a", "vector": {"values": [1.0] * 64}}}, 400, "both 'id' and 'vector'"),
    ("id and text", {"query": {"top_k": 1, "id": "a", **TEXT}}, 400, "both 'id' and 'inputs'"),
    ("empty text", {"query": {"top_k": 1, "inputs": {"text": " "}}}, 400, "must be non-empty"),
    ("no text", {"query": {"top_k": 1, "inputs": {}}}, 400, "missing required field `text` - at `$.query.inputs`"),
    ("other inputs", {"query": {"top_k": 1, "inputs": {"text": "x", "image": "y"}}}, 400, "unknown field `image`"),
    ("empty id", {"query": {"top_k": 1, "id": ""}}, 400, "must not be empty"),
    ("long id", {"query": {"top_k": 1, "id": "x" * 513}}, 400, "at most 512"),
    ("dimension", {"query": {"top_k": 1, "vector": {"values": [1.0] * 3}}}, 400, "Vector dimension 3 does not match the dimension of the index 64"),
    ("huge vector", {"query": {"top_k": 1, "vector": {"values": [1e300] * 64}}}, 400, "within the range of a 32-bit float"),
    ("sparse", {"query": {"top_k": 1, "vector": {"sparse_values": [1.0], "sparse_indices": [1]}}}, 400, "does not support sparse values"),
    ("match_terms", {"query": {"top_k": 1, **TEXT, "match_terms": {"strategy": "all", "terms": ["x"]}}}, 400, "match_terms is only supported for sparse"),
    ("filter list", {"query": {"top_k": 1, **TEXT, "filter": []}}, 400, "Expected `object | null`, got `array` - at `$.query.filter`"),
    ("filter operator", {"query": {"top_k": 1, **TEXT, "filter": {"a": {"$foo": 1}}}}, 400, "unknown operator $foo"),
    ("fields", {"query": {"top_k": 1, **TEXT}, "fields": ["f"] * 101}, 400, "lists 101 names; at most 100"),
    ("unknown reranker", {"query": {"top_k": 1, **TEXT}, "rerank": {"model": "nope"}}, 404, "available for rerank: bge-reranker-v2-m3, pinecone-rerank-v0, cohere-rerank-3.5, pinyon-late-interaction"),
    ("no rerank text", {"query": {"top_k": 1, "id": "rec1"}, "rerank": RERANK}, 400, "Reranking needs a query text"),
    ("empty rerank text", {"query": {"top_k": 1, "id": "rec1"}, "rerank": {**RERANK, "query": ""}}, 400, "must be non-empty"),
    ("two rank fields", {"query": {"top_k": 1, **TEXT}, "rerank": {**RERANK, "rank_fields": ["a", "b"]}}, 400, "Only one rank field is supported for model"),
    ("rank field missing", {"query": {"top_k": 1, **TEXT}, "rerank": {**RERANK, "rank_fields": ["title"]}}, 400, "field 'title' not found in document at index 0"),
    ("rank field number", {"query": {"top_k": 1, **TEXT}, "rerank": {**RERANK, "rank_fields": ["n"]}}, 400, "is not a string"),
    ("top_n 0", {"query": {"top_k": 1, **TEXT}, "rerank": {**RERANK, "top_n": 0}}, 400, "top_n must be at least 1"),
    ("truncate", {"query": {"top_k": 1, **TEXT}, "rerank": {**RERANK, "parameters": {"truncate": "START"}}}, 400, "must be one of END, NONE"),
    ("cohere chunks", {"query": {"top_k": 1, **TEXT}, "rerank": {**RERANK, "model": "cohere-rerank-3.5", "parameters": {"max_chunks_per_doc": 3073}}}, 400, "must be between 1 and 3072"),
    ("parameter", {"query": {"top_k": 1, **TEXT}, "rerank": {**RERANK, "parameters": {"x": 1}}}, 400, "Unknown parameter 'x' for model"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "message"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_a_wrong_search_is_refused_with_the_reason(
    client: httpx.Client, apples: str, body: Any, status: int, message: str
) -> None:
    answer = client.post(apples, content=body) if isinstance(body, bytes) else client.post(apples, json=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "message", "details"}
    assert answer.json()["code"] == {400: 3, 404: 5}[status]
    assert message in answer.json()["message"]
