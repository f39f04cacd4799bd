"""Rows that an upsert would refuse, without an upsert."""

from collections.abc import Iterator

import httpx
import pytest

from tests.running import RunningServer, config


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("checks")
    running = RunningServer(config(folder), folder / "data")
    with running.client() as client:
        yield client
        assert client.get("/describe_index_stats").json()["totalVectorCount"] == 0, "nothing is stored"
    assert running.stop() == 0, running.text


def test_wrong_vectors_are_named_by_their_place(http: httpx.Client) -> None:
    dimension = http.get("/describe_index_stats").json()["dimension"]
    good = {"id": "a", "values": [1.0] * dimension}
    rows = [good, {"id": "b", "values": [1.0]}, {**good, "metadata": {"a": {}}}, good, {"values": [1.0]}]
    refused = http.post("/vectors/check", json={"vectors": rows}).raise_for_status().json()["refused"]
    assert [each["position"] for each in refused] == [1, 2, 4]
    assert (
        refused[0]["message"]
        == f"Vector dimension 1 does not match the dimension of the index {dimension} (vector 'b')"
    )
    assert refused[2]["message"].startswith("The vector: 'id' is missing")


def test_wrong_records_are_named_by_their_place(http: httpx.Client) -> None:
    lines = '{"_id": "a", "chunk_text": "x"}\n{"chunk_text": "x"}\n[]\n{"_id": "b", "chunk_text": 7}'
    refused = http.post("/records/check", content=lines).raise_for_status().json()["refused"]
    assert refused == [
        {"position": 1, "message": "The record has no '_id'"},
        {"position": 2, "message": "The record must be a JSON object, got list"},
        {"position": 3, "message": "Missing or invalid field 'chunk_text' in record 'b': it must be a string, got int"},
    ]


def test_too_many_rows_or_no_rows_at_all_are_refused(http: httpx.Client) -> None:
    for path, body in (("/records/check", '{"_id": "a"}\n' * 1_001), ("/vectors/check", '{"vectors": 1}')):
        assert http.post(path, content=body).status_code == 400
