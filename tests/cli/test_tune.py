"""`pinyon tune`: by a running server and by the command alone."""

import json
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from pinyon.cli.main import main

from tests.running import MODELS, RunningServer, config, free_ports

FILLER = "please tell me everything that you know about the long story of"
QUERIES = 24


def rows(field: str) -> list[dict[str, str]]:
    """Records that have the one word that counts, and decoys that have all others. Words are right, vectors are not."""
    dice = random.Random(1)
    other = [f"other{n}" for n in range(200)]
    right = [{"_id": f"r{n}", field: f"subject{n} {' '.join(dice.sample(other, 12))}"} for n in range(QUERIES)]
    wrong = [{"_id": f"d{n}", field: f"{FILLER} {' '.join(dice.sample(other, 1))}"} for n in range(150)]
    return right + wrong


def judgements(path: Path, relevant: list[str]) -> Path:
    lines = [{"query": f"{FILLER} subject{n}", "relevant": [relevant[n]]} for n in range(QUERIES)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def upsert(client: httpx.Client, namespace: str, field: str) -> None:
    lines = list(map(json.dumps, rows(field)))
    for start in range(0, len(lines), 96):
        body = "\n".join(lines[start : start + 96])
        assert client.post(f"/records/namespaces/{namespace}/upsert", content=body).status_code == 201


@pytest.fixture
def tune(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("PINYON_MODELS_MODELS_DIR", str(MODELS))
    settings = config(tmp_path / "settings")

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["tune", *map(str, arguments), "--config", str(settings), "--data-dir", str(tmp_path / "data")])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def read_parameters(client: httpx.Client, name: str) -> dict[str, Any]:
    read: dict[str, Any] = client.get(f"/indexes/{name}").json()["embed"]["read_parameters"]
    return read


def first(client: httpx.Client, namespace: str, **inputs: Any) -> dict[str, Any]:
    query = {"inputs": {"text": f"{FILLER} subject7", "retrieval": "hybrid", "explain": True, **inputs}, "top_k": 1}
    answer = client.post(f"/records/namespaces/{namespace}/search", json={"query": query, "fields": []})
    assert answer.status_code == 200, answer.text
    hit: dict[str, Any] = answer.json()["result"]["hits"][0]
    return hit


def test_words_that_are_right_get_the_weight_and_one_command_takes_it_back(tune: Any, tmp_path: Path) -> None:
    right = judgements(tmp_path / "right.jsonl", [f"r{n}" for n in range(QUERIES)])
    settings, data = config(tmp_path / "settings"), tmp_path / "data"
    server = RunningServer(settings, data, "--index-ports", free_ports(1))
    with server.client() as client:
        upsert(client, "n", "chunk_text")
        assert first(client, "n")["_id"].startswith("d"), "untuned, a decoy is first"

        status, out, err = tune("quickstart", right, "--namespace", "n", "--dry-run")
        assert status == 0, out + err
        assert (status, "Nothing was stored" in out) == (0, True)
        assert "mix" not in read_parameters(client, "quickstart")
        status, out, err = tune("quickstart", right, "--namespace", "n")
        assert status == 0, err
        assert "Gain +" in out and "Stored with quickstart: the mix and the calibration" in out
        read = read_parameters(client, "quickstart")
        assert read["mix"]["words"] > read["mix"]["similarity"]
        assert {"lexical", "hybrid"} <= set(read["calibration"])
        hit = first(client, "n", min_score=0.5)
        assert hit["_id"] == "r7" and hit["fields"]["_explain"]["calibrated"] >= 0.5

        status, _, err = tune("quickstart", right, "--namespace", "n")
        assert (status, "The gain is not more than chance" in err) == (2, True), "it is tuned already"
        assert read_parameters(client, "quickstart")["mix"] == read["mix"]

        body = {"name": "other", "cloud": "aws", "region": "us-east-1"}
        embed = {"model": "pinyon-hash-embed", "field_map": {"text": "t"}}
        host = client.post("/indexes/create-for-model", json={**body, "embed": embed}).json()["host"]
        with httpx.Client(base_url=host, timeout=60) as other:
            upsert(other, "__default__", "t")
        assert tune("other", right)[0] == 0
        assert read_parameters(client, "other")["mix"]["words"] > 1
    assert server.stop() == 0, server.text

    assert tune("quickstart", "--reset")[0] == 0
    server = RunningServer(settings, data, "--index-host", "{index}.localhost")  # which the command is not told
    with server.client() as client:
        assert not {"mix", "calibration"} & set(read_parameters(client, "quickstart"))
        assert first(client, "n")["_id"].startswith("d")
        assert read_parameters(client, "other")["mix"]["words"] > 1, "the settings do not describe it"
        assert tune("other", right, "--dry-run")[0] == 2, "it is tuned already, and its own records are searched"
        status, _, err = tune("other", right, "--key", "ключ")
        assert (status, "The API key has characters other than ASCII" in err) == (1, True)
    assert server.stop() == 0, server.text


def test_noise_is_refused_without_a_server_and_nothing_is_stored(tune: Any, tmp_path: Path) -> None:
    settings, data = config(tmp_path / "settings"), tmp_path / "data"
    server = RunningServer(settings, data)
    with server.client() as client:
        upsert(client, "n", "chunk_text")
    assert server.stop() == 0, server.text
    ids = [row["_id"] for row in rows("")]
    noise = judgements(tmp_path / "noise.jsonl", random.Random(4).choices(ids, k=QUERIES))
    status, out, err = tune("quickstart", noise, "--namespace", "n")
    assert (status, "The gain is not more than chance, so the mix stays as it is" in err) == (2, True)
    assert "Stored" not in out, out

    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(noise.read_text().splitlines()[:19]))
    absent = judgements(tmp_path / "absent.jsonl", ["nobody"] * QUERIES)
    for arguments, sentence in (
        ((few,), "has 19 queries with a relevant record; at least 20"),
        ((absent, "--namespace", "n"), "No judged record is among the hits in namespace n"),
        ((noise, "--reset"), "Say either JUDGEMENTS"),
        ((), "Say either JUDGEMENTS"),
    ):
        status, _, err = tune("quickstart", *arguments)
        assert (status, err.count("\n")) == (1, 1), err
        assert sentence in err
