"""Sentences that clients and what is built on them look for, and the empty lists that they ask for."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.api.grpc_transport import asking
from tests.running import RunningServer

OLD, NEW = "2025-10", "2026-07"
VERSIONS = ("2025-01", "2025-04", OLD, "2026-04", "")
"""Before the schemas; the last is a client that does not say."""
PLACE = {"cloud": "aws", "region": "us-east-1"}
SPEC = {"serverless": PLACE}
Servers = Callable[[str], RunningServer]


@pytest.fixture(scope="module")
def control(control_server: RunningServer) -> Iterator[httpx.Client]:
    """A client of a server that has the index `there`."""
    with control_server.client() as client:
        index = {"name": "there", "dimension": 2, "spec": SPEC, "tags": {"kept": "yes"}}
        assert client.post("/indexes", json=index).status_code == 201
        yield client
        assert client.delete("/indexes/there").status_code == 202


@pytest.fixture(params=["rest", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


def error(answer: httpx.Response, status: int, code: str) -> str:
    """The message of a refusal of the control plane or of inference."""
    assert answer.status_code == status, answer.text
    assert (answer.json()["error"]["code"], answer.json()["status"]) == (code, status)
    message: str = answer.json()["error"]["message"]
    return message


def for_model(**embed: Any) -> dict[str, Any]:
    embed = {"model": "pinyon-hash-embed", "field_map": {"text": "t"}, **embed}
    return {"name": "refused", **PLACE, "embed": embed}


def test_a_sparse_index_of_another_metric_is_refused_in_pinecones_words(control: httpx.Client) -> None:
    for metric in ("cosine", "euclidean"):
        body = {"name": "refused", "vector_type": "sparse", "metric": metric, "spec": SPEC}
        message = error(control.post("/indexes", json=body), 400, "INVALID_ARGUMENT")
        assert "Sparse vector indexes must use the metric dotproduct" in message


@pytest.mark.parametrize("model", ["nope", "bge-reranker-v2-m3"])
def test_an_index_for_a_model_that_is_not_there_says_so_first(control: httpx.Client, model: str) -> None:
    answer = control.post("/indexes/create-for-model", json=for_model(model=model))
    message = error(answer, 404, "NOT_FOUND")
    assert message.startswith(f"Model {model} not found.")
    assert "multilingual-e5-large" in message, "what there is is said after it"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/embed", {"inputs": [{"text": "x"}], "parameters": {"input_type": "query"}}),
        ("POST", "/rerank", {"query": "x", "documents": [{"text": "x"}]}),
        ("GET", "/models/nope", None),
    ],
)
def test_inference_names_a_model_that_is_not_there_in_quotes(
    control: httpx.Client, method: str, path: str, body: Any
) -> None:
    answer = control.request(method, path, json={**body, "model": "nope"} if body else None)
    assert error(answer, 404, "NOT_FOUND").startswith("Model 'nope' not found")


@pytest.mark.parametrize("field_map", [{}, {"title": "t"}, {"Text": "t", "x": "y"}])
def test_a_field_map_without_text_is_refused_in_pinecones_words(control: httpx.Client, field_map: Any) -> None:
    answer = control.post("/indexes/create-for-model", json=for_model(field_map=field_map))
    assert "Missing required key 'text'" in error(answer, 400, "INVALID_ARGUMENT")


def test_a_field_map_with_more_than_text_is_refused(control: httpx.Client) -> None:
    answer = control.post("/indexes/create-for-model", json=for_model(field_map={"text": "t", "image": "i"}))
    message = error(answer, 400, "INVALID_ARGUMENT")
    assert "field_map" in message
    assert "Missing" not in message


@pytest.mark.parametrize(("inputs", "wanted"), [([], "Must specify at least one input"), ([{"WRONG": "x"}], "WRONG")])
def test_inputs_that_are_none_are_named(control: httpx.Client, inputs: Any, wanted: str) -> None:
    body = {"model": "pinyon-hash-embed", "inputs": inputs, "parameters": {"input_type": "query"}}
    assert wanted in error(control.post("/embed", json=body), 400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("name", ["", "Upper", "name-", "-name", "a_b", "a.b", "ä", "n" * 46])
@pytest.mark.parametrize("path", ["/indexes", "/indexes/create-for-model"])
def test_a_wrong_name_is_refused_in_pinecones_words(control: httpx.Client, path: str, name: str) -> None:
    body = {"name": name, "dimension": 2, "spec": SPEC} if path == "/indexes" else {**for_model(), "name": name}
    message = error(control.post(path, json=body), 400, "INVALID_ARGUMENT")
    if len(name) <= 45:
        assert "Name must consist of lower case alphanumeric characters or '-'" in message
    else:
        assert "45 characters" in message


PROTECTION = "Invalid deletion_protection, value should be either enabled or disabled"
PROTECTED: dict[str, tuple[str, str, Any]] = {
    "create": ("POST", "/indexes", {"name": "refused", "dimension": 2, "spec": SPEC}),
    "create for model": ("POST", "/indexes/create-for-model", for_model()),
    "configure": ("PATCH", "/indexes/there", {"tags": {"a": "b"}}),
}


@pytest.mark.parametrize("value", ["bogus", "", "Enabled"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", list(PROTECTED))
def test_another_word_for_deletion_protection_is_refused_in_pinecones_words(
    control: httpx.Client, name: str, version: str, value: str
) -> None:
    method, path, body = PROTECTED[name]
    headers = {"X-Pinecone-Api-Version": version} if version else {}
    answer = control.request(method, path, json={**body, "deletion_protection": value}, headers=headers)
    assert PROTECTION in error(answer, 400, "INVALID_ARGUMENT")
    assert control.get("/indexes/refused").status_code == 404
    assert control.get("/indexes/there").json()["tags"] == {"kept": "yes"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/indexes", {"name": "refused", "schema": {"fields": {"_sparse_values": {"type": "sparse_vector"}}}}),
        ("POST", "/indexes/create-for-model", for_model()),
        ("PATCH", "/indexes/there", {}),
    ],
)
def test_from_2026_07_on_it_is_a_body_of_another_shape(
    control: httpx.Client, method: str, path: str, body: Any
) -> None:
    headers = {"X-Pinecone-Api-Version": NEW}
    answer = control.request(method, path, json={**body, "deletion_protection": "bogus"}, headers=headers)
    assert "deletion_protection" in error(answer, 422, "UNPROCESSABLE_ENTITY")


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"dimension": 3}',
        b'{"tags": {"a": 1}}',
        b'{"tags": {"a b": "c"}}',
        b'{"deletion_protection": "bogus"}',
        b'{"spec": {"pod": {"replicas": 2}}}',
        b'{"read_capacity": {"mode": "Fast"}}',
        b'{"embed": {"model": "nope"}}',
        b'{"schema": {"fields": {}}}',
    ],
)
def test_configuring_an_index_that_is_not_there_is_not_found_whatever_is_asked(
    control: httpx.Client, version: str, body: bytes
) -> None:
    answer = control.patch("/indexes/nope", content=body, headers={"X-Pinecone-Api-Version": version})
    assert error(answer, 404, "NOT_FOUND") == "Index nope not found."


@pytest.mark.parametrize("kind", ["cosine", "dotproduct", "euclidean"])
def test_a_dense_index_asked_with_sparse_values_alone_says_so_in_pinecones_words(
    plain_servers: Servers, protocol: str, kind: str
) -> None:
    with asking(plain_servers(kind).url, protocol) as client:
        answer = client.post("/query", json={"topK": 1, "sparseVector": {"indices": [1], "values": [1]}})
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert "Cannot query index with dense 'vector_type' with only sparse vector" in answer.json()["message"]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"topK": 1}, "Either 'sparse_vector' or 'ID' must be provided"),
        ({"topK": 1, "vector": [1, 0]}, "Either 'sparse_vector' or 'ID' must be provided"),
        (
            {"topK": 1, "vector": [1, 0], "sparseVector": {"indices": [1], "values": [1]}},
            "Index configuration does not support dense values",
        ),
        (
            {"topK": 1, "id": "a", "sparseVector": {"indices": [1], "values": [1]}},
            "Cannot provide both 'ID' and 'sparse_vector' at the same time",
        ),
    ],
    ids=["nothing", "dense", "both", "id and sparse"],
)
def test_a_sparse_index_asked_without_sparse_values_says_so_in_pinecones_words(
    plain_servers: Servers, protocol: str, body: Any, wanted: str
) -> None:
    with asking(plain_servers("sparse").url, protocol) as client:
        answer = client.post("/query", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert wanted in answer.json()["message"]


def test_an_upsert_of_nothing_is_an_invalid_request(plain_servers: Servers, protocol: str) -> None:
    with asking(plain_servers("cosine").url, protocol) as client:
        answer = client.post("/vectors/upsert", json={"vectors": []})
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert "Invalid request" in answer.json()["message"]


SPELLED: dict[str, tuple[str, Any, dict[str, str]]] = {
    "no hits": ("/query", {"vector": [1, 0], "topK": 0}, {"rest": "topK", "grpc": "top_k"}),
    "many hits": ("/query", {"vector": [1, 0], "topK": 10_001}, {"rest": "topK", "grpc": "top_k"}),
    "nothing asked": ("/query", {"topK": 1}, {"rest": "'sparseVector'", "grpc": "'sparse_vector'"}),
    "no selector": ("/vectors/delete", {}, {"rest": "'deleteAll'", "grpc": "'delete_all'"}),
    "selectors": (
        "/vectors/delete",
        {"ids": ["a"], "deleteAll": True},
        {"rest": "'deleteAll'", "grpc": "'delete_all'"},
    ),
}


@pytest.mark.parametrize("name", list(SPELLED))
def test_a_message_spells_a_field_as_its_protocol_does(plain_servers: Servers, protocol: str, name: str) -> None:
    path, body, spellings = SPELLED[name]
    with asking(plain_servers("cosine").url, protocol) as client:
        message = client.post(path, json=body).json()["message"]
    other = spellings["grpc" if protocol == "rest" else "rest"]
    assert spellings[protocol] in message
    assert other not in message


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize(
    "path", ["/backups", "/indexes/there/backups", "/restore-jobs", "/backups?limit=10", "/restore-jobs?limit=1"]
)
def test_what_the_hosted_service_keeps_beside_indexes_is_an_empty_list(
    control: httpx.Client, version: str, path: str
) -> None:
    answer = control.get(path, headers={"X-Pinecone-Api-Version": version})
    assert (answer.status_code, answer.json()) == (200, {"data": []})


@pytest.mark.parametrize("path", ["/bulk/imports", "/bulk/imports?limit=10&paginationToken="])
def test_imports_are_an_empty_list_on_every_index(control: httpx.Client, path: str) -> None:
    host = control.get("/indexes/there").json()["host"]
    for url in (host, str(control.base_url).rstrip("/")):
        answer = httpx.get(url + path, timeout=60)
        assert (answer.status_code, answer.json()) == (200, {"data": []})


@pytest.mark.parametrize("path", ["/backups/nope", "/restore-jobs/nope", "/indexes/nope/backups"])
def test_one_of_them_is_not_found_in_the_control_planes_shape(control: httpx.Client, path: str) -> None:
    message = error(control.get(path), 404, "NOT_FOUND")
    assert "nope" in message
    assert "route" not in message


def test_one_import_is_not_found_in_the_data_planes_shape(control: httpx.Client) -> None:
    answer = control.get("/bulk/imports/nope")
    assert (answer.status_code, answer.json()["code"]) == (404, 5)
    assert "nope" in answer.json()["message"]
    assert "route" not in answer.json()["message"]
