"""Results are as good as the models allow: a public collection, by `pinyon eval` with the real models."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pinyon.cli.main import main

from tests.running import MODELS, config


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "floor"),
    [("ar", 0.935), ("de", 0.94), ("el", 0.945), ("en", 0.96), ("es", 0.96), ("hi", 0.945), ("ro", 0.96), ("ru", 0.95),
     ("th", 0.965), ("tr", 0.94), ("vi", 0.955), ("zh", 0.96)],
)  # fmt: skip
def test_words_of_many_languages_are_found_as_well_as_measured_before(
    shared_data: Callable[[str], Path], tmp_path: Path, language: str, floor: float, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = str(config(tmp_path))
    options = ["--no-rerank", "--pipeline", "lexical", "--no-cache", "--fail-under", f"lexical={floor}"]
    status = main(["eval", str(shared_data(f"retrieval/xquad/{language}")), "--config", settings, *options])
    assert status == 0, capsys.readouterr().err


@pytest.mark.slow
def test_cranfield_is_searched_and_reranked_as_well_as_measured_before(
    shared_data: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PINYON_MODELS_MODELS_DIR", str(MODELS))
    settings = str(config(tmp_path, "all-MiniLM-L6-v2"))
    floors = ["dense=0.495", "hybrid=0.56", "hybrid+pinyon-late-interaction=0.565"]
    options = [part for floor in floors for part in ("--fail-under", floor)]
    folder = str(shared_data("retrieval/cranfield"))
    status = main(
        ["eval", folder, "--config", settings, "--rerank", "pinyon-late-interaction", "--no-cache", "--json", *options]
    )
    said = capsys.readouterr()
    assert status == 0, said.err
    rows = json.loads(said.out)["collections"][0]["pipelines"]
    for name in ("hybrid", "dense+pinyon-late-interaction", "hybrid+pinyon-late-interaction"):
        assert rows[name]["against_dense"]["word"] == "better"
