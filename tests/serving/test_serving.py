"""The life of a server: start, banner, restart, stop."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.running import MULTILINGUAL, PROJECT, RunningServer, config, environment

COMMAND = ("pinyon",)
"""Some servers here are started as users do, and not as forks."""
UPSERT, SEARCH = "/records/namespaces/demo/upsert", "/records/namespaces/demo/search"


def test_the_banner_says_what_is_served_and_the_curl_line_works(minilm_server: RunningServer) -> None:
    line = next((line for line in minilm_server.output if "curl " in line), None) or minilm_server.wait_for("curl ")
    text = minilm_server.text
    assert "index    quickstart: 384 dimensions, cosine" in text
    assert "field 'chunk_text' embedded by all-MiniLM-L6-v2" in text
    assert "bge-reranker-v2-m3: STAND-IN, answered by pinyon-late-interaction" in text
    assert re.search(r"data     /\S+/data\n", text)
    done = subprocess.run(line.strip(), shell=True, capture_output=True, text=True)
    assert '"_id":"a"' in done.stdout, done


def test_before_the_models_are_loaded_it_is_alive_but_not_ready(tmp_path: Path) -> None:
    server = RunningServer(config(tmp_path, "all-MiniLM-L6-v2"), tmp_path / "data", wait=False, program=COMMAND)
    with server.client() as client:
        while True:  # the port answers within a second, the models take several
            try:
                alive = client.get("/health")
                break
            except httpx.ConnectError:
                assert server.process.poll() is None, server.text
        waiting = client.get("/ready")
        assert alive.status_code == 200
        assert waiting.status_code == 503
        assert waiting.headers["retry-after"] == "2"
        assert waiting.json()["code"] == 14
        assert re.fullmatch("Not ready: (storage is being opened|models are being loaded)", waiting.json()["message"])
        asked = client.post(SEARCH, json={"query": {"inputs": {"text": "apples"}, "top_k": 1}})
        assert (asked.status_code, asked.json().get("code")) == (503, 14), asked.text
        while "storage is being opened" in client.get("/ready").text:
            pass
        assert f'"url":"{server.url}"' in (tmp_path / "data" / "holder.json").read_text(), "commands ask this server"
        server.wait_for("is ready on")
        assert client.get("/ready").status_code == 200
    assert server.stop() == 0


def test_a_server_that_is_stopped_while_it_loads_says_what_it_waits_for(tmp_path: Path) -> None:
    server = RunningServer(config(tmp_path, "all-MiniLM-L6-v2"), tmp_path / "data", wait=False, program=COMMAND)
    with server.client() as client:
        while True:
            with suppress(httpx.ConnectError):
                client.get("/health")
                break
    assert server.stop() == 0, server.text
    assert "Pinyon is stopping: it first finishes opening files and loading models" in server.text
    assert "is ready on" not in server.text


def test_the_data_is_still_there_after_a_restart(tmp_path: Path) -> None:
    path = config(tmp_path)
    server = RunningServer(path, tmp_path / "data", program=COMMAND)
    with server.client() as client:
        client.post(UPSERT, json={"_id": "a", "chunk_text": "kept", "n": 1})
    assert server.stop() == 0
    assert "all data is on disk" in server.text
    assert not list((tmp_path / "data" / "indexes").glob("*-wal")), "the log was folded into the file"
    server = RunningServer(path, tmp_path / "data")
    with server.client() as client:
        hits = client.post(SEARCH, json={"query": {"id": "a", "top_k": 1}}).json()["result"]["hits"]
    assert hits[0]["fields"] == {"chunk_text": "kept", "n": 1}
    assert server.stop() == 0


def start_and_wait_until_it_computes(sender: threading.Thread, server: RunningServer) -> None:
    """Start the upsert, and come back once the server has computed for a while: nothing else makes it work so much."""
    before = computed_s(server)
    sender.start()
    with server.client() as client:
        while computed_s(server) < before + 1:
            assert sender.is_alive(), "the upsert was over before it was noticed"
            client.get("/health").raise_for_status()


def computed_s(server: RunningServer) -> float:
    """Seconds of processor time the server has used."""
    told = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def test_requests_in_flight_finish_and_nothing_new_is_taken(tmp_path: Path) -> None:
    server = RunningServer(config(tmp_path, "all-MiniLM-L6-v2"), tmp_path / "data", "--shutdown-grace-s", "600")
    rows = [{"_id": f"r{n}", "chunk_text": f"{n} " + "word " * 250} for n in range(24)]  # seconds of work
    answers: list[httpx.Response] = []

    def send() -> None:
        answers.append(httpx.post(server.url + UPSERT, json=rows, timeout=600))

    sender = threading.Thread(target=send)
    host, _, port = server.url.removeprefix("http://").partition(":")
    start_and_wait_until_it_computes(sender, server)
    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(ConnectionRefusedError):
        while True:
            with suppress(ConnectionResetError):  # one that waited to be accepted when the socket was closed
                socket.create_connection((host, int(port))).close()
    assert sender.is_alive(), "the request had been answered before anything could be refused"
    sender.join(300)
    assert [answer.status_code for answer in answers] == [201]
    assert server.ended() == 0
    assert "Pinyon is stopping: running requests have " in server.text


def test_a_second_server_on_the_same_data_says_who_holds_it(hash_server: RunningServer, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    server = RunningServer(config(tmp_path), folder)
    command = [sys.executable, "-m", "pinyon", "serve", "--port", "0", "--data-dir", str(folder)]
    done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert f"in use by another Pinyon on {server.url} (process {server.process.pid}, since " in done.stderr
    assert server.stop() == 0


def test_native_code_that_crashes_leaves_a_trace(tmp_path: Path) -> None:
    server = RunningServer(config(tmp_path), tmp_path / "data")
    server.process.send_signal(signal.SIGSEGV)
    assert server.ended() == -signal.SIGSEGV
    # Of the event loop's thread, which may be at rest, so that none of its tasks is in the trace.
    assert "Segmentation fault" in server.text and "pinyon/cli/main.py" in server.text


def test_a_busy_port_is_named(hash_server: RunningServer, tmp_path: Path) -> None:
    port = hash_server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "pinyon", "serve", "--port", port, "--data-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}: another program" in done.stderr
    assert "--port" in done.stderr


def test_settings_that_differ_from_the_index_on_disk_are_refused(tmp_path: Path) -> None:
    assert RunningServer(config(tmp_path), tmp_path / "data").stop() == 0
    path = config(tmp_path, metric="dotproduct")
    command = [sys.executable, "-m", "pinyon", "serve", "--config", str(path), "--port", "0", "--index-ports", ""]
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path / "data")],
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "metric is cosine on disk and dotproduct in the settings" in done.stderr


def test_an_index_follows_changed_settings_and_keeps_its_records(tmp_path: Path) -> None:
    path = config(tmp_path)
    server = RunningServer(path, tmp_path / "data")
    with server.client() as client:
        client.post("/records/namespaces/a/upsert", content=json.dumps({"_id": "r1", "chunk_text": "apple"}))
    assert server.stop() == 0
    path.write_text(f'{path.read_text()}\n[index.read_parameters]\nretrieval = "lexical"\n')
    server = RunningServer(path, tmp_path / "data")
    assert "read_parameters.retrieval is the default on disk and lexical in the settings" in server.text
    with server.client() as client:
        body = {"query": {"inputs": {"text": "pear"}, "top_k": 3}}
        assert client.post("/records/namespaces/a/search", json=body).json()["result"]["hits"] == []
        body["query"]["inputs"] = {"text": "apple"}
        hits = client.post("/records/namespaces/a/search", json=body).json()["result"]["hits"]
        assert [hit["_id"] for hit in hits] == ["r1"]
    server.stop()


def test_an_absent_model_is_a_400_that_names_the_command(tmp_path: Path) -> None:
    server = RunningServer(config(tmp_path, "multilingual-e5-large"), tmp_path / "data", "--no-stand-ins")
    assert "embedded by nobody" in server.text
    with server.client() as client:
        for answer in (
            client.post(UPSERT, json={"_id": "a", "chunk_text": "x"}),
            client.post(SEARCH, json={"query": {"inputs": {"text": "x"}, "top_k": 1}}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (400, 9)
            assert "`pinyon models pull multilingual-e5-large`" in answer.json()["message"]
        rerank = {"query": {"id": "a", "top_k": 1}, "rerank": {"model": "bge-reranker-v2-m3", "query": "x"}}
        answer = client.post(SEARCH, json=rerank)
        assert (answer.status_code, answer.json()["code"]) == (400, 9)
        assert "`pinyon models pull bge-reranker-v2-m3`" in answer.json()["message"]
        by_vector = {"query": {"vector": {"values": [0.5] * 1024}, "top_k": 1}}
        assert client.post(SEARCH, json=by_vector).status_code == 200
    assert server.stop() == 0


def test_an_index_is_not_embedded_by_two_models(tmp_path: Path) -> None:
    path = config(tmp_path, "multilingual-e5-large")
    server = RunningServer(path, tmp_path / "data")
    with server.client() as client:
        answer = client.post(UPSERT, json={"_id": "a", "chunk_text": "x"})
        assert answer.headers["x-pinyon-model"] == f"{MULTILINGUAL}; stand-in-for=multilingual-e5-large"
    server.stop()
    server = RunningServer(path, tmp_path / "data", "--no-stand-ins")
    with server.client() as client:
        answer = client.post(UPSERT, json={"_id": "b", "chunk_text": "x"})
        assert (answer.status_code, answer.json()["code"]) == (400, 9)
        assert "standing in for" in answer.json()["message"]
        rerank = {"query": {"id": "a", "top_k": 5}, "rerank": {"model": "pinyon-late-interaction", "query": "x"}}
        assert client.post(SEARCH, json=rerank).status_code == 400, "reranked by another model than the index's own"
        hits = client.post(SEARCH, json={"query": {"id": "a", "top_k": 5}}).json()["result"]["hits"]
        assert [hit["_id"] for hit in hits] == ["a"]
    assert server.stop() == 0


def test_a_start_that_fails_ends_the_process_with_one_sentence(tmp_path: Path) -> None:
    path = config(tmp_path, more="")
    path.write_text(path.read_text().replace("stand_ins = true", 'stand_ins = true\npreload = ["nope"]'))
    command = [sys.executable, "-m", "pinyon", "serve", "--config", str(path), "--port", "0", "--index-ports", ""]
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path / "data")],
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("pinyon: Model 'nope' not found")


@pytest.mark.parametrize("field", ["_id", "id", "_score", "$text", ""])
def test_a_field_no_record_can_have_is_refused_before_the_index_is_made(tmp_path: Path, field: str) -> None:
    path = config(tmp_path)
    path.write_text(path.read_text().replace('"chunk_text"', f'"{field}"'))
    command = [sys.executable, "-m", "pinyon", "serve", "--config", str(path), "--port", "0", "--index-ports", ""]
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path / "data")],
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "field_map" in done.stderr
    assert not (tmp_path / "data").exists()


def embedded_passages(client: httpx.Client) -> float:
    """How many the server has embedded so far."""
    found = re.findall(r'pinyon_batch_texts_sum\{input_type="passage"\} (\S+)', client.get("/metrics").text)
    return float(found[0]) if found else 0.0


def test_callers_that_hang_up_are_not_computed_for(minilm_server: RunningServer) -> None:
    host, _, port = minilm_server.url.removeprefix("http://").partition(":")
    rows = [{"_id": f"r{n}", "chunk_text": f"{n} " + "word " * 250} for n in range(24)]  # a second of work each
    body = json.dumps(rows).encode()
    head = f"POST /records/namespaces/gone/upsert HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with minilm_server.client() as client:
        before = embedded_passages(client)
        for _ in range(8):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(head.encode() + body)
        assert client.post("/records/namespaces/gone/upsert", json=rows).status_code == 201
        embedded = embedded_passages(client) - before
    assert embedded < 24 + 8 * 24 / 2, "the abandoned upserts were computed to their ends"


@pytest.mark.slow
def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    server = RunningServer(config(tmp_path, "all-MiniLM-L6-v2"), tmp_path / "data", program=COMMAND)
    rows = [{"_id": f"r{n}", "chunk_text": f"{n} " + "word " * 250} for n in range(96)]

    def send() -> None:
        with suppress(httpx.HTTPError), server.client() as client:
            client.post(UPSERT, json=rows)

    sender = threading.Thread(target=send)
    start_and_wait_until_it_computes(sender, server)
    server.process.send_signal(signal.SIGINT)
    while server.process.poll() is None:
        server.process.send_signal(signal.SIGINT)
    assert server.ended() == -signal.SIGINT
    sender.join(60)
