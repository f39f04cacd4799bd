"""/embed and /rerank, as the hosted service answers them."""

from typing import Any

import httpx
import numpy as np
import pytest

from tests.running import MULTILINGUAL, RunningServer

E5, LLAMA = "multilingual-e5-large", "llama-text-embed-v2"
SPARSE, BM25, BGE = "pinecone-sparse-english-v0", "pinyon-bm25", "bge-reranker-v2-m3"


@pytest.fixture(scope="module")
def inference(minilm_server: RunningServer) -> Any:
    with minilm_server.client() as client:
        yield client


def embed(inference: httpx.Client, model: str, texts: list[str], **parameters: Any) -> Any:
    answer = inference.post(
        "/embed", json={"model": model, "inputs": [{"text": text} for text in texts], "parameters": parameters}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int = 400, code: str = "INVALID_ARGUMENT") -> str:
    assert answer.status_code == status, answer.text
    assert (answer.json()["error"]["code"], answer.json()["status"]) == (code, status)
    message: str = answer.json()["error"]["message"]
    return message


def test_dense_vectors_have_the_hosted_dimension_and_differ_by_text_and_input_type(inference: httpx.Client) -> None:
    passages = embed(inference, E5, ["apples", "stars", "apples"], input_type="passage")
    assert (passages["model"], passages["vector_type"]) == (E5, "dense")
    assert all(item["vector_type"] == "dense" and len(item["values"]) == 1024 for item in passages["data"])
    first, second, again = (item["values"] for item in passages["data"])
    assert first == again != second
    assert passages["usage"]["total_tokens"] > 0
    query = embed(inference, E5, ["apples"], input_type="query")["data"][0]["values"]
    assert query != first
    assert float(np.dot(query, first)) > float(np.dot(query, second))


def test_the_dimension_can_be_chosen_where_the_model_has_several(inference: httpx.Client) -> None:
    for dimension in (384, 512, 2048):
        found = embed(inference, "llama-text-embed-v2", ["apples"], input_type="query", dimension=dimension)
        assert len(found["data"][0]["values"]) == dimension


def test_sparse_vectors_have_terms_weights_and_tokens_if_asked(inference: httpx.Client) -> None:
    found = embed(inference, BM25, ["spacewalks of astronauts"], input_type="passage", return_tokens=True)
    (item,) = found["data"]
    assert (found["vector_type"], item["vector_type"]) == ("sparse", "sparse")
    assert set(item["sparse_tokens"]) == {"spacewalk", "space", "walk", "astronaut"}
    assert len(item["sparse_indices"]) == len(item["sparse_values"]) == 4
    assert all(0 <= index < 2**32 for index in item["sparse_indices"])
    (without,) = embed(inference, BM25, ["spacewalks of astronauts"], input_type="passage")["data"]
    assert "sparse_tokens" not in without
    assert without["sparse_indices"] == item["sparse_indices"]


def count(inference: httpx.Client, model: str, texts: list[str], **parameters: Any) -> httpx.Response:
    inputs = [{"text": text} for text in texts]
    return inference.post("/embed/count-tokens", json={"model": model, "inputs": inputs, "parameters": parameters})


@pytest.mark.parametrize("model", [E5, "all-MiniLM-L6-v2", "pinyon-hash-embed"])
def test_tokens_are_counted_as_the_model_reads_them(inference: httpx.Client, model: str) -> None:
    texts = ["apples", "Uncharacteristically red", "word " * 600]
    answer = count(inference, model, texts, input_type="passage")
    assert answer.status_code == 200, answer.text
    counts = answer.json()
    used = [embed(inference, model, [text], input_type="passage")["usage"]["total_tokens"] for text in texts]
    assert counts["model"] == model
    assert [min(tokens, counts["max_tokens"]) for tokens in counts["tokens"]] == used
    assert counts["tokens"][2] >= 600, "before any cut"
    assert "x-pinyon-model" in answer.headers


