"""`pinyon reembed`: by a running server while it answers, by the command alone, through kill -9; with real models."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running import LEARNED_SPARSE, PROJECT, RunningServer, config, environment
from tests.storage.consistency import problems

MINILM = "all-MiniLM-L6-v2"
TEXTS = ["apples are healthy fruit", "the pump is blocked", "stars are far away", "bread is baked from flour"]


def rows(count: int) -> list[dict[str, Any]]:
    return [{"_id": f"r{n}", "chunk_text": f"{TEXTS[n % 4]}, case {n}"} for n in range(count)]


def fill(client: httpx.Client, count: int) -> None:
    held = rows(count)
    for start in range(0, count, 96):
        body = "\n".join(map(json.dumps, held[start : start + 96]))
        assert client.post("/records/namespaces/n/upsert", content=body).status_code == 201


def search(client: httpx.Client, text: str) -> httpx.Response:
    body = {"query": {"inputs": {"text": text}, "top_k": 3}}
    return client.post("/records/namespaces/n/search", json=body)


def reembed(
    data: Path, *arguments: str, settings: Path, more: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pinyon", "reembed", *arguments, "--config", settings, "--data-dir", data],
        cwd=PROJECT,
        env=environment(**(more or {})),
        capture_output=True,
        text=True,
        timeout=300,
    )


def assert_embedded_by_minilm(client: httpx.Client, count: int) -> None:
    answer = search(client, "what to eat to stay well")
    assert answer.status_code == 200
    assert answer.headers["x-pinyon-model"] == MINILM
    assert all("apples" in hit["fields"]["chunk_text"] for hit in answer.json()["result"]["hits"])
    stats = client.post("/describe_index_stats").json()
    assert (stats["dimension"], stats["totalVectorCount"]) == (384, count)


@pytest.mark.slow
def test_a_running_server_answers_while_it_embeds_anew_and_then_switches(tmp_path: Path) -> None:
    settings = config(tmp_path)
    server = RunningServer(settings, tmp_path / "data", "--api-key", "secret")
    port = str(httpx.URL(server.url).port)
    with server.client() as client:
        client.headers["Api-Key"] = "secret"
        fill(client, 96)
        assert client.post("/describe_index_stats").json()["dimension"] == 64
        answers: list[httpx.Response] = []
        ended = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=server.url, headers={"Api-Key": "secret"}, timeout=60) as other:
                while not ended.is_set():
                    answers.append(search(other, "blocked pump"))
                    body = json.dumps({"_id": "late", "chunk_text": f"stored meanwhile {len(answers)}"})
                    answers.append(other.post("/records/namespaces/n/upsert", content=body))

        asking = threading.Thread(target=ask)
        asking.start()
        refused = reembed(tmp_path / "data", "quickstart", "--model", MINILM, "--port", port, settings=settings)
        done = reembed(
            tmp_path / "data", "quickstart", "--model", MINILM, "--port", port, "--key", "secret", settings=settings
        )
        ended.set()
        asking.join()
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "The server refuses" in refused.stderr
        assert done.returncode == 0, done.stderr
        assert f"Index quickstart is embedded by {MINILM} now" in done.stdout
        assert f'say model = "{MINILM}"' in done.stdout
        assert {answer.status_code for answer in answers} == {200, 201}
        by = [answer.headers["x-pinyon-model"] for answer in answers]
        assert set(by) <= {"pinyon-hash-embed", MINILM}
        assert by == sorted(by, key=["pinyon-hash-embed", MINILM].index), "never back"
        assert_embedded_by_minilm(client, 97)
    # A settings file that still says the old model is told apart, and what to do is said.
    assert server.stop() == 0
    again = RunningServer(settings, tmp_path / "data", wait=False)
    again.wait_for("model is all-MiniLM-L6-v2 on disk and pinyon-hash-embed in the settings")
    assert again.process.wait(300) == 1
    assert problems(tmp_path / "data" / "indexes" / "quickstart.sqlite") == []


@pytest.mark.slow
def test_what_a_crash_interrupts_goes_on_at_the_next_start(tmp_path: Path) -> None:
    settings, data = config(tmp_path), tmp_path / "data"
    server = RunningServer(settings, data)
    with server.client() as client:
        fill(client, 480)
        begun = client.post("/indexes/quickstart/reembed", json={"model": MINILM}).json()
        assert (begun["running"], begun["model"], begun["total"]) == (True, MINILM, 480)
        while (told := client.get("/indexes/quickstart/reembed").json())["running"] and told["done"] < 96:
            pass
        assert told["done"] >= 96, "it was over before it could be killed: give it more records"
    server.kill()
    assert problems(data / "indexes" / "quickstart.sqlite") == []
    server = RunningServer(settings, data)
    with server.client() as client:
        first = client.get("/indexes/quickstart/reembed").json()
        assert first["done"] >= 96 or not first["running"], "what was done is not done again"
        while (told := client.get("/indexes/quickstart/reembed").json())["running"]:
            assert search(client, "anything").status_code == 200
        assert told == {"running": False, "model": None, "done": 0, "total": 0, "failed": None}
        assert_embedded_by_minilm(client, 480)
    assert server.stop() == 0


@pytest.mark.slow
def test_without_a_server_the_command_does_it_itself(tmp_path: Path) -> None:
    settings, data = config(tmp_path), tmp_path / "data"
    server = RunningServer(settings, data)
    with server.client() as client:
        fill(client, 48)
    assert server.stop() == 0
    done = reembed(data, "quickstart", "--model", MINILM, settings=settings)
    assert done.returncode == 0, done.stderr
    server = RunningServer(config(tmp_path / "new", MINILM), data)
    with server.client() as client:
        assert_embedded_by_minilm(client, 48)
    assert server.stop() == 0


@pytest.fixture(scope="module")
def four_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with settings, and with the data of a server that is down."""
    folder = tmp_path_factory.mktemp("four-records")
    server = RunningServer(config(folder), folder / "data")
    with server.client() as client:
        fill(client, 4)
    assert server.stop() == 0
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quickstart"], "Say either --model NAME, or --cancel"),
        (["quickstart", "--model", "nope"], "Model 'nope' not found"),
        (["quickstart", "--model", "bge-reranker-v2-m3"], "not found; available for embed"),
        (["quickstart", "--model", "pinyon-hash-embed"], "is embedded by this very model already"),
        (["quickstart", "--model", MINILM, "--dimension", "7"], "has dimension 384, not 7"),
        (["quickstart", "--model", MINILM, "--sparse-model", "nope"], "must be one of splade-tiny, none, got 'nope'"),
        (["other", "--model", MINILM], "Index other not found"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(four_records: Path, arguments: list[str], message: str) -> None:
    done = reembed(four_records / "data", *arguments, settings=four_records / "pinyon.toml")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert message in done.stderr


@pytest.mark.slow
def test_a_cancelled_reembedding_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    settings, data = config(tmp_path), tmp_path / "data"
    server = RunningServer(settings, data)
    port = str(httpx.URL(server.url).port)
    with server.client() as client:
        fill(client, 480)
        begun = reembed(data, "quickstart", "--model", MINILM, "--no-wait", "--port", port, settings=settings)
        assert json.loads(begun.stdout)["running"]
        stopped = reembed(data, "quickstart", "--cancel", "--port", port, settings=settings)
        assert (stopped.returncode, stopped.stdout) == (0, "Index quickstart stays as it is.\n")
        assert client.get("/indexes/quickstart/reembed").json()["running"] is False
        assert search(client, "anything").headers["x-pinyon-model"] == "pinyon-hash-embed"
    assert server.stop() == 0
    assert problems(data / "indexes" / "quickstart.sqlite") == []


@pytest.mark.slow
@pytest.mark.skipif(LEARNED_SPARSE != "splade-tiny", reason="the package with its weights is not installed")
def test_a_learned_sparse_model_is_added_and_the_settings_that_must_follow_are_named(tmp_path: Path) -> None:
    settings, data = config(tmp_path), tmp_path / "data"
    server = RunningServer(settings, data)
    with server.client() as client:
        fill(client, 4)
    assert server.stop() == 0
    done = reembed(
        data, "quickstart", "--model", "pinyon-hash-embed", "--sparse-model", "splade-tiny", settings=settings
    )
    assert done.returncode == 0, done.stderr
    assert 'say sparse_model = "splade-tiny" in the [index.write_parameters] table' in done.stdout
    assert "say model =" not in done.stdout
    changed = config(tmp_path / "new", more='write_parameters = { truncate = "END", sparse_model = "splade-tiny" }\n')
    server = RunningServer(changed, data)
    with server.client() as client:
        query = {"top_k": 4, "inputs": {"text": "what to eat", "retrieval": "hybrid", "explain": True}}
        answer = client.post("/records/namespaces/n/search", json={"query": query})
        assert answer.headers["x-pinyon-model"] == "pinyon-hash-embed, splade-tiny"
        hits = answer.json()["result"]["hits"]
        assert {type(hit["fields"]["_explain"]["learned"]) for hit in hits} == {float}
    assert server.stop() == 0
