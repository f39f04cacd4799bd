"""How much one upsert may carry and one answer may hold: counted in numbers, alike over both protocols, not in text."""

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import grpc
import httpx
import pytest
from pinyon.api.grpc import structs
from pinyon.api.grpc import vector_service_pb2 as pb

from tests.api.grpc_transport import channel, method
from tests.running import RunningServer, free_ports, plain_config

SPEC = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
UPSERT_BYTES, RESULT_BYTES = 2 * 1024 * 1024, 4 * 1024 * 1024
DIMENSIONS = (384, 768, 1024, 1536, 3072)
Rows = list[dict[str, Any]]


@pytest.fixture(params=["rest", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


class Sized(NamedTuple):
    """What came of a call: its status in REST's terms, the message of a refusal, and the ids of the answer."""

    status: int
    message: str = ""
    ids: Sequence[str] = ()


def counted(row: dict[str, Any]) -> int:
    """Bytes of a record: its id, four for a number, eight for a sparse pair, and its fields as JSON."""
    fields = json.dumps(row["metadata"], ensure_ascii=False, separators=(",", ":")) if "metadata" in row else ""
    pairs = row.get("sparseValues", {"indices": []})["indices"]
    return len(row["id"]) + 4 * len(row.get("values", [])) + 8 * len(pairs) + len(fields.encode())


def numbers(count: int) -> list[float]:
    """As programs send them: with all the digits of a double."""
    chance = random.Random(count)
    return [chance.uniform(-1, 1) for _ in range(count)]


def rows_of(number: int, dimension: int, metadata_bytes: int = 0) -> Rows:
    values = numbers(dimension + 50)
    rows: Rows = [{"id": f"vec-{n:04}", "values": values[n % 50 : n % 50 + dimension]} for n in range(number)]
    if metadata_bytes:
        for row in rows:
            row["metadata"] = {"text": "x" * (metadata_bytes - len('{"text":""}'))}
    return rows


def vector(row: dict[str, Any]) -> pb.Vector:
    made = pb.Vector(id=row["id"], values=row.get("values", []))
    if "sparseValues" in row:
        made.sparse_values.MergeFrom(pb.SparseValues(**row["sparseValues"]))
    if "metadata" in row:
        structs.fill(made.metadata, row["metadata"])
    return made


def _rest(url: str, verb: str, path: str, body: Any = None) -> Sized:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = httpx.request(verb, url + path, content=content if body is not None else None, timeout=60)
    told = answer.json()
    if answer.status_code != 200:
        return Sized(answer.status_code, told["message"])
    found = told.get("vectors") or {match["id"]: match for match in told.get("matches", [])}
    assert all(held.get("values") or held.get("sparseValues") for held in found.values())
    return Sized(200, ids=tuple(found))


def _grpc(url: str, name: str, request: Any, reply: Any) -> Sized:
    with channel(url) as open_channel:
        try:
            answer = method(open_channel, name, type(request), reply)(request)
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.INVALID_ARGUMENT)
            return Sized(400, str(error.details()))
    if name == "Upsert":
        return Sized(200)
    held = {match.id: match for match in answer.matches} if name == "Query" else dict(answer.vectors)
    assert all(one.values or one.sparse_values.indices for one in held.values())
    return Sized(200, ids=tuple(held))


def upsert(url: str, protocol: str, rows: Rows, namespace: str = "") -> Sized:
    if protocol == "rest":
        return _rest(url, "POST", "/vectors/upsert", {"vectors": rows, "namespace": namespace})
    request = pb.UpsertRequest(vectors=map(vector, rows), namespace=namespace)
    return _grpc(url, "Upsert", request, pb.UpsertResponse)


def fetch(url: str, protocol: str, ids: Sequence[str], namespace: str) -> Sized:
    if protocol == "rest":
        return _rest(url, "GET", f"/vectors/fetch?namespace={namespace}&" + "&".join(f"ids={id}" for id in ids))
    return _grpc(url, "Fetch", pb.FetchRequest(ids=ids, namespace=namespace), pb.FetchResponse)


def fetch_by_metadata(url: str, protocol: str, limit: int, namespace: str) -> Sized:
    asked = {"g": {"$exists": True}}
    if protocol == "rest":
        body = {"filter": asked, "limit": limit, "namespace": namespace}
        return _rest(url, "POST", "/vectors/fetch_by_metadata", body)
    request = pb.FetchByMetadataRequest(limit=limit, namespace=namespace)
    request.filter.update(asked)
    return _grpc(url, "FetchByMetadata", request, pb.FetchByMetadataResponse)


def query(url: str, protocol: str, dimension: int, top_k: int, namespace: str, metadata: bool = False) -> Sized:
    asked = [1.0] * dimension
    if protocol == "rest":
        body = {"vector": asked, "topK": top_k, "includeValues": True, "includeMetadata": metadata}
        return _rest(url, "POST", "/query", {**body, "namespace": namespace})
    request = pb.QueryRequest(vector=asked, top_k=top_k, include_values=True, include_metadata=metadata)
    request.namespace = namespace
    return _grpc(url, "Query", request, pb.QueryResponse)


class Site(NamedTuple):
    """A server, and the URLs of its indexes: of vectors by their dimension, of sparse ones under 0."""

    server: RunningServer
    urls: dict[int, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("sizes")
    ports = free_ports(len(DIMENSIONS) + 1)
    server = RunningServer(plain_config(folder, "dimension = 2"), folder / "data", "--index-ports", ports)
    urls = {}
    with server.client() as client:
        for size in (*DIMENSIONS, 0):
            kind = {"dimension": size} if size else {"vector_type": "sparse"}
            urls[size] = client.post("/indexes", json={"name": f"index-{size}", "spec": SPEC, **kind}).json()["host"]
    yield Site(server, urls)
    assert server.stop() == 0, server.text


@pytest.mark.parametrize(
    ("number", "dimension", "metadata_bytes"),
    [
        pytest.param(1000, 384, 30, id="Pinecone's table: little metadata"),
        pytest.param(559, 768, 500, id="Pinecone's table: 500 bytes"),
        pytest.param(245, 1536, 2000, id="Pinecone's table: 2,000 bytes"),
        pytest.param(500, 384, 0, id="upsert_from_dataframe"),
        pytest.param(100, 1024, 2000, id="llama-index"),
        pytest.param(32, 3072, 2000, id="langchain-pinecone"),
        pytest.param(100, 1536, 0, id="TypeScript"),
    ],
)
def test_the_batches_that_clients_send_by_default_are_taken(
    site: Site, protocol: str, namespace: str, number: int, dimension: int, metadata_bytes: int
) -> None:
    rows = rows_of(number, dimension, metadata_bytes)
    assert upsert(site.urls[dimension], protocol, rows, namespace) == Sized(200)
    stats = httpx.post(f"{site.urls[dimension]}/describe_index_stats", timeout=60).json()["namespaces"]
    assert stats[namespace] == {"vectorCount": number}


def test_a_sparse_pair_is_eight_bytes(site: Site, protocol: str, namespace: str) -> None:
    weights = numbers(250)
    held = {"indices": [2**32 - 1 - n for n in range(250)], "values": weights}
    rows: Rows = [{"id": f"vec-{n:04}", "sparseValues": held} for n in range(1000)]
    assert sum(map(counted, rows)) < UPSERT_BYTES
    assert upsert(site.urls[0], protocol, rows, namespace) == Sized(200)


def test_how_the_json_is_written_is_not_counted(site: Site, namespace: str) -> None:
    rows = rows_of(510, 1024)
    assert UPSERT_BYTES - 10_000 < sum(map(counted, rows)) < UPSERT_BYTES
    body = json.dumps({"vectors": rows, "namespace": namespace}, indent=1).encode()
    assert len(body) > 6 * UPSERT_BYTES
    assert _rest(site.urls[1024], "POST", "/vectors/upsert", body) == Sized(200)


@pytest.mark.parametrize("path", ["/vectors/upsert", "/query", "/vectors/update", "/records/namespaces/n/upsert"])
def test_a_body_that_no_request_can_need_is_refused(site: Site, path: str) -> None:
    answer = _rest(site.urls[384], "POST", path, b"{}".ljust(10 * UPSERT_BYTES))
    assert answer.status == 400
    assert "exceeds the maximum supported size" in answer.message


@pytest.mark.parametrize(("number", "dimension"), [(700, 768), (345, 1536), (1000, 1536), (700, 3072)])
def test_an_upsert_that_is_too_large_names_the_limit_that_holds(
    site: Site, protocol: str, namespace: str, number: int, dimension: int
) -> None:
    rows: Rows = [{"id": f"vec-{n:04}", "values": [1.0] * dimension} for n in range(number)]
    answer = upsert(site.urls[dimension], protocol, rows, namespace)
    assert answer.status == 400
    assert "exceeds the maximum supported size" in answer.message
    assert f"{UPSERT_BYTES} bytes" in answer.message
    assert namespace not in httpx.post(f"{site.urls[dimension]}/describe_index_stats", timeout=60).json()["namespaces"]


@pytest.fixture(scope="module")
def large(site: Site) -> dict[int, list[str]]:
    """Ids of the thousand records in the namespace "large" of two of the indexes."""
    found = {}
    for dimension in (1024, 1536):
        rows = [{**row, "metadata": {"g": 1}} for row in rows_of(1000, dimension)]
        for start in range(0, 1000, 250):
            assert upsert(site.urls[dimension], "grpc", rows[start : start + 250], "large").status == 200
        found[dimension] = [row["id"] for row in rows]
    return found


@pytest.mark.parametrize("dimension", [1024, 1536])
def test_a_fetch_of_as_many_ids_as_are_allowed_is_answered(
    site: Site, large: dict[int, list[str]], protocol: str, dimension: int
) -> None:
    answer = fetch(site.urls[dimension], protocol, large[dimension], "large")
    assert (answer.status, sorted(answer.ids)) == (200, large[dimension]), answer.message


def test_a_query_with_values_may_hold_4_mb_of_numbers(site: Site, large: dict[int, list[str]], protocol: str) -> None:
    answer = query(site.urls[1024], protocol, 1024, 1000, "large")
    assert (answer.status, len(answer.ids)) == (200, 1000), answer.message
    refused = query(site.urls[1536], protocol, 1536, 1000, "large")
    assert refused.status == 400
    assert f"exceeds the maximum supported size of {RESULT_BYTES} bytes" in refused.message
    assert "values" in refused.message, "it can be asked for without them"


def test_a_fetch_by_metadata_may_hold_4_mb_of_numbers(site: Site, large: dict[int, list[str]], protocol: str) -> None:
    answer = fetch_by_metadata(site.urls[1024], protocol, 1000, "large")
    assert (answer.status, sorted(answer.ids)) == (200, large[1024]), answer.message
    refused = fetch_by_metadata(site.urls[1536], protocol, 1000, "large")
    assert refused.status == 400
    assert f"exceeds the maximum supported size of {RESULT_BYTES} bytes" in refused.message
    assert "limit" in refused.message
    assert "leave" not in refused.message, "it has no way to ask for less of a record"


LIMITED = """
[limits]
upsert_bytes = 2000
result_bytes = 1200
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("limited")
    path = plain_config(folder, 'dimension = 4\nmetric = "dotproduct"')
    path.write_text(path.read_text() + LIMITED)
    server = RunningServer(path, folder / "data")
    yield server.url
    assert server.stop() == 0, server.text


def exactly(size: int) -> Rows:
    """Records of so many bytes in all; all but the first have the field g."""
    rows: Rows = [
        {"id": "plain", "values": numbers(4)},
        {"id": "hybrid", "values": numbers(4), "sparseValues": {"indices": [2**32 - 1, 7], "values": [0.1, -2.5]}},
        {"id": "typed", "values": numbers(4), "metadata": {"n": 1, "b": True, "l": ["a", "b"], "g": "é"}},
        {"id": "padded", "values": numbers(4), "metadata": {"g": ""}},
    ]
    rows[1]["metadata"] = {"g": 1}
    rows[-1]["metadata"]["g"] = "é" * 100 + "x" * (size - sum(map(counted, rows)) - 200)
    assert sum(map(counted, rows)) == size
    return rows


def test_an_upsert_counts_ids_numbers_and_fields_to_the_byte(limited: str, protocol: str, namespace: str) -> None:
    assert upsert(limited, protocol, exactly(2000), namespace) == Sized(200)
    refused = upsert(limited, protocol, exactly(2001), namespace)
    assert refused.status == 400
    assert "2001 bytes" in refused.message
    assert "exceeds the maximum supported size of 2000 bytes" in refused.message


def test_an_answer_counts_ids_numbers_and_fields_to_the_byte(limited: str, protocol: str, namespace: str) -> None:
    for size, status in ((1200, 200), (1201, 400)):
        without = counted(exactly(1000)[0])
        assert upsert(limited, protocol, exactly(size + without), namespace).status == 200
        answer = fetch_by_metadata(limited, protocol, 10, namespace)
        assert answer.status == status, answer.message
        assert sorted(answer.ids) == (["hybrid", "padded", "typed"] if status == 200 else [])


@pytest.mark.parametrize(("share", "status"), [(0.9, 200), (1.1, 400)])
def test_an_answer_of_a_query_counts_likewise(
    limited: str, protocol: str, namespace: str, share: float, status: int
) -> None:
    assert upsert(limited, protocol, exactly(int(1200 * share)), namespace).status == 200
    assert query(limited, protocol, 4, 10, namespace, metadata=True).status == status


def test_a_fetch_is_not_advised_to_leave_out_what_it_cannot(limited: str, protocol: str, namespace: str) -> None:
    assert upsert(limited, protocol, exactly(1900), namespace).status == 200
    answer = fetch(limited, protocol, ["plain", "hybrid", "typed", "padded"], namespace)
    assert answer.status == 200 or "leave" not in answer.message