def test_tokens_are_counted_for_dense_models_and_a_thousand_texts(inference: httpx.Client) -> None:
    dense = "pinyon-hash-embed"
    assert len(count(inference, dense, ["", *["a b"] * 999], input_type="passage").json()["tokens"]) == 1_000
    assert "1 to 1000 inputs, got 1001" in refused(count(inference, dense, ["a"] * 1_001, input_type="passage"))
    assert "1 to 1000 inputs, got 0" in refused(count(inference, dense, [], input_type="passage"))
    assert "dense embedding models" in refused(count(inference, BM25, ["a"], input_type="passage"))
    assert "input_type" in refused(count(inference, dense, ["a"]))
    assert "nothing" in refused(count(inference, "nothing", ["a"], input_type="query"), 404, "NOT_FOUND")


def test_the_answer_says_who_computed_it_and_what_was_cut(inference: httpx.Client) -> None:
    parameters = {"input_type": "query", "truncate": "NONE"}
    body = {"model": LLAMA, "inputs": [{"text": "word " * 600}], "parameters": parameters}
    answer = inference.post("/embed", json=body)
    assert answer.headers["x-pinyon-model"] == f"{MULTILINGUAL}; stand-in-for={LLAMA}"
    assert answer.headers["x-pinyon-truncated"] == "1"
    body["inputs"] = [{"text": "short"}, {"text": "word " * 2_100}]
    message = refused(inference.post("/embed", json=body))
    assert "position 1" in message and "maximum of 2048 tokens" in message


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"model": "nope", "inputs": [{"text": "x"}]}, 404, "Model 'nope' not found"),
        ({"model": BGE, "inputs": [{"text": "x"}]}, 404, "not found"),
        ({"model": E5, "inputs": [{"text": "x"}]}, 400, "Missing required parameter: input_type"),
        ({"model": E5, "inputs": [{"text": "x"}], "parameters": {"input_type": "title"}}, 400, "one of query, passage"),
        ({"model": E5, "inputs": [{"text": "x"}], "parameters": {"input_type": "query", "truncate": "START"}}, 400, "one of END, NONE"),
        ({"model": E5, "inputs": [{"text": "x"}], "parameters": {"input_type": "query", "dimension": 384}}, 400, "Unknown parameter 'dimension'"),
        ({"model": SPARSE, "inputs": [{"text": "x"}], "parameters": {"input_type": "query", "return_tokens": "yes"}}, 400, "true or false"),
        ({"model": SPARSE, "inputs": [{"text": "x"}], "parameters": {"input_type": "query", "max_tokens_per_sequence": 100}}, 400, "one of 512, 2048"),
        ({"model": E5, "inputs": [], "parameters": {"input_type": "query"}}, 400, "Must specify at least one input"),
        ({"model": E5, "inputs": [{"text": "x"}] * 97, "parameters": {"input_type": "query"}}, 400, "Input length 97 exceeds the maximum batch size of 96"),
        ({"model": E5, "inputs": [{"text": "x"}, {"text": " "}], "parameters": {"input_type": "query"}}, 400, "input 1 must be non-empty"),
        ({"model": E5, "inputs": ["x"]}, 400, "Expected `object`, got `str`"),
        ({"inputs": [{"text": "x"}]}, 400, "missing required field `model`"),
    ],
)  # fmt: skip
def test_a_wrong_embed_is_refused(inference: httpx.Client, body: Any, status: int, message: str) -> None:
    code = "NOT_FOUND" if status == 404 else "INVALID_ARGUMENT"
    assert message in refused(inference.post("/embed", json=body), status, code)


DOCUMENTS = [
    {"text": "Apples are rich in fibre and vitamins", "id": "apple"},
    {"text": "The telescope saw a new star", "id": "star"},
    {"text": "Eating fruit every day keeps you healthy", "id": "fruit"},
]


