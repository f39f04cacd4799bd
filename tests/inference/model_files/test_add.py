"""`pinyon models add | list | remove`, and first pulls that record what they brought."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pinyon.cli.main import main
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_files import installed

from tests.inference import tiny_models
from tests.inference.model_files.fake_hub import FakeHub

REPOSITORY, REVISION = "owner/model", "1234567890abcdef1234567890abcdef12345678"
MODEL = """
[known]
kind = "embed"
description = "An embedding model of the hub"
provider = "owner"
licence = "MIT"
source = "hub:owner/model"
pinned = "first pull"
dimension = 16
max_tokens = 512
truncate = "END"
"""
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "manifest.toml").write_text(MODEL)
    return folder


@pytest.fixture
def run(models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `pinyon models ...`: its status, and what it says."""
    monkeypatch.setenv("PINYON_MODELS_MODELS_DIR", str(models))
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):  # the commands change them
        monkeypatch.setenv(variable, "1")

    def command(*arguments: object) -> tuple[int, str]:
        status = main(["models", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out + said.err

    return command


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return tiny_models.embedding_model(tmp_path / "published", "bert", dense=16)


@pytest.fixture
def hub(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    from huggingface_hub import constants, hf_api

    running = FakeHub(published, REPOSITORY, REVISION)
    # The library reads these when it is imported, which has happened already.
    monkeypatch.setattr(constants, "ENDPOINT", running.url)
    monkeypatch.setattr(hf_api.constants, "ENDPOINT", running.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield running
    running.close()


def catalog(models: Path) -> Catalog:
    return Catalog(models)


def test_a_folder_is_added_listed_and_removed(run: Run, models: Path, published: Path) -> None:
    changes = "--query-prefix", "ask: ", "--no-normalize", "--dimensions", "4,8", "--languages", "english,german"
    status, said = run("add", "mine", published, *changes)
    assert status == 0, said
    assert "mine is added: Your own model (embedding), 16 dimensions, 128 tokens, cls pooling" in said
    entry = catalog(models).entry("mine", "embed")
    assert (entry.query_prefix, entry.normalize, entry.dimensions) == ("ask: ", False, (4, 8))
    assert entry.languages == ("english", "german")
    assert f"from {published}" in run("list")[1]
    assert re.search(r"mine: ok, weights of your own, sha256 \w+", run("verify", "mine")[1])
    assert run("add", "mine", published, "--query-prefix", "other: ")[0] == 1, "another model has this name"
    assert run("remove", "mine") == (0, f"mine is removed; it came from {published}.\n")
    assert "mine" not in catalog(models).entries
    assert (published / "model.safetensors").exists(), "the folder itself stays"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("known", "FOLDER"), "is a model of the catalogue"),
        (("a/b", "FOLDER"), "must have letters, digits"),
        (("mine", "/nowhere"), "is not a folder of weights"),
        (
            ("mine", "hub:nobody"),
            "Expected hub:OWNER/NAME, hub:OWNER/NAME@REVISION or the absolute path of a folder - at",
        ),
        (("mine", "FOLDER", "--pooling", "median"), "Invalid enum value 'median'"),
        (("mine", "FOLDER", "--languages", "klingon"), "`languages` has 'klingon'; it may have "),
        (("mine", "FOLDER", "--max-tokens", "500"), "it reads at most 192 tokens"),
    ],
)
def test_what_cannot_be_added_is_said(
    run: Run, models: Path, published: Path, arguments: tuple[str, ...], wrong: str
) -> None:
    status, said = run("add", *(str(published) if each == "FOLDER" else each for each in arguments))
    assert status == 1
    assert wrong in said
    assert installed.read(models).added == {}
    assert "'mine' was not added" in run("remove", "mine")[1]


def test_a_model_of_the_hub_is_fetched_pinned_and_answers(run: Run, models: Path, hub: FakeHub) -> None:
    status, said = run("add", "mine", "hub:owner/model")
    assert status == 0, said
    folder = models / "weights" / "mine"
    assert (folder / "2_Dense" / "model.safetensors").is_file(), "projections are weights too"
    pin = installed.read(models).pins["mine"]
    assert (pin.source, pin.revision) == ("hub:owner/model", REVISION)
    answering = catalog(models)
    assert answering.answer("mine").label == "mine", "the recorded hash counts as known"
    assert answering.fingerprint("mine").version == pin.sha256
    assert "as recorded at the first pull" in run("verify", "mine")[1]
    assert run("remove", "mine")[0] == 0
    assert not folder.exists()
    assert installed.read(models).pins == {}


def test_later_pulls_bring_what_the_first_one_brought(run: Run, models: Path, hub: FakeHub) -> None:
    assert "revision and hash not yet recorded" in run("list")[1]
    status, said = run("pull", "known")
    assert status == 0, said
    assert f"Revision {REVISION[:12]} and this hash are recorded" in said
    entry = catalog(models).entry("known")
    assert (entry.revision, entry.query_prefix, entry.pooling) == (REVISION, tiny_models.QUERY, "cls")
    assert entry.max_tokens == 128, "what the weights read"
    assert entry.metrics == ("cosine", "dotproduct", "euclidean")
    assert "recorded at the first pull" in run("list")[1]
    hub.asked.clear()
    assert run("pull", "known")[0] == 0
    assert not [path for _, path, _ in hub.asked if path.endswith("/revision/main")], "at the recorded revision"
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-1] + b"?"
    status, said = run("pull", "known")
    assert status == 1
    assert "is not what the catalogue says" in said
    assert (models / "weights" / "known" / "model.safetensors").is_file(), "what was there stays"


