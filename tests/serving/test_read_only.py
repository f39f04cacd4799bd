"""A second process on a data folder, which changes nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import httpx
import pytest

from tests.running import PROJECT, RunningServer, config, environment, free_ports

UPSERT, SEARCH = "/records/namespaces/a/upsert", "/records/namespaces/a/search"
QUERY = {"query": {"inputs": {"text": "apple"}, "top_k": 100}}
SPEC = {"serverless": {"cloud": "aws", "region": "us-east-1"}}


def record(n: int) -> dict[str, object]:
    return {"_id": f"r{n}", "chunk_text": f"apple {n}"}


def hits(client: httpx.Client) -> int:
    answer = client.post(SEARCH, json=QUERY)
    assert answer.status_code == 200, answer.text
    return len(answer.json()["result"]["hits"])


def content(folder: Path) -> dict[str, bytes]:
    """Without the empty log and the shared memory that a reader keeps ready for a writer to come."""
    return {
        str(file): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.stat().st_size and not file.name.endswith("-shm")
    }


def test_a_second_process_reads_what_the_first_one_writes(tmp_path: Path) -> None:
    path, data = config(tmp_path), tmp_path / "data"
    first = RunningServer(path, data, "--index-ports", free_ports(3))
    with first.client() as writer:
        assert writer.post("/indexes", json={"name": "other", "dimension": 2, "spec": SPEC}).status_code == 201
        assert writer.post(UPSERT, json=[record(0)]).status_code == 201
        second = RunningServer(path, data, "--read-only", "--index-ports", free_ports(3))
        with second.client() as reader:
            assert hits(reader) == 1
            assert writer.post(UPSERT, json=[record(n) for n in range(1, 5)]).status_code == 201
            assert hits(reader) == 5, "each search sees what is there"
            for method, route, body in (
                ("POST", UPSERT, record(9)),
                ("POST", "/vectors/delete", {"ids": ["r1"], "namespace": "a"}),
                ("POST", "/indexes", {"name": "more", "dimension": 2, "spec": SPEC}),
                ("DELETE", "/indexes/other", None),
                ("PATCH", "/indexes/other", {"tags": {"a": "b"}}),
                ("POST", "/indexes/other/compact", None),
            ):
                answer = reader.request(method, route, json=body)
                assert answer.status_code == 403, (route, answer.text)
                assert "--read-only" in answer.text
            host = reader.get("/indexes/other").json()["host"]
            assert httpx.post(f"{host}/query", json={"vector": [1, 2], "topK": 1}, timeout=60).status_code == 200
        assert second.stop() == 0
        assert hits(writer) == 5
    assert first.stop() == 0


def test_a_folder_at_rest_is_not_changed_by_a_bit(tmp_path: Path) -> None:
    path, data = config(tmp_path), tmp_path / "data"
    server = RunningServer(path, data)
    with server.client() as client:
        assert client.post(UPSERT, json=[record(n) for n in range(5)]).status_code == 201
    assert server.stop() == 0
    before = content(data)
    server = RunningServer(path, data, "--read-only")
    with server.client() as client:
        assert hits(client) == 5
    assert server.stop() == 0
    assert content(data) == before


def test_the_log_that_a_killed_server_left_is_read_as_well(tmp_path: Path) -> None:
    path, data = config(tmp_path), tmp_path / "data"
    server = RunningServer(path, data)
    with server.client() as client:
        assert client.post(UPSERT, json=[record(n) for n in range(5)]).status_code == 201
    server.kill()
    server = RunningServer(path, data, "--read-only")
    with server.client() as client:
        assert hits(client) == 5
    assert server.stop() == 0


@pytest.mark.parametrize("how", ["missing", "older"])
def test_what_it_would_have_to_change_is_one_sentence(tmp_path: Path, how: str) -> None:
    path, data = config(tmp_path), tmp_path / "data"
    if how == "older":
        server = RunningServer(path, data)
        assert server.stop() == 0
        connection = apsw.Connection(str(data / "indexes" / "quickstart.sqlite"))
        connection.pragma("user_version", 6)
        connection.close()
        server = RunningServer(path, data, "--read-only")
        assert "start once without --read-only" in server.text
        assert server.stop() == 0
    else:
        shutil.rmtree(data, ignore_errors=True)
        command = [
            sys.executable,
            "-m",
            "pinyon",
            "serve",
            "--config",
            path,
            "--data-dir",
            data,
            "--read-only",
            "--port",
            "0",
        ]
        done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True)
        assert done.returncode == 1
        assert "There is no data folder of Pinyon's at" in done.stderr
        assert "Traceback" not in done.stderr
        assert not data.exists()
