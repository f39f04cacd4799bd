"""Vectors and namespaces, over real sockets, REST and gRPC, on indexes of every kind."""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest

from tests.api.grpc_transport import asking
from tests.running import RunningServer

Servers = Callable[[str], RunningServer]


@pytest.fixture(params=["rest", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Every test that asks for an index is asked over both protocols."""
    chosen: str = request.param
    return chosen


@contextmanager
def connected(server: RunningServer, protocol: str) -> Iterator[httpx.Client]:
    with asking(server.url, protocol) as client:
        yield client


@pytest.fixture
def cosine(plain_servers: Servers, protocol: str) -> Iterator[httpx.Client]:
    with connected(plain_servers("cosine"), protocol) as client:
        yield client


@pytest.fixture
def dotproduct(plain_servers: Servers, protocol: str) -> Iterator[httpx.Client]:
    with connected(plain_servers("dotproduct"), protocol) as client:
        yield client


@pytest.fixture
def euclidean(plain_servers: Servers, protocol: str) -> Iterator[httpx.Client]:
    with connected(plain_servers("euclidean"), protocol) as client:
        yield client


@pytest.fixture
def sparse(plain_servers: Servers, protocol: str) -> Iterator[httpx.Client]:
    with connected(plain_servers("sparse"), protocol) as client:
        yield client


def post(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def upsert(client: httpx.Client, namespace: str, *vectors: dict[str, Any]) -> int:
    count: int = post(client, "/vectors/upsert", vectors=vectors, namespace=namespace)["upsertedCount"]
    return count


def fetch(client: httpx.Client, namespace: str, *ids: str) -> dict[str, Any]:
    answer = client.get("/vectors/fetch", params={"ids": ids, "namespace": namespace})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["vectors"]
    return found


def query(client: httpx.Client, namespace: str, **body: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = post(client, "/query", namespace=namespace, **{"topK": 10, **body})["matches"]
    return found


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [match["id"] for match in found]


def refusal(answer: httpx.Response, code: int = 3, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"code", "message", "details"}
    assert body["code"] == code
    message: str = body["message"]
    return message


def test_values_come_back_exactly_as_given(cosine: httpx.Client, namespace: str) -> None:
    given = [[0.5, 0.4], [1e-7, 3.4e38], [0.1, -0.30000001192092896], [16777216, 1]]
    count = upsert(cosine, namespace, *({"id": str(n), "values": values} for n, values in enumerate(given)))
    assert count == 4
    answer = cosine.get("/vectors/fetch", params={"ids": ["0", "1", "2", "3", "4"], "namespace": namespace})
    assert '"values":[0.5,0.4]' in answer.text.replace(" ", "")
    found = answer.json()["vectors"]
    assert set(found) == {"0", "1", "2", "3"}
    for n, values in enumerate(given):
        assert np.float32(found[str(n)]["values"]).tolist() == np.float32(values).tolist()
    assert answer.json()["usage"] == {"readUnits": 1}
    assert answer.json()["namespace"] == namespace
    assert "metadata" not in found["0"]


def test_a_query_ranks_by_the_metric(
    cosine: httpx.Client, dotproduct: httpx.Client, euclidean: httpx.Client, namespace: str
) -> None:
    rows = [{"id": "near", "values": [1, 0.1]}, {"id": "long", "values": [5, 5]}, {"id": "other", "values": [0, 1]}]
    for client, order in (
        (cosine, ["near", "long", "other"]),
        (dotproduct, ["long", "near", "other"]),
        (euclidean, ["near", "other", "long"]),
    ):
        upsert(client, namespace, *rows)
        found = query(client, namespace, vector=[1, 0])
        assert ids(found) == order
        assert all(match == {"id": match["id"], "score": match["score"], "values": []} for match in found)
    scores = [match["score"] for match in query(euclidean, namespace, vector=[1, 0])]
    assert scores == pytest.approx([0.01, 2, 41])


def test_a_query_of_zeros_lists_what_a_filter_keeps(cosine: httpx.Client, namespace: str) -> None:
    upsert(cosine, namespace, *({"id": f"r{n}", "values": [1, n], "metadata": {"g": n % 2}} for n in range(6)))
    found = query(cosine, namespace, vector=[0, 0], filter={"g": 1})
    assert [(match["id"], match["score"]) for match in found] == [("r1", 0), ("r3", 0), ("r5", 0)]


def test_values_and_metadata_come_only_when_asked_for(cosine: httpx.Client, namespace: str) -> None:
    upsert(cosine, namespace, {"id": "a", "values": [1, 2], "metadata": {"n": 1}}, {"id": "b", "values": [2, 1]})
    (a, b) = query(cosine, namespace, id="a", includeValues=True, includeMetadata=True)
    assert a == {"id": "a", "score": 1.0, "values": [1.0, 2.0], "metadata": {"n": 1}}
    assert "metadata" not in b
    assert query(cosine, namespace, vector=[1, 2], include_metadata=True, top_k=1, topK=1)[0]["metadata"] == {"n": 1}


def test_snake_case_is_taken_too(dotproduct: httpx.Client, namespace: str) -> None:
    vector = {"id": "a", "values": [1, 2], "sparse_values": {"indices": [3], "values": [0.5]}}
    upsert(dotproduct, namespace, vector)
    answer = dotproduct.post(
        "/query", json={"namespace": namespace, "top_k": 1, "vector": [1, 0], "include_values": True}
    )
    (match,) = answer.json()["matches"]
    assert match["values"] == [1.0, 2.0]
    assert match["sparseValues"] == {"indices": [3], "values": [0.5]}


def test_an_upsert_replaces_the_whole_record(cosine: httpx.Client, namespace: str) -> None:
    upsert(cosine, namespace, {"id": "a", "values": [1, 0], "metadata": {"old": 1}})
    upsert(cosine, namespace, {"id": "a", "values": [0, 1], "metadata": {"new": 1}})
    assert fetch(cosine, namespace, "a") == {"a": {"id": "a", "values": [0.0, 1.0], "metadata": {"new": 1}}}


def test_the_namespace_is_echoed_as_it_was_sent(cosine: httpx.Client) -> None:
    upsert(cosine, "", {"id": "default", "values": [1, 0]})
    for sent in ("", "__default__"):
        answer = post(cosine, "/query", vector=[1, 0], topK=100, namespace=sent)
        assert answer["namespace"] == sent
        assert "default" in ids(answer["matches"])
    assert "__default__" in post(cosine, "/describe_index_stats")["namespaces"]


@pytest.mark.rest_only
def test_the_default_namespace_has_no_name_for_old_clients(cosine: httpx.Client) -> None:
    upsert(cosine, "", {"id": "default", "values": [1, 0]})
    old = cosine.post("/describe_index_stats", json={}, headers={"X-Pinecone-Api-Version": "2025-01"})
    assert "" in old.json()["namespaces"]


def test_sparse_vectors_are_ranked_by_shared_terms(sparse: httpx.Client, namespace: str) -> None:
    rows = {
        "a": {"indices": [7, 1, 4294967295], "values": [0.5, 2, 1]},
        "b": {"indices": [1], "values": [3]},
        "c": {"indices": [2], "values": [9]},
    }
    upsert(sparse, namespace, *({"id": id, "values": [], "sparseValues": held} for id, held in rows.items()))
    found = query(sparse, namespace, sparseVector={"indices": [4294967295, 1], "values": [10, 1]}, includeValues=True)
    assert [(m["id"], m["score"], m["sparseValues"]) for m in found] == [("a", 12.0, rows["a"]), ("b", 3.0, rows["b"])]
    assert ids(query(sparse, namespace, id="b")) == ["b", "a"]
    assert query(sparse, namespace, sparseVector={"indices": [99], "values": [1]}) == []
    assert fetch(sparse, namespace, "a")["a"]["sparseValues"] == rows["a"]
    stats = post(sparse, "/describe_index_stats")
    assert (stats["vectorType"], "dimension" in stats) == ("sparse", False)
    upsert(sparse, namespace, {"id": "a", "sparseValues": {"indices": [2], "values": [1]}})
    assert ids(query(sparse, namespace, sparseVector={"indices": [1], "values": [1]})) == ["b"]


def test_dense_and_sparse_scores_add_up(dotproduct: httpx.Client, namespace: str) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {
            "id": f"r{n:03}",
            "values": rng.standard_normal(2).tolist(),
            "sparseValues": {"indices": rng.choice(20, 3, replace=False).tolist(), "values": rng.random(3).tolist()},
            "metadata": {"even": n % 2 == 0},
        }
        for n in range(300)
    ]
    rows += [{"id": "plain", "values": [1, 1], "metadata": {"even": True}}]
    upsert(dotproduct, namespace, *rows)
    asked = {"indices": [3, 5, 7], "values": [2.0, 1.0, 4.0]}
    weights = dict(zip(asked["indices"], asked["values"], strict=True))

    def score(row: dict[str, Any]) -> float:
        dense = float(np.float32(row["values"]).astype(np.float64) @ np.array([0.3, -0.7], np.float32))
        held = row.get("sparseValues", {"indices": [], "values": []})
        pairs = zip(held["indices"], held["values"], strict=True)
        return dense + sum(weights.get(term, 0) * float(np.float32(value)) for term, value in pairs)

    wanted = sorted((row for row in rows if row["metadata"]["even"]), key=lambda row: (-score(row), row["id"]))[:20]
    body = {"vector": [0.3, -0.7], "sparseVector": asked, "filter": {"even": True}}
    found = query(dotproduct, namespace, topK=20, **body)
    assert ids(found) == [row["id"] for row in wanted]
    np.testing.assert_allclose([m["score"] for m in found], [score(row) for row in wanted], rtol=1e-6)


def test_updates_change_what_they_name_and_keep_the_rest(dotproduct: httpx.Client, namespace: str) -> None:
    held = {"indices": [1], "values": [1.0]}
    upsert(
        dotproduct, namespace, {"id": "a", "values": [1, 0], "sparseValues": held, "metadata": {"k": "x", "old": True}}
    )
    assert post(dotproduct, "/vectors/update", id="a", namespace=namespace, setMetadata={"k": "y", "n": 2}) == {}
    post(dotproduct, "/vectors/update", id="a", namespace=namespace, values=[0, 1])
    assert fetch(dotproduct, namespace, "a")["a"] == {
        "id": "a",
        "values": [0.0, 1.0],
        "sparseValues": held,
        "metadata": {"k": "y", "old": True, "n": 2},
    }
    other = {"indices": [2], "values": [5.0]}
    post(dotproduct, "/vectors/update", id="a", namespace=namespace, sparseValues=other)
    assert fetch(dotproduct, namespace, "a")["a"]["values"] == [0.0, 1.0]
    found = query(dotproduct, namespace, vector=[0, 1], sparseVector=other, filter={"k": "y"})
    assert [(m["id"], m["score"]) for m in found] == [("a", 26.0)]
    assert query(dotproduct, namespace, vector=[0, 1], filter={"k": "x"}) == []
    assert post(dotproduct, "/vectors/update", id="nobody", namespace=namespace, values=[1, 1]) == {}
    assert set(fetch(dotproduct, namespace, "nobody")) == set()


def test_an_update_by_filter_counts_and_changes(cosine: httpx.Client, namespace: str) -> None:
    upsert(cosine, namespace, *({"id": f"r{n}", "values": [1, n], "metadata": {"g": n % 3}} for n in range(9)))
    body = {"namespace": namespace, "filter": {"g": {"$eq": 1}}, "setMetadata": {"seen": True}}
    assert post(cosine, "/vectors/update", **body, dryRun=True) == {"matchedRecords": 3}
    assert post(cosine, "/vectors/update", **body, dry_run=True) == {"matchedRecords": 3}
    assert query(cosine, namespace, vector=[1, 1], filter={"seen": True}) == []
    assert post(cosine, "/vectors/update", **body) == {"matchedRecords": 3}
    assert set(ids(query(cosine, namespace, vector=[1, 1], filter={"seen": True}))) == {"r1", "r4", "r7"}
    assert fetch(cosine, namespace, "r1")["r1"]["metadata"] == {"g": 1, "seen": True}


@pytest.mark.parametrize(
    ("selector", "left"),
    [
        ({"ids": ["r1", "r2", "nobody"]}, {"r0", "r3", "r4", "r5"}),
        ({"filter": {"g": 0}}, {"r1", "r3", "r5"}),
        ({"filter": {"g": 7}}, {"r0", "r1", "r2", "r3", "r4", "r5"}),
        ({"deleteAll": True}, set()),
    ],
)
def test_deletes_take_what_they_select(
    cosine: httpx.Client, namespace: str, selector: dict[str, Any], left: set[str]
) -> None:
    upsert(cosine, namespace, *({"id": f"r{n}", "values": [1, n], "metadata": {"g": n % 2}} for n in range(6)))
    upsert(cosine, namespace + "-other", {"id": "r1", "values": [1, 1]})
    for _ in range(2):  # again changes nothing, and the namespace is still there
        assert post(cosine, "/vectors/delete", namespace=namespace, **selector) == {}
        assert set(ids(query(cosine, namespace, vector=[1, 1]))) == left
        assert post(cosine, "/describe_index_stats")["namespaces"][namespace] == {"vectorCount": len(left)}
    assert ids(query(cosine, namespace + "-other", vector=[1, 1])) == ["r1"]
    upsert(cosine, namespace, {"id": "r1", "values": [1, 0], "metadata": {"g": "new"}})
    assert ids(query(cosine, namespace, vector=[1, 0], topK=1, filter={"g": "new"})) == ["r1"]


def test_deletes_in_a_namespace_that_never_was_are_404(cosine: httpx.Client, namespace: str) -> None:
    for selector in ({"ids": ["a"]}, {"filter": {"a": 1}}, {"deleteAll": True}):
        answer = cosine.post("/vectors/delete", json={"namespace": namespace, **selector})
        assert refusal(answer, 5, 404) == "Namespace not found"
    assert query(cosine, namespace, vector=[1, 0]) == []
    assert fetch(cosine, namespace, "a") == {}


def test_lists_are_pages_in_byte_order(cosine: httpx.Client, namespace: str) -> None:
    names = ["a", "a#1", "a#10", "a#2", "b", "B", "~", "a/b?c=[d]", "a b"]
    upsert(cosine, namespace, *({"id": id, "values": [1, 1]} for id in names))

    def pages(limit: int, **more: Any) -> list[list[str]]:
        found, token = [], None
        while True:
            parameters = {"namespace": namespace, "limit": limit, **more}
            if token:
                parameters["paginationToken"] = token
            answer = cosine.get("/vectors/list", params=parameters).json()
            found.append([item["id"] for item in answer["vectors"]])
            assert answer["usage"] == {"readUnits": 1}
            if "pagination" not in answer:
                return found
            token = answer["pagination"]["next"]

    assert pages(100) == [sorted(names)]
    assert [id for page in pages(2) for id in page] == sorted(names)
    assert [len(page) for page in pages(3)] == [3, 3, 3]
    assert pages(2, prefix="a#") == [["a#1", "a#10"], ["a#2"]]
    assert pages(5, prefix="none") == [[]]
    assert set(fetch(cosine, namespace, *names)) == set(names)


@pytest.mark.rest_only
def test_a_thousand_of_the_longest_ids_can_be_fetched(cosine: httpx.Client, namespace: str) -> None:
    names = [f"{n:04}" + "i" * 508 for n in range(1000)]
    upsert(cosine, namespace, {"id": names[7], "values": [1, 1]})
    connection = http.client.HTTPConnection(cosine.base_url.host, cosine.base_url.port)  # httpx ends at 64 KB
    connection.request("GET", f"/vectors/fetch?namespace={namespace}&" + "&".join(f"ids={name}" for name in names))
    answer = connection.getresponse()
    assert answer.status == 200
    assert set(json.loads(answer.read())["vectors"]) == {names[7]}
    connection.close()


def test_fetch_by_metadata_is_pages_of_whole_records(cosine: httpx.Client, namespace: str) -> None:
    upsert(cosine, namespace, *({"id": f"r{n}", "values": [1, n], "metadata": {"g": n % 2}} for n in range(10)))
    body = {"namespace": namespace, "filter": {"g": 1}, "limit": 2}
    seen: list[str] = []
    while True:
        answer = post(cosine, "/vectors/fetch_by_metadata", **body)
        seen += answer["vectors"]
        assert all(vector["metadata"] == {"g": 1} and vector["values"] for vector in answer["vectors"].values())
        if "pagination" not in answer:
            break
        body["paginationToken"] = answer["pagination"]["next"]
    assert seen == ["r1", "r3", "r5", "r7", "r9"]


def test_statistics_are_exact(cosine: httpx.Client, namespace: str) -> None:
    upsert(cosine, namespace, *({"id": f"r{n}", "values": [1, n]} for n in range(7)))
    for stats in (post(cosine, "/describe_index_stats"), cosine.get("/describe_index_stats").json()):
        assert stats["namespaces"][namespace] == {"vectorCount": 7}
        assert stats["totalVectorCount"] == sum(n["vectorCount"] for n in stats["namespaces"].values())
        assert (stats["dimension"], stats["metric"], stats["vectorType"]) == (2, "cosine", "dense")
        assert stats["indexFullness"] == 0
    assert cosine.post("/describe_index_stats").status_code == 200
    message = refusal(cosine.post("/describe_index_stats", json={"filter": {"a": 1}}))
    assert message.startswith("Serverless and Starter indexes do not support")


@pytest.mark.parametrize("name", ["plain", "with/slash", "with%percent", "q?u#e"])
def test_namespaces_are_made_described_listed_and_deleted(cosine: httpx.Client, namespace: str, name: str) -> None:
    from urllib.parse import quote

    full = f"{namespace}-{name}"
    path = "/namespaces/" + quote(full, safe="")
    schema = {"fields": {"genre": {"filterable": True}}}
    made = post(cosine, "/namespaces", name=full, schema=schema)
    assert made == {"name": full, "record_count": 0, "schema": schema, "indexed_fields": {"fields": ["genre"]}}
    assert cosine.get(path).json() == made
    assert refusal(cosine.post("/namespaces", json={"name": full}), 6, 409) == "Namespace already exists"
    upsert(cosine, full, {"id": "a", "values": [1, 1], "metadata": {"any": 1}})
    assert cosine.get(path).json()["record_count"] == 1
    assert ids(query(cosine, full, vector=[1, 1], filter={"any": 1})) == ["a"]
    upsert(cosine, f"{namespace}-z", {"id": "a", "values": [1, 1]})
    listed = cosine.get("/namespaces", params={"prefix": namespace, "limit": 1}).json()
    assert (listed["namespaces"][0]["name"], listed["total_count"]) == (full, 2)
    rest = cosine.get("/namespaces", params={"prefix": namespace, "paginationToken": listed["pagination"]["next"]})
    assert [n["name"] for n in rest.json()["namespaces"]] == [f"{namespace}-z"]
    assert "pagination" not in rest.json()
    assert cosine.delete(path).json() == {}
    for again in (cosine.get(path), cosine.delete(path)):
        assert refusal(again, 5, 404) == "Namespace not found"
    assert full not in post(cosine, "/describe_index_stats")["namespaces"]


def test_the_number_of_a_write_is_seen_by_the_next_read(cosine: httpx.Client, namespace: str) -> None:
    body = {"namespace": namespace, "vectors": [{"id": "a", "values": [1, 0]}]}
    writes = [
        cosine.post("/vectors/upsert", json=body),
        cosine.post("/vectors/update", json={"namespace": namespace, "id": "a", "values": [0, 1]}),
        cosine.post("/vectors/delete", json={"namespace": namespace, "ids": ["a"]}),
    ]
    numbers = [int(answer.headers["x-pinecone-request-lsn"]) for answer in writes]
    assert numbers == sorted(set(numbers))
    read = cosine.post("/query", json={"namespace": namespace, "topK": 1, "vector": [1, 0]})
    assert int(read.headers["x-pinecone-max-indexed-lsn"]) >= numbers[-1]


def test_an_answer_over_4_mb_is_refused(cosine: httpx.Client, namespace: str) -> None:
    for start in range(0, 120, 40):
        rows = [{"id": f"r{n}", "values": [1, n], "metadata": {"t": "x" * 40_000}} for n in range(start, start + 40)]
        upsert(cosine, namespace, *rows)
    body = {"namespace": namespace, "vector": [1, 1], "topK": 120}
    assert len(query(cosine, **body)) == 120
    message = refusal(cosine.post("/query", json={**body, "includeMetadata": True}))
    assert "exceeds the maximum supported size of 4194304 bytes" in message


V = {"id": "a", "values": [1, 0]}
REFUSED: list[tuple[str, str, str, Any, str]] = [
    ("no vectors", "cosine", "/vectors/upsert", {"vectors": []}, "Invalid request"),
    ("1001", "cosine", "/vectors/upsert", {"vectors": [V] * 1001}, "exceeds the maximum supported size"),
    ("no id", "cosine", "/vectors/upsert", {"vectors": [{"values": [1, 0]}]}, "Vector 1: 'id' is missing"),
    ("dimension", "cosine", "/vectors/upsert", {"vectors": [{"id": "a", "values": [1, 2, 3]}]}, "Vector dimension 3 does not match the dimension of the index 2"),
    ("no values", "cosine", "/vectors/upsert", {"vectors": [{"id": "a"}]}, "Vector dimension 0 does not match"),
    ("zero", "cosine", "/vectors/upsert", {"vectors": [{"id": "a", "values": [0, 0]}]}, "at least one non-zero value"),
    ("ascii", "cosine", "/vectors/upsert", {"vectors": [{"id": "A Braña_0", "values": [1, 0]}]}, "Vector ID must be ASCII, but got 'A Braña_0'"),
    ("metadata", "cosine", "/vectors/upsert", {"vectors": [{**V, "metadata": {"a": {"b": 1}}}]}, "got '{\"b\":1}' for field 'a'"),
    ("dollar", "cosine", "/vectors/upsert", {"vectors": [{**V, "metadata": {"$a": 1}}]}, "cannot start with '$'"),
    ("sparse on cosine", "cosine", "/vectors/upsert", {"vectors": [{**V, "sparseValues": {"indices": [1], "values": [1]}}]}, "does not support sparse values"),
    ("strings", "cosine", "/vectors/upsert", {"vectors": [{"id": "a", "values": ["1", "2"]}]}, "Expected `float`, got `str`"),
    ("dense on sparse", "sparse", "/vectors/upsert", {"vectors": [V]}, "sparse values only"),
    ("nothing", "sparse", "/vectors/upsert", {"vectors": [{"id": "a"}]}, "must contain at least one value"),
    ("lengths", "sparse", "/vectors/upsert", {"vectors": [{"id": "a", "sparseValues": {"indices": [1, 2], "values": [1]}}]}, "as many indices as values"),
    ("twice", "sparse", "/vectors/upsert", {"vectors": [{"id": "a", "sparseValues": {"indices": [1, 1], "values": [1, 2]}}]}, "must be unique"),
    ("negative", "sparse", "/vectors/upsert", {"vectors": [{"id": "a", "sparseValues": {"indices": [-1], "values": [1]}}]}, "between 0 and 4294967295"),
    ("sparse zero", "sparse", "/vectors/upsert", {"vectors": [{"id": "a", "sparseValues": {"indices": [1], "values": [0]}}]}, "must not be zero"),
    ("2049 terms", "sparse", "/vectors/upsert", {"vectors": [{"id": "a", "sparseValues": {"indices": list(range(2049)), "values": [1] * 2049}}]}, "at most 2048"),
    ("no topK", "cosine", "/query", {"vector": [1, 0]}, "missing required field `topK`"),
    ("topK 0", "cosine", "/query", {"vector": [1, 0], "topK": 0}, "must be between 1 and 10000, got 0"),
    ("topK 10001", "cosine", "/query", {"vector": [1, 0], "topK": 10001}, "must be between 1 and 10000, got 10001"),
    ("nothing asked", "cosine", "/query", {"topK": 1}, "needs one of"),
    ("id and vector", "cosine", "/query", {"topK": 1, "id": "a", "vector": [1, 0]}, "Cannot provide both"),
    ("id and sparse", "dotproduct", "/query", {"topK": 1, "id": "a", "sparseVector": {"indices": [1], "values": [1]}}, "Cannot provide both 'ID' and 'sparse_vector'"),
    ("only sparse", "dotproduct", "/query", {"topK": 1, "sparseVector": {"indices": [1], "values": [1]}}, "with only sparse vector"),
    ("filter", "cosine", "/query", {"topK": 1, "vector": [1, 0], "filter": {"a": {"$x": 1}}}, "unknown operator $x"),
    ("filter list", "cosine", "/query", {"topK": 1, "vector": [1, 0], "filter": []}, "Expected `object | null`, got `array`"),
    ("both", "cosine", "/vectors/update", {"id": "a", "filter": {"a": 1}}, "either 'id' or 'filter'"),
    ("neither", "cosine", "/vectors/update", {"values": [1, 0]}, "either 'id' or 'filter'"),
    ("values by filter", "cosine", "/vectors/update", {"filter": {"a": 1}, "values": [1, 0]}, "does not support updating vector values."),
    ("empty filter", "cosine", "/vectors/update", {"filter": {}, "setMetadata": {"a": 1}}, "empty metadata filter is not allowed"),
    ("two selectors", "cosine", "/vectors/delete", {"ids": ["a"], "deleteAll": True}, "exactly one of"),
    ("no selector", "cosine", "/vectors/delete", {}, "exactly one of"),
    ("empty delete", "cosine", "/vectors/delete", {"filter": {}}, "Delete with empty metadata filter is not allowed"),
    ("1001 ids", "cosine", "/vectors/delete", {"ids": [f"r{n}" for n in range(1001)]}, "at most 1000"),
    ("no fetch filter", "cosine", "/vectors/fetch_by_metadata", {"limit": 1}, "empty metadata filter"),
    ("fetch limit", "cosine", "/vectors/fetch_by_metadata", {"filter": {"a": 1}, "limit": 10001}, "between 1 and 10000"),
    ("token", "cosine", "/vectors/fetch_by_metadata", {"filter": {"a": 1}, "paginationToken": "nonsense"}, "Invalid pagination token"),
    ("namespace", "cosine", "/query", {"topK": 1, "vector": [1, 0], "namespace": "ü"}, "must be ASCII"),
    ("namespace name", "cosine", "/namespaces", {"name": ""}, "needs a name"),
    ("schema", "cosine", "/namespaces", {"name": "x", "schema": {"fields": {"a": {"filterable": False}}}}, "Only filterable: true"),
    ("text on vectors", "cosine", "/records/namespaces/x/search", {"query": {"top_k": 1, "inputs": {"text": "x"}}}, "Integrated inference is not configured for this index"),
    ("records on vectors", "cosine", "/records/namespaces/x/upsert", {"_id": "a", "text": "x"}, "Integrated inference is not configured for this index"),
]  # fmt: skip


# What protobuf cannot say, or says as nothing, and the routes that gRPC does not have.
REST_ONLY = {"no id", "strings", "negative", "no topK", "filter list", "text on vectors", "records on vectors"}
CASES = [pytest.param(*c[1:], id=c[0], marks=[pytest.mark.rest_only] if c[0] in REST_ONLY else []) for c in REFUSED]


@pytest.mark.parametrize(("kind", "path", "body", "message"), CASES)
def test_a_wrong_request_is_refused_with_the_reason(
    plain_servers: Servers, protocol: str, kind: str, path: str, body: Any, message: str
) -> None:
    with connected(plain_servers(kind), protocol) as client:
        assert message in refusal(client.post(path, json=body))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/vectors/fetch", "names no ids"),
        ("/vectors/fetch?" + "&".join(f"ids=r{n}" for n in range(1001)), "at most 1000"),
        ("/vectors/list?limit=0", "limit must be between 1 and 100, got 0"),
        ("/vectors/list?limit=101", "limit must be between 1 and 100, got 101"),
        pytest.param("/vectors/list?limit=x", "", marks=pytest.mark.rest_only),
        ("/vectors/list?paginationToken=%C3%A4", "Invalid pagination token"),
        ("/vectors/list?prefix=%C3%A4", "must be ASCII"),
        ("/namespaces?limit=101", "limit must be between 1 and 100"),
        ("/namespaces?paginationToken=e30", "Invalid pagination token"),
    ],
)
def test_wrong_parameters_are_refused_with_the_reason(cosine: httpx.Client, path: str, message: str) -> None:
    assert message in refusal(cosine.get(path))


def test_a_refused_update_changes_nothing(cosine: httpx.Client, namespace: str) -> None:
    large = "x" * 30_000
    upsert(cosine, namespace, {"id": "a", "values": [1, 0], "metadata": {"g": 1}})
    upsert(cosine, namespace, {"id": "b", "values": [1, 0], "metadata": {"g": 1, "t": large}})
    body = {"namespace": namespace, "filter": {"g": 1}, "setMetadata": {"u": large}}
    assert "Vector 'b': Metadata size is" in refusal(cosine.post("/vectors/update", json=body))
    assert fetch(cosine, namespace, "a")["a"]["metadata"] == {"g": 1}


@pytest.mark.parametrize("by", [{"id": "a"}, {"filter": {"n": 1}}], ids=["id", "filter"])
def test_the_text_that_is_embedded_is_not_changed_without_its_vector(
    hash_server: RunningServer, protocol: str, namespace: str, by: dict[str, Any]
) -> None:
    with hash_server.client() as client:
        record = {"_id": "a", "chunk_text": "apples", "n": 1}
        assert client.post(f"/records/namespaces/{namespace}/upsert", json=record).status_code == 201
    with connected(hash_server, protocol) as client:
        body = {**by, "setMetadata": {"chunk_text": "pears"}, "namespace": namespace}
        refused = client.post("/vectors/update", json=body)
        assert refused.status_code == 400
        assert "'chunk_text' is what this index embeds" in refused.json()["message"]
        fetched = client.get("/vectors/fetch", params={"ids": "a", "namespace": namespace}).json()
        assert fetched["vectors"]["a"]["metadata"]["chunk_text"] == "apples"
        assert client.post("/vectors/update", json={**body, "setMetadata": {"n": 2}}).status_code == 200
        if "id" in by:
            both = {**body, "values": [1.0] + [0.0] * 63}
            assert client.post("/vectors/update", json=both).status_code == 200


def test_an_update_removes_no_field_over_either_protocol(cosine: httpx.Client, namespace: str) -> None:
    body = {"vectors": [{"id": "a", "values": [1, 0], "metadata": {"n": 1}}], "namespace": namespace}
    assert cosine.post("/vectors/upsert", json=body).status_code == 200
    refused = cosine.post("/vectors/update", json={"id": "a", "setMetadata": {"n": None}, "namespace": namespace})
    assert refused.status_code == 400
    assert "null" in refused.json()["message"] and "'n'" in refused.json()["message"]
    fetched = cosine.get("/vectors/fetch", params={"ids": "a", "namespace": namespace}).json()
    assert fetched["vectors"]["a"]["metadata"] == {"n": 1}


@pytest.mark.parametrize(("value", "status"), [("0", 200), ("1", 200), ("x", 400), ("-1", 400), ("1" * 30, 400)])
def test_a_read_says_which_write_it_must_see(cosine: httpx.Client, value: str, status: int) -> None:
    answer = cosine.post("/query", json={"vector": [1, 2], "topK": 1}, headers={"x-pinyon-min-lsn": value})
    assert answer.status_code == status, answer.text
    assert status == 200 or "x-pinyon-min-lsn" in answer.text
