"""`pinyon eval` as a command, with the hashing model; with the real one in tests/evaluation/test_relevance.py."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pinyon.cli.main import main

from tests.evaluation.test_collection import write
from tests.running import MODELS, config

CORPUS = "\n".join(
    json.dumps({"_id": f"d{n}", "title": "", "text": text})
    for n, text in enumerate(["apples are healthy fruit", "pumps move water", "stars are far away", "bread is baked"])
)
QUERIES = "\n".join(
    json.dumps({"_id": f"q{n}", "text": text}) for n, text in enumerate(["healthy apples", "water pump", "far stars"])
)


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    files = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels.tsv": "q0\td0\t1\nq1\td1\t1\nq2\td2\t1\n"}
    return write(tmp_path / "small", **files)


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PINYON_MODELS_MODELS_DIR", str(MODELS))
    settings = config(tmp_path / "settings")

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["eval", "--config", str(settings), *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_every_way_to_search_is_measured_against_dense(evaluate: Any, collection: Path) -> None:
    status, out, _ = evaluate(collection, "--rerank", "bm25", "--json")
    assert status == 0
    (told,) = json.loads(out)["collections"]
    assert (told["collection"], told["documents"], told["queries"]) == ("small", 4, 3)
    rows = told["pipelines"]
    assert list(rows) == ["dense", "lexical", "hybrid", "dense+bm25", "lexical+bm25", "hybrid+bm25"]
    assert rows["lexical"]["nDCG@10"] == rows["hybrid"]["MRR@10"] == rows["hybrid"]["recall@100"] == 1
    assert all(row["p50_ms"] <= row["p95_ms"] for row in rows.values())
    assert "against_dense" not in rows["dense"]
    assert rows["hybrid"]["against_dense"]["word"] in ("better", "no difference")
    assert rows["hybrid+bm25"]["computed_by"] == ["pinyon-hash-embed", "bm25"]
    assert "recall@100" not in rows["dense+bm25"], "what was not retrieved cannot be reranked"


def test_the_table_says_the_same(evaluate: Any, collection: Path) -> None:
    status, out, _ = evaluate(collection, collection, "--no-rerank")
    assert status == 0
    assert "small: 4 documents, 3 queries" in out
    assert "all queries pooled" in out
    assert "hybrid: " in out
    assert "over 6 queries" in out
    assert "computed by pinyon-hash-embed" in out


def test_what_was_measured_before_is_not_measured_again(evaluate: Any, collection: Path, tmp_path: Path) -> None:
    def outcomes() -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (tmp_path / "cache").rglob("*.json")}

    def pipelines(contents: Iterable[bytes]) -> list[str]:
        return sorted(json.loads(content)["pipeline"] for content in contents)

    first = evaluate(collection, "--no-rerank", "--json")[1]
    measured = outcomes()
    assert pipelines(measured.values()) == ["dense", "hybrid", "lexical"]
    assert evaluate(collection, "--no-rerank", "--json")[1] == first, "times included"

    evaluate(collection, "--rerank", "bm25")
    added = {name: content for name, content in outcomes().items() if name not in measured}
    assert pipelines(added.values()) == ["dense+bm25", "hybrid+bm25", "lexical+bm25"]
    assert {name: content for name, content in outcomes().items() if name in measured} == measured, "not again"

    before = outcomes()
    evaluate(collection, "--no-rerank", "--no-cache")
    assert outcomes() == before
    (collection / "queries.jsonl").write_text(QUERIES + "\n")
    evaluate(collection, "--no-rerank", "--pipeline", "hybrid")
    assert pipelines(content for name, content in outcomes().items() if name not in before) == ["hybrid"]


def test_what_cannot_be_read_is_measured_again(evaluate: Any, collection: Path, tmp_path: Path) -> None:
    evaluate(collection, "--no-rerank")
    files = list((tmp_path / "cache").rglob("*.json"))
    for file in files:
        file.write_bytes(b"\xff damaged")
    assert evaluate(collection, "--no-rerank")[0] == 0
    assert len(files) == 3
    assert all(json.loads(file.read_bytes())["values"] for file in files)


@pytest.mark.parametrize(
    ("floors", "status", "said"),
    [
        (["0"], 0, ""),
        (["lexical=1", "hybrid=1"], 0, ""),
        (["lexical=1", "dense=1"], None, "small, dense: nDCG@10"),
        (["2"], 1, "--fail-under takes a number from 0 to 1"),
        (["hybrid=x"], 1, "--fail-under takes a number"),
        (["best=0.5"], 1, "--fail-under names the pipeline 'best'; measured are dense, lexical, hybrid"),
    ],
)
def test_fail_under_decides_the_status(
    evaluate: Any, collection: Path, floors: list[str], status: int | None, said: str
) -> None:
    options = [part for floor in floors for part in ("--fail-under", floor)]
    found, out, err = evaluate(collection, "--no-rerank", "--json", *options)
    if status is None:
        dense = json.loads(out)["collections"][0]["pipelines"]["dense"]["nDCG@10"]
        status, said = (2, f"{said} {dense:.4f} is under 1") if dense < 1 else (0, "")
    assert found == status
    assert said in err


def test_wrong_requests_are_one_sentence(evaluate: Any, collection: Path, tmp_path: Path) -> None:
    for arguments, sentence in (
        ((tmp_path,), "not a collection in BEIR layout"),
        ((collection, "--depth", "0"), "--depth must be between 1 and 100"),
        ((collection, "--pipeline", "magic"), "There is no pipeline 'magic'"),
        ((collection, "--rerank", "magic"), "Model 'magic' not found"),
        ((collection, "--rerank", "pinyon-hash-embed"), "not found; available for rerank"),
    ):
        status, _, err = evaluate(*arguments)
        assert (status, err.count("\n")) == (1, 1), err
        assert sentence in err


def test_data_of_the_server_are_not_touched(
    evaluate: Any, collection: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir(tmp_path))
    assert evaluate(collection, "--no-rerank")[0] == 0
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "cache"])
