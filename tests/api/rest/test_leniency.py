"""What clients send beside the letter of the specification, and what is made of it."""

import copy
import gzip
import inspect
import json
import re
import socket
import types
import typing
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import msgspec
import pytest
from pinyon.api.rest.schemas import control_schemas, record_schemas, vector_schemas

from tests.api.grpc_transport import asking
from tests.running import RunningServer

VECTOR = [1.0] * 64
NEW = {"X-Pinecone-Api-Version": "2026-07"}
PLACE = {"cloud": "aws", "region": "us-east-1"}
CAPACITY = {
    "mode": "Dedicated",
    "dedicated": {"node_type": "b1", "scaling": "Manual", "manual": {"shards": 1, "replicas": 1}},
}


class Question(NamedTuple):
    """A request with every optional object in it. shape: what its body is decoded to; {new} is a name not yet taken."""

    method: str
    path: str
    body: dict[str, Any]
    shape: type[msgspec.Struct]
    version: str = "2025-10"


QUESTIONS = {
    "upsert": Question(
        "POST",
        "/vectors/upsert",
        {"vectors": [{"id": "null", "values": VECTOR, "metadata": {"a": 1}}], "namespace": "nulls"},
        vector_schemas.UpsertRequest,
    ),
    "query": Question(
        "POST", "/query", {"topK": 2, "vector": VECTOR, "namespace": "nulls"}, vector_schemas.QueryRequest
    ),
    "query by id": Question(
        "POST", "/query", {"topK": 2, "id": "kept", "namespace": "nulls"}, vector_schemas.QueryRequest
    ),
    "fetch by metadata": Question(
        "POST",
        "/vectors/fetch_by_metadata",
        {"filter": {"a": 1}, "limit": 5, "namespace": "nulls"},
        vector_schemas.FetchByMetadataRequest,
    ),
    "update": Question(
        "POST",
        "/vectors/update",
        {"id": "kept", "values": VECTOR, "setMetadata": {"b": 1}, "namespace": "nulls"},
        vector_schemas.UpdateRequest,
    ),
    "update by filter": Question(
        "POST",
        "/vectors/update",
        {"filter": {"a": 1}, "setMetadata": {"b": 1}, "dryRun": False, "namespace": "nulls"},
        vector_schemas.UpdateRequest,
    ),
    "delete": Question(
        "POST", "/vectors/delete", {"ids": ["nobody"], "namespace": "nulls"}, vector_schemas.DeleteRequest
    ),
    "stats": Question("POST", "/describe_index_stats", {}, vector_schemas.DescribeIndexStatsRequest),
    "create namespace": Question("POST", "/namespaces", {"name": "{new}"}, vector_schemas.CreateNamespaceRequest),
    "search": Question(
        "POST",
        "/records/namespaces/nulls/search",
        {
            "query": {"top_k": 2, "inputs": {"text": "apples"}, "filter": {"a": 1}},
            "rerank": {"model": "pinyon-late-interaction", "rank_fields": ["chunk_text"], "top_n": 1},
        },
        record_schemas.SearchRecordsRequest,
    ),
    "search by vector": Question(
        "POST",
        "/records/namespaces/nulls/search",
        {"query": {"top_k": 2, "vector": {"values": VECTOR}}},
        record_schemas.SearchRecordsRequest,
    ),
    "embed": Question(
        "POST",
        "/embed",
        {"model": "pinyon-bm25", "inputs": [{"text": "apples"}], "parameters": {"input_type": "query"}},
        record_schemas.EmbedRequest,
    ),
    "rerank": Question(
        "POST",
        "/rerank",
        {"model": "pinyon-late-interaction", "query": "apples", "documents": [{"text": "apples"}]},
        record_schemas.RerankRequest,
    ),
    "create index": Question(
        "POST",
        "/indexes",
        {"name": "{new}", "dimension": 2, "spec": {"serverless": {**PLACE, "read_capacity": CAPACITY}}},
        control_schemas.CreateIndexRequest,
    ),
    "create index for model": Question(
        "POST",
        "/indexes/create-for-model",
        {
            "name": "{new}",
            **PLACE,
            "embed": {"model": "pinyon-hash-embed", "field_map": {"text": "t"}, "read_parameters": {"truncate": "END"}},
        },
        control_schemas.CreateIndexForModelRequest,
    ),
    "create index with a schema": Question(
        "POST",
        "/indexes",
        {
            "name": "{new}",
            "schema": {"fields": {"_values": {"type": "dense_vector", "dimension": 2, "metric": "cosine"}}},
            "deployment": {"deployment_type": "managed", **PLACE},
        },
        control_schemas.CreateIndexWithSchema,
        "2026-07",
    ),
    "configure": Question(
        "PATCH",
        "/indexes/changed",
        {"tags": {"a": "b"}, "spec": {"serverless": {"read_capacity": CAPACITY}}},
        control_schemas.ConfigureIndexRequest,
    ),
}