def rerank(inference: httpx.Client, **more: Any) -> httpx.Response:
    body = {"model": BGE, "query": "healthy fruit to eat", "documents": DOCUMENTS, **more}
    return inference.post("/rerank", json=body)


def test_documents_come_best_first_with_their_place_and_themselves(inference: httpx.Client) -> None:
    answer = rerank(inference).json()
    assert (answer["model"], answer["usage"]) == (BGE, {"rerank_units": 1})
    assert [row["index"] for row in answer["data"]][-1] == 1
    assert {row["index"] for row in answer["data"][:2]} == {0, 2}
    scores = [row["score"] for row in answer["data"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert all(row["document"] == DOCUMENTS[row["index"]] for row in answer["data"])


def test_top_n_documents_and_fields_can_be_chosen(inference: httpx.Client) -> None:
    assert len(rerank(inference, top_n=2).json()["data"]) == 2
    assert len(rerank(inference, top_n=50).json()["data"]) == 3
    assert all("document" not in row for row in rerank(inference, return_documents=False).json()["data"])
    by_id = rerank(inference, rank_fields=["id"], query="star").json()["data"]
    assert by_id[0]["index"] == 1
    assert rerank(inference).headers["x-pinyon-model"] == f"pinyon-late-interaction; stand-in-for={BGE}"


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        ({"model": "nope"}, 404, "Model 'nope' not found"),
        ({"model": E5}, 404, "available for rerank"),
        ({"query": " "}, 400, "query must be non-empty"),
        ({"documents": []}, 400, "holds no documents"),
        ({"documents": [{"text": "x"}] * 101}, 400, "takes at most 100"),
        ({"documents": ["x"]}, 400, "Expected `object`, got `str`"),
        ({"top_n": 0}, 400, "top_n must be at least 1"),
        ({"rank_fields": ["customField"]}, 400, "field 'customField' not found in document at index 0"),
        ({"rank_fields": ["text", "id"]}, 400, "Only one rank field is supported for model"),
        ({"documents": [{"text": 3}]}, 400, "is not a string"),
        ({"parameters": {"truncate": "MIDDLE"}}, 400, "one of END, NONE"),
        ({"parameters": {"max_chunks_per_doc": 3}}, 400, "Unknown parameter 'max_chunks_per_doc'"),
        ({"query": 3}, 400, "Expected `str`, got `int`"),
    ],
)
def test_a_wrong_rerank_is_refused(inference: httpx.Client, more: Any, status: int, message: str) -> None:
    code = "NOT_FOUND" if status == 404 else "INVALID_ARGUMENT"
    assert message in refused(rerank(inference, **more), status, code)


def test_over_long_pairs_are_refused_unless_they_may_be_cut(inference: httpx.Client) -> None:
    documents = [*DOCUMENTS, {"text": "word " * 1100}]
    assert "maximum of 1024 tokens" in refused(rerank(inference, documents=documents))
    assert rerank(inference, documents=documents, parameters={"truncate": "END"}).status_code == 200


def test_the_parameters_of_a_model_are_those_that_requests_are_held_to(inference: httpx.Client) -> None:
    def parameters(model: str) -> dict[str, Any]:
        found = inference.get(f"/models/{model}").json()["supported_parameters"]
        return {parameter["parameter"]: parameter for parameter in found}

    assert parameters(E5)["input_type"] == {
        "parameter": "input_type",
        "type": "one_of",
        "value_type": "string",
        "required": True,
        "allowed_values": ["query", "passage"],
    }
    assert parameters("llama-text-embed-v2")["dimension"]["allowed_values"] == [384, 512, 768, 1024, 2048]
    assert parameters(SPARSE)["max_tokens_per_sequence"]["default"] == 512
    assert parameters(SPARSE)["return_tokens"]["type"] == "any"
    chunks = parameters("cohere-rerank-3.5")["max_chunks_per_doc"]
    assert (chunks["type"], chunks["min"], chunks["max"], chunks["default"]) == ("numeric_range", 1, 3072, 3072)