def test_a_model_of_a_package_has_the_hub_as_its_second_source(run: Run, models: Path, hub: FakeHub) -> None:
    package = 'source = "package:not-installed==1.0/model"\nfile = "q4.bin"\nsha256 = "0"\nhub = "owner/model"\n'
    text = MODEL.replace('source = "hub:owner/model"\npinned = "first pull"\n', package)
    (models / "manifest.toml").write_text(text)
    said = run("list")[1]
    assert "pip install" in said
    assert "`pinyon models pull known` fetches them in full precision" in said
    assert run("pull", "known")[0] == 0
    answering = catalog(models)
    assert answering.answer("known").label == "known"
    assert answering.embedder(answering.fingerprint("known")).embed(["apples"], "query", "END").vectors.shape == (1, 16)
    assert installed.read(models).pins["known"].sha256 == answering.fingerprint("known").version


def test_a_model_of_the_settings_is_pulled_under_its_name(run: Run, models: Path, hub: FakeHub, tmp_path: Path) -> None:
    config = tmp_path / "pinyon.toml"
    config.write_text("[models.mine]\nsource = 'hub:owner/model'\n")
    assert "`pinyon models pull mine` fetches them" in run("list", "--config", config)[1]
    assert run("pull", "mine", "--config", config)[0] == 0
    assert "from hub:owner/model" in run("list", "--config", config)[1]
    assert installed.read(models).added == {}


def test_of_a_model_that_asks_for_code_the_weights_are_not_fetched(run: Run, models: Path, hub: FakeHub) -> None:
    config: Any = json.loads(hub.files["config.json"])
    hub.files["config.json"] = json.dumps({**config, "auto_map": {"AutoModel": "modeling.Model"}}).encode()
    status, said = run("add", "mine", "hub:owner/model")
    assert status == 1
    assert "code of its own" in said
    assert not [path for _, path, _ in hub.asked if path.endswith(".safetensors")]
    assert not list((models / "weights").iterdir())


def test_a_branch_is_pinned_at_the_commit_that_it_had(run: Run, models: Path, hub: FakeHub) -> None:
    status, said = run("add", "mine", "hub:owner/model@main")
    assert status == 0, said
    assert installed.read(models).pins["mine"].asked == "main"
    assert catalog(models).answer("mine").label == "mine"
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-1] + b"?"
    status, said = run("pull", "mine")
    assert (status, "is not what the catalogue says" in said) == (1, True)


def test_another_source_in_the_settings_is_not_answered_by_the_old_weights(
    run: Run, models: Path, hub: FakeHub, tmp_path: Path
) -> None:
    config = tmp_path / "pinyon.toml"
    config.write_text("[models.mine]\nsource = 'hub:owner/model'\n")
    assert run("pull", "mine", "--config", config)[0] == 0
    config.write_text("[models.mine]\nsource = 'hub:owner/other'\n")
    assert "`pinyon models pull mine` fetches those of hub:owner/other" in run("list", "--config", config)[1]


def test_a_name_of_the_settings_cannot_be_added(run: Run, models: Path, published: Path, tmp_path: Path) -> None:
    config = tmp_path / "pinyon.toml"
    config.write_text(f"[models.mine]\nsource = '{published}'\n")
    status, said = run("add", "mine", published, "--config", config)
    assert (status, "The settings have a model 'mine' already" in said) == (1, True)