@pytest.fixture(scope="module")
def served(control_server: RunningServer) -> Iterator[httpx.Client]:
    """A client of a server with the index `changed` and a namespace with a record."""
    with control_server.client() as client:
        index = {"name": "changed", "dimension": 2, "spec": {"serverless": PLACE}}
        assert client.post("/indexes", json=index).status_code == 201
        record = {"_id": "kept", "chunk_text": "apples", "a": 1}
        assert client.post("/records/namespaces/nulls/upsert", json=record).status_code == 201
        yield client
        assert client.delete("/indexes/changed").status_code == 202


def sent(client: httpx.Client, question: Question, body: Any) -> Any:
    """Status and answer, without what is another in each: names, and when it was made."""
    name = f"null-{uuid4().hex[:8]}"
    content = json.dumps(body).replace("{new}", name)
    answer = client.request(
        question.method, question.path, content=content, headers={"X-Pinecone-Api-Version": question.version}
    )
    if question.path.startswith("/indexes") and question.method == "POST" and answer.status_code == 201:
        made = answer.json()["name"]
        assert client.delete(f"/indexes/{made}").status_code == 202
        name = made
    told = re.sub(r'"(created_at|host)":"[^"]*"', "", answer.text.replace(name, "{new}"))
    return answer.status_code, told


Place = tuple[str | int, ...]


def structs_in(kind: Any) -> Iterator[tuple[Place, type[msgspec.Struct]]]:
    """The structs that a type may hold, and the way to them."""
    if inspect.isclass(kind) and issubclass(kind, msgspec.Struct):
        yield (), kind
    elif typing.get_origin(kind) in (list, tuple):
        yield from (((0, *way), one) for way, one in structs_in(typing.get_args(kind)[0]))
    elif typing.get_origin(kind) in (typing.Union, types.UnionType):
        for one in typing.get_args(kind):
            yield from structs_in(one)


def optional_fields(shape: type[msgspec.Struct], way: Place = ()) -> Iterator[Place]:
    for field in msgspec.structs.fields(shape):
        here = (*way, field.encode_name)
        if not field.required:
            yield here
        for further, inner in structs_in(field.type):
            yield from optional_fields(inner, (*here, *further))


def holder(body: Any, place: Place) -> Any:
    """The object of the body that has the field at this place, or None where it has none."""
    for step in place[:-1]:
        if isinstance(body, dict) and body.get(step) is None:
            return None
        body = body[step]
    return body


NULLS = [
    pytest.param(question, place, id=f"{name}: {'.'.join(map(str, place))}")
    for name, question in QUESTIONS.items()
    for place in optional_fields(question.shape)
    if holder(question.body, place) is not None
]


@pytest.mark.parametrize(("question", "place"), NULLS)
def test_null_is_what_an_absent_field_is(served: httpx.Client, question: Question, place: Place) -> None:
    without, with_null = copy.deepcopy(question.body), copy.deepcopy(question.body)
    holder(without, place).pop(place[-1], None)
    holder(with_null, place)[place[-1]] = None
    status, told = sent(served, question, without)
    assert status < 500
    assert sent(served, question, with_null) == (status, told)


