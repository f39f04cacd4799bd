"""What clients and frameworks do by themselves works: addresses, orders, empty lists, sparse updates, nested filters."""

import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import grpc
import httpx
import pytest
from pinyon.api.grpc import vector_service_pb2 as pb

from tests.api.grpc_transport import asking, channel
from tests.running import RunningServer, config, free_ports

Servers = Callable[[str], RunningServer]
SPEC = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
VERSIONS = ("2025-04", "2025-10", "2026-07")


@pytest.fixture(params=["rest", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def control(control_server: RunningServer) -> Iterator[httpx.Client]:
    with control_server.client() as client:
        yield client


@pytest.fixture
def index(control: httpx.Client) -> Iterator[dict[str, Any]]:
    """An index that any embedding of 64 dimensions fits."""
    body = {"name": f"idx-{uuid4().hex[:12]}", "dimension": 64, "spec": SPEC}
    answer = control.post("/indexes", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    yield made
    control.delete(f"/indexes/{made['name']}")


# localhost on both families


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as one:
        one.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("options", [(), ("--host", "localhost"), ("--host", "::1"), ("--host", "127.0.0.1")])
def test_localhost_answers_on_both_families(tmp_path_factory: pytest.TempPathFactory, options: tuple[str, ...]) -> None:
    folder = tmp_path_factory.mktemp("families")
    server = RunningServer(config(folder), folder / "data", *options, "--index-ports", free_ports(1))
    main = urlsplit(server.url).port
    with server.client() as client:
        made = client.post("/indexes", json={"name": "one", "dimension": 2, "spec": SPEC}).json()
    assert urlsplit(server.url).hostname == urlsplit(made["host"]).hostname == "localhost"
    for address in ("127.0.0.1", "[::1]"):
        assert httpx.get(f"http://{address}:{main}/ready", timeout=60).status_code == 200, address
        stats = httpx.post(f"http://{address}:{urlsplit(made['host']).port}/describe_index_stats", timeout=60)
        assert stats.json()["dimension"] == 2, address
        told = httpx.get(f"http://{address}:{main}/indexes/one", timeout=60).json()["host"]
        assert httpx.post(f"{told}/describe_index_stats", timeout=60).json()["dimension"] == 2, (
            "it is reached as it was asked"
        )
    assert server.stop() == 0, server.text


# Go: only 200 is success of a change


@pytest.mark.parametrize("version", ["", *VERSIONS, "2026-04"])
@pytest.mark.parametrize(
    "body",
    [
        {"tags": {"a": "b"}},
        {"deletion_protection": "disabled"},
        {"read_capacity": {"mode": "OnDemand"}},
        {"spec": {"serverless": {"read_capacity": {"mode": "OnDemand"}}}},
        {"embed": {"model": "pinyon-hash-embed", "field_map": {"text": "t"}}},
        {},
    ],
    ids=str,
)
def test_a_change_of_an_index_is_answered_with_200(
    control: httpx.Client, index: dict[str, Any], version: str, body: Any
) -> None:
    headers = {"X-Pinecone-Api-Version": version} if version else {}
    answer = control.patch(f"/indexes/{index['name']}", json=body, headers=headers)
    assert (answer.status_code, answer.json()["name"]) == (200, index["name"])


# Java: puts its own scheme before a host


@pytest.mark.parametrize(
    ("agent", "scheme"),
    [
        ("lang=java; pineconeClientVersion=v5.1.0", ""),
        ("lang=java; pineconeClientVersion = v6.1.0; source_tag=langchain4j", ""),
        ("LANG=JAVA", ""),
        ("lang=javascript; x", "http://"),
        ("@pinecone-database/pinecone v8.2.0; lang=typescript; node v22", "http://"),
        ("python-client-9.0.1", "http://"),
        ("lang=go; pinecone-go-client/4.1.4", "http://"),
        ("lang=C#; version=4.0.2", "http://"),
        ("okhttp/4.12 java/17", "http://"),
        ("", "http://"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_host_of_an_index_has_no_scheme_for_javas_client_and_no_other(
    control: httpx.Client, version: str, agent: str, scheme: str
) -> None:
    headers = {"User-Agent": agent, "X-Pinecone-Api-Version": version}
    host = f"localhost:{control.base_url.port}"
    assert control.get("/indexes/quickstart", headers=headers).json()["host"] == scheme + host
    listed = control.get("/indexes", headers=headers).json()["indexes"]
    assert {one["host"] for one in listed if one["name"] == "quickstart"} == {scheme + host}
    changed = control.patch("/indexes/quickstart", json={}, headers=headers)
    assert changed.json()["host"] == scheme + host


def test_an_index_that_javas_client_makes_has_a_host_without_a_scheme(control: httpx.Client) -> None:
    headers = {"User-Agent": "lang=java; pineconeClientVersion=v6.1.0"}
    bodies: dict[str, dict[str, Any]] = {
        "/indexes": {"name": "java-one", "dimension": 2, "spec": SPEC},
        "/indexes/create-for-model": {
            "name": "java-two",
            **SPEC["serverless"],
            "embed": {"model": "pinyon-hash-embed", "field_map": {"text": "t"}},
        },
    }
    for path, body in bodies.items():
        made = control.post(path, json=body, headers=headers).json()
        stats = httpx.post(f"http://{made['host'].removeprefix('http://')}/describe_index_stats", timeout=60)
        assert control.delete(f"/indexes/{made['name']}").status_code == 202
        assert made["host"].startswith("localhost:"), made["host"]
        assert stats.status_code == 200


# C#: writes empty lists


def test_rank_fields_that_are_none_are_the_default(control: httpx.Client, namespace: str) -> None:
    rows = [{"_id": "a", "chunk_text": "apples are healthy"}, {"_id": "b", "chunk_text": "pumps are blocked"}]
    assert control.post(f"/records/namespaces/{namespace}/upsert", json=rows).status_code == 201

    def search(**more: Any) -> httpx.Response:
        rerank = {"model": "pinyon-late-interaction", "top_n": 2, **more}
        body = {"query": {"top_k": 2, "inputs": {"text": "healthy apples"}}, "rerank": rerank}
        return control.post(f"/records/namespaces/{namespace}/search", json=body)

    assert search(rank_fields=[]).status_code == 200
    assert search(rank_fields=[]).json() == search().json() == search(rank_fields=["chunk_text"]).json()

    def rerank(**more: Any) -> httpx.Response:
        documents = [{"text": row["chunk_text"], "other": "x"} for row in rows]
        body = {"model": "pinyon-late-interaction", "query": "healthy apples", "documents": documents, **more}
        return control.post("/rerank", json=body)

    assert rerank(rank_fields=[]).status_code == 200
    assert rerank(rank_fields=[]).json() == rerank().json() == rerank(rank_fields=["text"]).json()


# Go's suite: sparse values of a record in an index of another metric


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("dotproduct", [0.5, 2.0]),
        ("cosine", [0.5, 2.0]),
        ("cosine", [0.0, 2.0]),
        ("cosine", [0.0, 0.0]),
        ("euclidean", [0.5, 2.0]),
        ("euclidean", [0.0, 0.0]),
    ],
)
def test_sparse_values_that_an_update_gives_a_dense_record_are_kept_and_fetched(
    plain_servers: Servers, protocol: str, namespace: str, kind: str, weights: list[float]
) -> None:
    held = {"indices": [7, 4294967295], "values": weights}
    vectors = [{"id": "a", "values": [1, 0]}, {"id": "b", "values": [1, 0.1]}]
    asked = {"vector": [1, 0], "topK": 2, "namespace": namespace}
    with asking(plain_servers(kind).url, protocol) as client:
        client.post("/vectors/upsert", json={"vectors": vectors, "namespace": namespace})
        by_id = {"id": "a", "topK": 2, "namespace": namespace}
        before = [client.post("/query", json=body).json()["matches"] for body in (asked, by_id)]
        update = {"id": "a", "sparseValues": held, "namespace": namespace}
        answer = client.post("/vectors/update", json=update)
        assert answer.status_code == 200, answer.text
        for _ in range(2):
            found = client.get("/vectors/fetch", params={"ids": ["a"], "namespace": namespace}).json()["vectors"]["a"]
            assert found["sparseValues"] == held
            assert found["values"] == [1.0, 0.0]
            change = {"id": "a", "setMetadata": {"n": 1}, "namespace": namespace}
            assert client.post("/vectors/update", json=change).status_code == 200, "and they stay when others change"
        after = [client.post("/query", json=body).json()["matches"] for body in (asked, by_id)]
        if kind != "dotproduct":
            assert after == before, "they are kept, and count for nothing"
        (match, *_) = client.post("/query", json={**asked, "includeValues": True}).json()["matches"]
        assert match["sparseValues"] == held


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_an_upsert_or_a_query_with_sparse_values_is_still_refused_there(
    plain_servers: Servers, protocol: str, kind: str
) -> None:
    held = {"indices": [1], "values": [1]}
    with asking(plain_servers(kind).url, protocol) as client:
        upsert = client.post("/vectors/upsert", json={"vectors": [{"id": "a", "values": [1, 0], "sparseValues": held}]})
        query = client.post("/query", json={"vector": [1, 0], "topK": 1, "sparseVector": held})
    for answer in (upsert, query):
        assert answer.status_code == 400
        assert "Index configuration does not support sparse values" in answer.json()["message"]


@pytest.mark.parametrize(
    "held",
    [{"indices": [1, 1], "values": [1, 2]}, {"indices": [1, 2], "values": [1]}, {"indices": [1], "values": [1e39]}],
)
def test_what_an_update_gives_must_be_sparse_values_all_the_same(
    plain_servers: Servers, namespace: str, held: Any
) -> None:
    with plain_servers("cosine").client() as client:
        body = {"vectors": [{"id": "a", "values": [1, 0]}], "namespace": namespace}
        assert client.post("/vectors/upsert", json=body).status_code == 200
        update = {"id": "a", "sparseValues": held, "namespace": namespace}
        assert client.post("/vectors/update", json=update).status_code == 400


# Answers that are maps keep the order of the request


def test_a_fetch_answers_in_the_order_of_its_ids(plain_servers: Servers, namespace: str) -> None:
    names = [f"r{n}" for n in (7, 3, 9, 1, 8, 0)]
    with plain_servers("cosine").client() as client:
        vectors = [{"id": name, "values": [1, n]} for n, name in enumerate(sorted(names))]
        assert client.post("/vectors/upsert", json={"vectors": vectors, "namespace": namespace}).status_code == 200
        asked = ["r9", *names, "nobody", "r0"]
        answer = client.get("/vectors/fetch", params={"ids": asked, "namespace": namespace})
        assert list(answer.json()["vectors"]) == ["r9", "r7", "r3", "r1", "r8", "r0"]
        ranked = client.post("/query", json={"vector": [1, 3], "topK": 6, "namespace": namespace}).json()["matches"]
        best = [match["id"] for match in ranked]
        answer = client.get("/vectors/fetch", params={"ids": best, "namespace": namespace})
        assert list(answer.json()["vectors"]) == best, "scores of a query are paired with it"


def test_fields_of_a_record_keep_their_order(plain_servers: Servers, namespace: str) -> None:
    fields = {"z": 1, "a": "x", "m": True, "b": ["y"]}
    with plain_servers("cosine").client() as client:
        body = {"vectors": [{"id": "a", "values": [1, 0], "metadata": fields}], "namespace": namespace}
        assert client.post("/vectors/upsert", json=body).status_code == 200
        fetched = client.get("/vectors/fetch", params={"ids": "a", "namespace": namespace}).json()
        assert list(fetched["vectors"]["a"]["metadata"]) == list(fields)
        asked = {"vector": [1, 0], "topK": 1, "includeMetadata": True, "namespace": namespace}
        (match,) = client.post("/query", json=asked).json()["matches"]
        assert list(match["metadata"]) == list(fields)


def test_fields_that_are_asked_for_come_in_that_order(control: httpx.Client, namespace: str) -> None:
    record = {"_id": "a", "chunk_text": "x", "z": 1, "a": 2, "m": 3}
    assert control.post(f"/records/namespaces/{namespace}/upsert", json=record).status_code == 201
    body = {"query": {"top_k": 1, "id": "a"}, "fields": ["m", "z", "chunk_text", "a"]}
    answer = control.post(f"/records/namespaces/{namespace}/search", json=body)
    assert list(answer.json()["result"]["hits"][0]["fields"]) == body["fields"]


@pytest.mark.parametrize("version", VERSIONS)
def test_tags_and_declared_fields_keep_their_order(control: httpx.Client, index: dict[str, Any], version: str) -> None:
    headers = {"X-Pinecone-Api-Version": version}
    tags = {"z": "1", "a": "2", "m": "3"}
    changed = control.patch(f"/indexes/{index['name']}", json={"tags": tags}, headers=headers).json()
    assert list(changed["tags"]) == list(tags)
    assert list(control.get(f"/indexes/{index['name']}", headers=headers).json()["tags"]) == list(tags)
    schema = {"fields": {name: {"filterable": True} for name in ("z", "a", "m")}}
    made = httpx.post(f"{index['host']}/namespaces", json={"name": "declared", "schema": schema}, timeout=60).json()
    assert list(made["schema"]["fields"]) == ["z", "a", "m"]
    assert made["indexed_fields"]["fields"] == ["z", "a", "m"]


def test_a_document_that_is_ranked_keeps_the_order_of_its_fields(control: httpx.Client) -> None:
    document = {"z": 1, "text": "apples", "a": {"y": 1, "b": 2}}
    body = {"model": "pinyon-late-interaction", "query": "x", "documents": [document]}
    (ranked,) = control.post("/rerank", json=body).json()["data"]
    assert json.dumps(ranked["document"]) == json.dumps(document)


# Binary trees of conditions, as langchain4j and Spring AI write them


def _varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def wire(value: Any) -> bytes:
    """A google.protobuf.Value, written without protobuf, which refuses to write what is deep."""
    parts: list[bytes] = []
    stack: list[Any] = [value]
    while stack:  # not recursive: it is deep
        one = stack.pop()
        if callable(one):
            one()
        elif isinstance(one, dict):
            size, names = len(one), list(one)

            def close_struct(size: int = size, names: list[str] = names) -> None:
                held = parts[-size:]
                del parts[-size:]
                entries = (_part(1, _part(1, n.encode()) + _part(2, v)) for n, v in zip(names, held, strict=True))
                parts.append(_part(5, b"".join(entries)))

            stack += [close_struct, *reversed(one.values())]
        elif isinstance(one, list):

            def close_list(size: int = len(one)) -> None:
                held = parts[-size:]
                del parts[-size:]
                parts.append(_part(6, b"".join(_part(1, each) for each in held)))

            stack += [close_list, *reversed(one)]
        elif isinstance(one, str):
            parts.append(_part(3, one.encode()))
        else:
            parts.append(b"\x11" + struct.pack("<d", one))
    (found,) = parts
    return found


def struct_of(value: dict[str, Any]) -> bytes:
    """The Struct inside of its Value."""
    whole = wire(value)
    at = 1
    while whole[at] & 128:
        at += 1
    return whole[at + 1 :]


def chained(operator: str, levels: int) -> dict[str, Any]:
    """A filter in which so many lists of two conditions stand in one another."""
    found: dict[str, Any] = {"n": 1}
    for _ in range(levels):
        found = {operator: [{"n": 2}, found]}
    return found


def negated(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"n": 1}
    for _ in range(levels):
        found = {"$not": found}
    return found


@cache  # deep ones take seconds
def packed_negation(levels: int) -> bytes:
    return struct_of(negated(levels))


METHODS: dict[str, tuple[str, Any, bytes, int, Any]] = {
    "/query": (
        "Query",
        {"vector": [1, 0], "topK": 1},
        b"\x10\x01" + _part(7, struct.pack("<2f", 1, 0)),
        3,
        pb.QueryResponse,
    ),
    "/vectors/delete": ("Delete", {}, b"", 4, pb.DeleteResponse),
    "/vectors/update": ("Update", {"setMetadata": {"a": "b"}}, _part(3, struct_of({"a": "b"})), 6, pb.UpdateResponse),
    "/vectors/fetch_by_metadata": ("FetchByMetadata", {}, b"", 2, pb.FetchByMetadataResponse),
}
"""Name, the rest of the body in JSON and in protobuf, the number of the filter, and the answer."""
PLACES = {"/query": 1, "/vectors/delete": 3, "/vectors/update": 4, "/vectors/fetch_by_metadata": 1}
"""Numbers of the namespace's field."""


def call(url: str, name: str, message: bytes, reply: Any) -> tuple[int, str]:
    """Status in REST's terms, and the message of a refusal."""
    with channel(url) as opened:
        method = opened.unary_unary(
            f"/VectorService/{name}", request_serializer=bytes, response_deserializer=reply.FromString
        )
        try:
            method(message)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
            return 400, str(error.details())
    return 200, ""


def filtered_over_grpc(url: str, path: str, packed: bytes, namespace: str) -> tuple[int, str]:
    name, _, rest, number, reply = METHODS[path]
    where = _part(PLACES[path], namespace.encode())
    return call(url, name, rest + where + _part(number, packed), reply)


def filtered(url: str, protocol: str, path: str, condition: dict[str, Any], namespace: str) -> tuple[int, str]:
    body = METHODS[path][1]
    if protocol == "grpc":
        return filtered_over_grpc(url, path, struct_of(condition), namespace)
    answer = httpx.post(url + path, json={**body, "namespace": namespace, "filter": condition}, timeout=60)
    return answer.status_code, answer.json().get("message", "")


@pytest.fixture
def filled(plain_servers: Servers, namespace: str) -> str:
    """The URL of a server that has the namespace."""
    server = plain_servers("cosine")
    body = {"vectors": [{"id": "a", "values": [1, 0], "metadata": {"n": 3}}], "namespace": namespace}
    with server.client() as client:
        assert client.post("/vectors/upsert", json=body).status_code == 200
    return server.url


@pytest.mark.parametrize("path", list(METHODS))
@pytest.mark.parametrize("operator", ["$or", "$and"])
@pytest.mark.parametrize("levels", [19, 20, 25, 31])
def test_conditions_may_be_chained_as_deep_over_both_protocols(
    filled: str, protocol: str, namespace: str, path: str, operator: str, levels: int
) -> None:
    assert filtered(filled, protocol, path, chained(operator, levels), namespace) == (200, "")


def test_negations_may_be_as_deep(filled: str, protocol: str, namespace: str) -> None:
    assert filtered(filled, protocol, "/query", negated(31), namespace) == (200, "")


@pytest.mark.parametrize("path", list(METHODS))
@pytest.mark.parametrize(
    "condition",
    [chained("$or", 32), chained("$and", 60), negated(32), {"$and": [chained("$or", 31)]}],
    ids=["or", "and", "not", "mixed"],
)
def test_deeper_ones_are_refused_with_the_same_sentence(
    filled: str, protocol: str, namespace: str, path: str, condition: dict[str, Any]
) -> None:
    told = filtered(filled, protocol, path, condition, namespace)
    assert told == (400, "The filter is nested deeper than 32 levels")


@pytest.mark.parametrize("levels", [1_000, 13_000, 40_000])
@pytest.mark.parametrize("path", list(METHODS))
def test_a_message_that_is_nested_very_deep_is_refused_and_the_server_goes_on(
    filled: str, namespace: str, path: str, levels: int
) -> None:
    status, message = filtered_over_grpc(filled, path, packed_negation(levels), namespace)
    assert (status, message) == (400, "The filter is nested deeper than 32 levels")
    assert httpx.get(f"{filled}/health", timeout=60).status_code == 200


def deep_list(levels: int) -> dict[str, Any]:
    found: Any = "x"
    for _ in range(levels):
        found = [found]
    return {"a": found}


@cache
def packed_list(levels: int) -> bytes:
    return struct_of(deep_list(levels))


@pytest.mark.parametrize("levels", [2, 40, 1_000, 13_000, 40_000])
@pytest.mark.parametrize("where", ["upsert", "update", "stats"])
def test_fields_that_are_nested_are_refused_by_name_however_deep(filled: str, where: str, levels: int) -> None:
    fields = packed_list(levels)
    packed = _part(2, struct.pack("<2f", 1, 0))
    name, message, reply = {
        "upsert": ("Upsert", _part(1, _part(1, b"a") + packed + _part(3, fields)), pb.UpsertResponse),
        "update": ("Update", _part(1, b"a") + _part(3, fields), pb.UpdateResponse),
        "stats": ("DescribeIndexStats", _part(1, fields), pb.DescribeIndexStatsResponse),
    }[where]
    status, told = call(filled, name, message, reply)
    assert status == 400
    assert "upb" not in told
    assert "Error parsing" not in told
    if where != "stats":
        assert (
            "Metadata value must be a string, number, boolean or list of strings" in told or "nested too deeply" in told
        )
    assert httpx.get(f"{filled}/health", timeout=60).status_code == 200
