"""Every limit is a setting: at it a request is taken, one past it refused."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pinyon.errors import InvalidArgument
from pinyon.inference.catalog import Catalog
from pinyon.services.control_plane import settings_rules
from pinyon.settings import LimitSettings, Settings
from pinyon.settings_loader import load
from pinyon.storage.engines import installation_of

from tests.running import MODELS, RunningServer, config, plain_config

SMALL = """
[limits]
records_per_upsert = 2
vectors_per_upsert = 3
upsert_bytes = 900
sparse_terms = 2
fetch_ids = 2
delete_ids = 2
list_page = 2
fetch_page = 2
update_records = 2
result_bytes = 500
metadata_bytes = 300
id_characters = 10
namespace_characters = 10
filter_values = 2
top_k = 5
fields = 2
"""


def test_the_defaults_are_pinecones() -> None:
    assert LimitSettings() == LimitSettings(
        records_per_upsert=96,
        vectors_per_upsert=1_000,
        upsert_bytes=2 * 1024 * 1024,
        sparse_terms=2_048,
        fetch_ids=1_000,
        delete_ids=1_000,
        list_page=100,
        fetch_page=10_000,
        update_records=100_000,
        result_bytes=4 * 1024 * 1024,
        metadata_bytes=40_960,
        id_characters=512,
        namespace_characters=512,
        filter_values=10_000,
        top_k=10_000,
        fields=100,
    )


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("limits")
    path = plain_config(folder, 'dimension = 2\nmetric = "dotproduct"')
    path.write_text(path.read_text() + SMALL)
    server = RunningServer(path, folder / "data")
    with server.client() as client:
        for start in range(0, 6, 3):
            rows = [{"id": f"r{n}", "values": [1, n], "metadata": {"n": n}} for n in range(start, start + 3)]
            assert client.post("/vectors/upsert", json={"vectors": rows}).status_code == 200
        large = {"id": "l0", "values": [1, 0], "metadata": {"t": "x" * 250}}
        assert client.post("/vectors/upsert", json={"vectors": [large], "namespace": "large"}).status_code == 200
        yield client
    assert server.stop() == 0


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("limits")
    server = RunningServer(config(folder, more=SMALL), folder / "data")
    with server.client() as client:
        yield client
    assert server.stop() == 0


def upsert(count: int = 1, **more: Any) -> tuple[str, str, Any]:
    rows = [{"id": f"r{n}", "values": [1, n], "metadata": {"n": n}, **more} for n in range(count)]
    return "POST", "/vectors/upsert", {"vectors": rows}


def sparse(terms: int) -> tuple[str, str, Any]:
    return upsert(sparseValues={"indices": list(range(terms)), "values": [1] * terms})


def query(top_k: int = 1, **more: Any) -> tuple[str, str, Any]:
    return "POST", "/query", {"vector": [1, 0], "topK": top_k, **more}


def sized(characters: int) -> dict[str, str]:
    return {"t": "x" * (characters - len('{"t":""}'))}


VECTOR_CASES: dict[str, tuple[Callable[[int], tuple[str, str, Any]], int]] = {
    "vectors_per_upsert": (upsert, 3),
    "sparse_terms": (sparse, 2),
    "fetch_ids": (lambda n: ("GET", "/vectors/fetch?" + "&".join(f"ids=r{i}" for i in range(n)), None), 2),
    "delete_ids": (lambda n: ("POST", "/vectors/delete", {"ids": [f"none{i}" for i in range(n)]}), 2),
    "list_page": (lambda n: ("GET", f"/vectors/list?limit={n}", None), 2),
    "list_page of namespaces": (lambda n: ("GET", f"/namespaces?limit={n}", None), 2),
    "fetch_page": (lambda n: ("POST", "/vectors/fetch_by_metadata", {"filter": {"n": {"$gte": 0}}, "limit": n}), 2),
    "update_records": (
        lambda n: ("POST", "/vectors/update", {"filter": {"n": {"$lt": n}}, "setMetadata": {"seen": True}}),
        2,
    ),
    "metadata_bytes": (lambda n: upsert(metadata=sized(n)), 300),
    "id_characters": (lambda n: ("POST", "/vectors/update", {"id": "i" * n, "values": [1, 1]}), 10),
    "namespace_characters": (lambda n: query(namespace="n" * n), 10),
    "filter_values": (lambda n: query(filter={"n": {"$in": list(range(n))}}), 2),
    "top_k": (query, 5),
}


@pytest.mark.parametrize("name", list(VECTOR_CASES))
def test_a_vector_request_is_taken_at_the_limit_and_refused_past_it(vectors: httpx.Client, name: str) -> None:
    request, limit = VECTOR_CASES[name]
    for size, status in ((limit, 200), (limit + 1, 400)):
        method, path, body = request(size)
        answer = vectors.request(method, path, json=body)
        assert answer.status_code == status, answer.text


def test_an_answer_is_given_up_to_its_limit(vectors: httpx.Client) -> None:
    def ask() -> httpx.Response:
        body = {"filter": {"t": {"$exists": True}}, "namespace": "large", "limit": 2}
        return vectors.post("/vectors/fetch_by_metadata", json=body)

    first = len("l0") + 2 * 4 + len('{"t":""}') + 250  # an id, four bytes a number, and the fields as JSON
    for size, status in ((500, 200), (501, 400)):
        row = {"id": "more", "values": [1, 0], "metadata": sized(size - first - len("more") - 2 * 4)}
        assert vectors.post("/vectors/upsert", json={"vectors": [row], "namespace": "large"}).status_code == 200
        answer = ask()
        assert answer.status_code == status, answer.text
        assert status == 400 or len(answer.json()["vectors"]) == 2


RECORD_CASES: dict[str, tuple[Callable[[int], tuple[str, Any]], int]] = {
    "records_per_upsert": (lambda n: ("upsert", [{"_id": f"r{i}", "chunk_text": "x"} for i in range(n)]), 2),
    "fields": (lambda n: ("search", {"query": {"id": "r0", "top_k": 1}, "fields": ["f"] * n}), 2),
    "top_k": (lambda n: ("search", {"query": {"id": "r0", "top_k": n}}), 5),
    "id_characters": (lambda n: ("upsert", [{"_id": "i" * n, "chunk_text": "x"}]), 10),
}


@pytest.mark.parametrize("name", list(RECORD_CASES))
def test_a_record_request_is_taken_at_the_limit_and_refused_past_it(records: httpx.Client, name: str) -> None:
    request, limit = RECORD_CASES[name]
    for size, good in ((limit, True), (limit + 1, False)):
        verb, body = request(size)
        answer = records.post(f"/records/namespaces/a/{verb}", json=body)
        assert (answer.status_code in (200, 201)) is good, answer.text


@pytest.mark.parametrize("kind", ["vectors", "records"])
def test_a_body_is_taken_at_the_limit_and_refused_past_it(
    vectors: httpx.Client, records: httpx.Client, kind: str
) -> None:
    for size, good in ((900, True), (901, False)):
        if kind == "vectors":
            # An id, four bytes a number, eight a sparse pair, and the fields as JSON; spaces count nothing.
            rows = [{"id": f"r{n}", "values": [1, 1], "metadata": sized(284)} for n in range(2)]
            rest = size - 2 * (2 + 2 * 4 + 284) - (2 + 2 * 4 + 8)
            rows.append(
                {"id": "r2", "values": [1, 1], "sparseValues": {"indices": [1], "values": [1]}, "metadata": sized(rest)}
            )
            answer = vectors.post("/vectors/upsert", content=json.dumps({"vectors": rows}, indent=1))
        else:
            body = b'{"_id": "a", "chunk_text": "x"}'.ljust(size)
            answer = records.post("/records/namespaces/a/upsert", content=body)
        assert (answer.status_code in (200, 201)) is good, answer.text


def test_dimensions_end_where_sqlite_vec_ends(tmp_path: Path) -> None:
    assert load(plain_config(tmp_path, "dimension = 8192")).index is not None
    too_long = load(plain_config(tmp_path, "dimension = 8193"))
    assert too_long.index is not None
    dimension = installation_of(too_long.storage).limits.dimension
    with pytest.raises(InvalidArgument, match="dimension must be between 1 and 8192, got 8193"):
        settings_rules.from_settings(too_long.index, Catalog(MODELS), dimension)


def test_every_limit_is_tested_here() -> None:
    tested = {name.split()[0] for name in (*VECTOR_CASES, *RECORD_CASES)} | {"upsert_bytes", "result_bytes"}
    assert tested == set(Settings().limits.__struct_fields__)