@pytest.mark.parametrize(
    ("question", "place"),
    [
        ("query", ("filter",)),
        ("create index", ("spec", "serverless", "read_capacity", "mode")),
        ("create index", ("spec", "serverless", "read_capacity", "dedicated", "manual")),
        ("create index for model", ("embed", "read_parameters", "truncate")),
        ("create index for model", ("embed", "read_parameters", "dimension")),
        ("embed", ("parameters", "truncate")),
        ("embed", ("parameters", "dimension")),
        ("embed", ("parameters", "return_tokens")),
    ],
)
def test_null_is_absent_in_tables_of_parameters_too(served: httpx.Client, question: str, place: Place) -> None:
    test_null_is_what_an_absent_field_is(served, QUESTIONS[question], place)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/query", {"topK": 1, "vector": VECTOR, "filter": {"a": None}}),
        ("/vectors/delete", {"filter": {"a": {"$eq": None}}, "namespace": "nulls"}),
        ("/query", {"topK": None, "vector": VECTOR}),
        ("/vectors/upsert", {"vectors": [{"id": None, "values": VECTOR}]}),
        ("/vectors/upsert", {"vectors": None}),
        ("/records/namespaces/nulls/search", {"query": None}),
        ("/records/namespaces/nulls/search", {"query": {"top_k": 1, "inputs": {"text": None}}}),
    ],
)
def test_null_is_refused_where_something_is_needed(served: httpx.Client, path: str, body: Any) -> None:
    answer = served.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)


def gets() -> list[str]:
    """Every GET route, with names filled in."""
    from pinyon.asgi import rest_app
    from pinyon.server import Service
    from pinyon.services.control_plane.addresses import Addresses
    from pinyon.settings import Settings

    names = {"index_name": "quickstart", "model_name": "bge-reranker-v2-m3", "namespace": "nulls"}
    app = rest_app(Service(Settings(), Addresses("localhost", 5080)))
    return sorted(
        re.sub(r"\{(\w+):str\}", lambda found: names.get(found.group(1), "none"), route.path)
        for route in app.routes
        if "GET" in route.methods
    )


CHANGES = {"/metrics", "/recall"}
"""What they say may be another a moment later."""


@pytest.mark.parametrize(
    "path", [*gets(), "/vectors/fetch?ids=kept", "/vectors/list?limit=1", "/indexes/nope", "/nope"]
)
def test_head_is_get_without_the_body(served: httpx.Client, path: str) -> None:
    get, head = served.get(path), served.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == get.headers["content-length"] or path in CHANGES
    assert "x-pinecone-request-id" in head.headers


def test_head_has_no_body_on_the_wire_and_the_connection_goes_on(hash_server: RunningServer) -> None:
    there = urlsplit(hash_server.url)
    with socket.create_connection((there.hostname or "", there.port or 0), timeout=60) as connection:
        head = b"Host: localhost\r\n\r\n"
        last = b"Host: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(b"HEAD /ready HTTP/1.1\r\n" + head + b"HEAD /query HTTP/1.1\r\n" + head)
        connection.sendall(b"GET /health HTTP/1.1\r\n" + last)
        found = b"".join(iter(lambda: connection.recv(65536), b""))
    first, second, third, rest = found.split(b"\r\n\r\n")
    assert [part.split(b"\r\n")[0] for part in (first, second, third)] == [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 405 Method Not Allowed",
        b"HTTP/1.1 200 OK",
    ]
    assert rest == b'{"status":"alive"}'


def test_an_empty_segment_is_the_default_namespace(served: httpx.Client) -> None:
    answer = served.post("/records/namespaces//upsert", json={"_id": "in-default", "chunk_text": "a pear"})
    assert answer.status_code == 201, answer.text
    body = {"query": {"top_k": 5, "inputs": {"text": "a pear"}}}
    found = [
        served.post(f"/records/namespaces/{name}/search", json=body).json()["result"]["hits"]
        for name in ("", "__default__")
    ]
    assert found[0] == found[1]
    assert "in-default" in [hit["_id"] for hit in found[0]]
    assert served.get("/vectors/fetch?ids=in-default").json()["vectors"]
    assert "" not in served.post("/describe_index_stats").json()["namespaces"]


@pytest.mark.parametrize("path", ["/vectors/list", "/namespaces"])
@pytest.mark.parametrize("value", ["abc", "3.5", "1e3x", "ten", "0x10", "--1"])
def test_a_limit_that_is_no_number_is_named(served: httpx.Client, path: str, value: str) -> None:
    answer = served.get(path, params={"limit": value})
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert "limit" in answer.json()["message"].replace(f"limit={value}", "")
    assert f"'{value}'" in answer.json()["message"]


@pytest.fixture(params=["rest", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


LONG = "i" * 513
WRONG_IDS: dict[str, tuple[str, str, Any]] = {
    "upsert, long": ("POST", "/vectors/upsert", {"vectors": [{"id": LONG, "values": VECTOR}]}),
    "upsert, empty": ("POST", "/vectors/upsert", {"vectors": [{"id": "", "values": VECTOR}]}),
    "upsert, none": ("POST", "/vectors/upsert", {"vectors": [{"values": VECTOR}]}),
    "upsert, number": ("POST", "/vectors/upsert", {"vectors": [{"id": 3, "values": VECTOR}]}),
    "query": ("POST", "/query", {"id": LONG, "topK": 1}),
    "update": ("POST", "/vectors/update", {"id": LONG, "values": VECTOR}),
    "delete": ("POST", "/vectors/delete", {"ids": [LONG]}),
    "delete, empty": ("POST", "/vectors/delete", {"ids": [""]}),
    "fetch": ("GET", f"/vectors/fetch?ids={LONG}", None),
    "fetch, empty": ("GET", "/vectors/fetch?ids=", None),
}


@pytest.mark.parametrize("name", list(WRONG_IDS))
def test_the_vector_routes_call_an_id_an_id(hash_server: RunningServer, protocol: str, name: str) -> None:
    method, path, body = WRONG_IDS[name]
    if protocol == "grpc" and name == "upsert, number":
        body = {"vectors": [{"id": "\0", "values": VECTOR}]}  # it can only be text
    with asking(hash_server.url, protocol) as client:
        answer = client.request(method, path, json=body)
    assert answer.status_code == 400
    message = answer.json()["message"]
    assert "_id" not in message
    assert re.search(r"\bids?\b", message, re.IGNORECASE)
    assert "NoneType" not in message


def test_a_search_of_records_calls_the_id_it_asks_for_an_id_and_an_upsert_of_records_keeps_the_underscore(
    client: httpx.Client,
) -> None:
    search = client.post("/records/namespaces/n/search", json={"query": {"top_k": 1, "id": LONG}})
    assert "'id'" in search.json()["message"]
    upsert = client.post("/records/namespaces/n/upsert", json={"_id": LONG, "chunk_text": "x"})
    assert "'_id'" in upsert.json()["message"]


BODIES: dict[str, tuple[str, bytes, int]] = {
    "/vectors/upsert": ("POST", json.dumps({"vectors": [{"id": "kept", "values": VECTOR}]}).encode(), 200),
    "/query": ("POST", json.dumps({"topK": 1, "vector": VECTOR}).encode(), 200),
    "/vectors/fetch_by_metadata": ("POST", b'{"filter": {"a": 1}}', 200),
    "/vectors/update": ("POST", b'{"id": "kept", "setMetadata": {"b": 1}, "namespace": "nulls"}', 200),
    "/vectors/delete": ("POST", b'{"ids": ["nobody"], "namespace": "nulls"}', 200),
    "/describe_index_stats": ("POST", b"{}", 200),
    "/namespaces": ("POST", b'{"name": "bodies-{new}"}', 200),
    "/records/namespaces/nulls/upsert": ("POST", b'{"_id": "kept", "chunk_text": "apples", "a": 1}\n', 201),
    "/records/namespaces/nulls/search": ("POST", b'{"query": {"top_k": 1, "inputs": {"text": "x"}}}', 200),
    "/embed": (
        "POST",
        b'{"model": "pinyon-bm25", "inputs": [{"text": "x"}], "parameters": {"input_type": "query"}}',
        200,
    ),
    "/rerank": (
        "POST",
        b'{"model": "pinyon-late-interaction", "query": "x", "documents": [{"text": "x"}]}',
        200,
    ),
    "/indexes": ("POST", b'{"name": "changed", "dimension": 2, "spec": {"serverless": {"cloud": "aws", "region": "r"}}}', 409),
    "/indexes/create-for-model": (
        "POST",
        b'{"name": "changed", "cloud": "aws", "region": "r", "embed": {"model": "pinyon-hash-embed", "field_map": {"text": "t"}}}',
        409,
    ),
    "/indexes/quickstart/reembed": ("POST", b'{"model": "pinyon-hash-embed"}', 400),
}  # fmt: skip
"""Method, body and status of every route that takes JSON. An index is not made: its name is taken."""


def told(client: httpx.Client, path: str, change: Callable[[bytes], bytes], **headers: str) -> httpx.Response:
    method, body, _ = BODIES[path]
    body = body.replace(b"{new}", uuid4().hex.encode())
    return client.request(method, path, content=change(body), headers=headers)


@pytest.mark.parametrize("path", list(BODIES))
def test_a_byte_order_mark_is_passed_over(served: httpx.Client, path: str) -> None:
    answer = told(served, path, lambda body: b"\xef\xbb\xbf" + body)
    assert answer.status_code == BODIES[path][2], answer.text
    assert "JSON" not in answer.text


def test_a_byte_order_mark_alone_is_an_empty_body(served: httpx.Client) -> None:
    assert served.post("/describe_index_stats", content=b"\xef\xbb\xbf").status_code == 200
    assert "empty" in served.post("/rerank", content=b"\xef\xbb\xbf").json()["error"]["message"]


@pytest.mark.parametrize("path", list(BODIES))
def test_a_body_may_be_compressed_with_gzip(served: httpx.Client, path: str) -> None:
    answer = told(served, path, gzip.compress, **{"content-encoding": "gzip"})
    assert answer.status_code == BODIES[path][2], answer.text
    assert "JSON" not in answer.text


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip"])
def test_another_compression_is_named(served: httpx.Client, encoding: str) -> None:
    answer = told(served, "/query", zlib.compress, **{"content-encoding": encoding})
    assert answer.status_code in (400, 415)
    assert f"'{encoding}'" in answer.json()["message"]
    assert "gzip" in answer.json()["message"]


def test_a_body_that_says_it_is_plain_is_plain(served: httpx.Client) -> None:
    assert told(served, "/query", bytes, **{"content-encoding": "identity"}).status_code == 200


@pytest.mark.parametrize(
    "damage",
    [lambda body: body[:-9], lambda body: body + body, lambda body: b"no" + body],
    ids=["cut", "twice", "other"],
)
def test_a_damaged_compressed_body_is_refused_as_such(served: httpx.Client, damage: Callable[[bytes], bytes]) -> None:
    answer = told(served, "/query", lambda body: damage(gzip.compress(body)), **{"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert re.search("compress|gzip", answer.json()["message"])


@pytest.mark.parametrize("path", ["/query", "/vectors/upsert", "/records/namespaces/n/upsert"])
def test_what_a_small_body_becomes_is_bounded(served: httpx.Client, path: str) -> None:
    small = gzip.compress(b" " * 200_000_000, 9)
    assert len(small) < 200_000
    answer = served.post(path, content=small, headers={"content-encoding": "gzip"})
    assert answer.status_code == 400
    assert "exceeds the maximum supported size" in answer.json()["message"]


def raw(url: str, target: str, body: bytes = b"", method: str = "", host: str = "") -> tuple[int, Any]:
    """Status and JSON, or text, of a request with this target in its first line."""
    there = urlsplit(url)
    first = f"{method or ('POST' if body else 'GET')} {target} HTTP/1.1\r\nHost: {host or there.netloc}\r\n"
    head = f"{first}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((there.hostname or "", there.port or 0), timeout=120) as connection:
        connection.sendall(head + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    told, _, content = answer.partition(b"\r\n\r\n")
    is_text = b"content-type: text/plain" in told.lower()
    return int(told.split(b" ")[1]), content.decode() if is_text else json.loads(content or b"null")


SEARCH = json.dumps({"query": {"top_k": 1, "inputs": {"text": "x"}}}).encode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/health", b""),
        ("/ready", b""),
        ("/vectors/list?limit=1", b""),
        ("/namespaces/none%2Fsuch", b""),
        ("/namespaces", b""),
        ("/indexes/quickstart", b""),
        ("/indexes/nope", b""),
        ("/models/bge-reranker-v2-m3", b""),
        ("/records/namespaces/n/search", SEARCH),
        ("/describe_index_stats", b"{}"),
        ("/nope", b""),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "HTTP", "https"])
def test_a_request_line_may_have_the_whole_url(hash_server: RunningServer, scheme: str, path: str, body: bytes) -> None:
    there = urlsplit(hash_server.url).netloc
    assert raw(hash_server.url, f"{scheme}://{there}{path}", body) == raw(hash_server.url, path, body)


def test_a_whole_url_without_a_path_is_the_root(hash_server: RunningServer) -> None:
    there = urlsplit(hash_server.url).netloc
    assert raw(hash_server.url, f"http://{there}") == raw(hash_server.url, "/")
    assert raw(hash_server.url, f"http://{there}?a=b") == raw(hash_server.url, "/?a=b")


def test_the_host_of_a_whole_url_counts_and_not_the_header(hash_server: RunningServer) -> None:
    status, answer = raw(hash_server.url, "http://attacker.example/health", host="localhost")
    assert (status, answer["code"]) == (403, 7)
    there = urlsplit(hash_server.url).netloc
    assert raw(hash_server.url, f"http://{there}/health", host="attacker.example") == (200, {"status": "alive"})


WHOLE: dict[str, tuple[str, str, str]] = {
    "query": ("/query", '{"topK": N, "vector": VECTOR}', "topK"),
    "query, snake case": ("/query", '{"top_k": N, "vector": VECTOR}', "topK|top_k"),
    "max candidates": ("/query", '{"topK": 1, "vector": VECTOR, "maxCandidates": N}', "maxCandidates"),
    "fetch by metadata": ("/vectors/fetch_by_metadata", '{"filter": {"a": 1}, "limit": N}', "limit"),
    "search": ("/records/namespaces/n/search", '{"query": {"top_k": N, "inputs": {"text": "x"}}}', "top_k"),
    "top_n": (
        "/records/namespaces/n/search",
        '{"query": {"top_k": 1, "inputs": {"text": "x"}}, "rerank": {"model": "pinyon-late-interaction", "top_n": N}}',
        "top_n",
    ),
    "rerank": (
        "/rerank",
        '{"model": "pinyon-late-interaction", "query": "x", "documents": [{"text": "x"}], "top_n": N}',
        "top_n",
    ),
    "embed": (
        "/embed",
        '{"model": "llama-text-embed-v2", "inputs": [{"text": "x"}], "parameters": {"input_type": "query", "dimension": N}}',
        "dimension",
    ),
    "create index": ("/indexes", '{"name": "changed", "dimension": N, "spec": {"serverless": PLACE}}', "dimension"),
    "create for model": (
        "/indexes/create-for-model",
        '{"name": "changed", "cloud": "aws", "region": "r", "embed": {"model": "llama-text-embed-v2", "dimension": N, "field_map": {"text": "t"}}}',
        "dimension",
    ),
    "shards": (
        "/indexes/changed",
        '{"read_capacity": {"mode": "Dedicated", "dedicated": {"node_type": "b1", "scaling": "Manual", "manual": {"shards": N, "replicas": N}}}}',
        "shards",
    ),
    "reembed": ("/indexes/quickstart/reembed", '{"model": "pinyon-hash-embed", "dimension": N}', "dimension"),
}  # fmt: skip


def number(client: httpx.Client, name: str, text: str) -> httpx.Response:
    path, body, _ = WHOLE[name]
    method = "PATCH" if path == "/indexes/changed" else "POST"
    filled = body.replace("N", text).replace("VECTOR", json.dumps(VECTOR)).replace("PLACE", json.dumps(PLACE))
    return client.request(method, path, content=filled)


@pytest.mark.parametrize("name", list(WHOLE))
@pytest.mark.parametrize(("float_", "whole"), [("3.0", "3"), ("384.0", "384"), ("2e1", "20")])
def test_a_whole_number_is_whole_however_it_is_written(
    served: httpx.Client, name: str, float_: str, whole: str
) -> None:
    wanted, answer = number(served, name, whole), number(served, name, float_)
    assert wanted.status_code not in (422, 500)
    assert (answer.status_code, answer.text) == (wanted.status_code, wanted.text)


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "max candidates"])
@pytest.mark.parametrize("text", ["3.5", '"3"', "true", "[3]"])
def test_what_is_no_whole_number_is_refused_by_name(served: httpx.Client, name: str, text: str) -> None:
    answer = number(served, name, text)
    assert answer.status_code in (400, 422)
    assert re.search(WHOLE[name][2], answer.text)


def test_sparse_indices_and_a_dimension_in_a_schema_may_be_written_as_floats(
    plain_servers: Callable[[str], RunningServer], served: httpx.Client, namespace: str
) -> None:
    with plain_servers("sparse").client() as sparse:
        body = '{"vectors": [{"id": "a", "sparseValues": {"indices": [3.0, 4294967295.0], "values": [1, 2]}}], "namespace": "NS"}'
        assert sparse.post("/vectors/upsert", content=body.replace("NS", namespace)).status_code == 200
        asked = (
            '{"topK": 1, "sparseVector": {"indices": [3.0], "values": [5]}, "namespace": "NS", "includeValues": true}'
        )
        (match,) = sparse.post("/query", content=asked.replace("NS", namespace)).json()["matches"]
        assert (match["score"], match["sparseValues"]["indices"]) == (5, [3, 4294967295])
        wrong = '{"topK": 1, "sparseVector": {"indices": [3.5], "values": [5]}}'
        assert sparse.post("/query", content=wrong).status_code == 400
    field = '{"type": "dense_vector", "dimension": 2.0, "metric": "cosine"}'
    body = '{"name": "changed", "schema": {"fields": {"_values": FIELD}}}'.replace("FIELD", field)
    answer = served.post("/indexes", content=body, headers=NEW)
    assert answer.status_code == 409, answer.text


@pytest.mark.parametrize("size", [1_100_000, 3_000_000])
def test_a_url_that_is_too_long_is_answered_as_what_it_is(hash_server: RunningServer, size: int) -> None:
    there = urlsplit(hash_server.url)
    with socket.create_connection((there.hostname or "", there.port or 0), timeout=120) as connection:
        connection.sendall(b"GET /vectors/fetch?ids=" + b"x" * size + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split(b" ")[1]) in (400, 414)
    assert b"content-type: application/json" in head.lower()
    told = json.loads(body)
    assert set(told) == {"code", "message", "details"}
    assert "URL" in told["message"]
    assert re.search(r"\d{6,} bytes", told["message"]), "it says how long it may be"


def test_headers_that_are_too_long_are_not_called_a_url(hash_server: RunningServer) -> None:
    there = urlsplit(hash_server.url)
    with socket.create_connection((there.hostname or "", there.port or 0), timeout=120) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 1_100_000 + b"\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"URL" not in answer.partition(b"\r\n\r\n")[2]
