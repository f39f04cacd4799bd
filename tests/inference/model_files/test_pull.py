"""Models over a network that breaks, and without one: `pinyon models pull | verify | pack | unpack`, as commands."""

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.inference.model_files.fake_hub import FakeHub
from tests.running import PROJECT, environment

BGE = "bge-reranker-v2-m3"
REPOSITORY, REVISION = "BAAI/bge-reranker-v2-m3", "953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e"
Pinyon = Callable[..., subprocess.CompletedProcess[str]]


def models_dir(folder: Path, sha256: str) -> Path:
    """A models folder whose catalogue has this hash for the reranker."""
    text = (PROJECT / "models" / "manifest.toml").read_text()
    entry = text[text.index(f"[{BGE}]") :]
    held = re.search(r'sha256 = "(.*)"', entry)
    assert held is not None
    folder.mkdir()
    (folder / "manifest.toml").write_text(text.replace(held[1], sha256))
    return folder


@pytest.fixture
def models(tmp_path: Path, cross_encoder_folder: Path) -> Path:
    return models_dir(tmp_path / "models", hash_of(cross_encoder_folder / "model.safetensors"))


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def hub(cross_encoder_folder: Path, tmp_path: Path) -> Iterator[FakeHub]:
    published = tmp_path / "published"
    shutil.copytree(cross_encoder_folder, published)
    (published / "onnx").mkdir()
    (published / "onnx" / "model.onnx").write_bytes(b"the same weights in another format")
    (published / "README.md").write_text("about the model")
    running = FakeHub(published, REPOSITORY, REVISION)
    yield running
    running.close()


@pytest.fixture
def pinyon(models: Path, hub: FakeHub, tmp_path: Path) -> Pinyon:
    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        variables = {"PINYON_MODELS_MODELS_DIR": str(models), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        return subprocess.run(
            [sys.executable, "-m", "pinyon", "models", *map(str, arguments)],
            cwd=PROJECT,
            env=environment(**{**variables, **more}),
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a command that could not do what it was asked to."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_pulled_model_is_whole_checked_and_answers(pinyon: Pinyon, hub: FakeHub, models: Path) -> None:
    done = pinyon("pull", BGE)
    assert done.returncode == 0, done.stderr
    assert "sha256" in done.stdout
    folder = models / "weights" / BGE
    held = {path.name for path in folder.iterdir()}
    assert held >= {"config.json", "model.safetensors", "tokenizer.json", "sentencepiece.bpe.model", "SHA256SUMS"}
    assert not held & {"README.md", "onnx", ".cache"}, "what serving does not need is not fetched"
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder).returncode == 0
    assert all(REVISION in path for _, path, _ in hub.asked), "only the pinned revision"
    checked = pinyon("verify")
    assert checked.returncode == 0
    assert re.search(rf"{BGE}: ok, as catalogued, sha256 \w+, \d+ files checked", checked.stdout)
    assert f"{BGE}\n" in pinyon("list").stdout.replace("    ", "")


@pytest.mark.parametrize("broken", ["the connection", "the process"])
def test_a_broken_download_continues_where_it_ended(pinyon: Pinyon, hub: FakeHub, models: Path, broken: str) -> None:
    weights = hub.files["model.safetensors"]
    half = len(weights) // 2
    if broken == "the connection":
        hub.cut_after = half
    else:
        left = models / "weights" / f"{BGE}.partial" / "model.safetensors.part"
        left.parent.mkdir(parents=True)
        left.write_bytes(weights[:half])
    done = pinyon("pull", BGE)
    assert done.returncode == 0, done.stderr
    ranges = [span for method, path, span in hub.asked if method == "GET" and path.endswith("model.safetensors")]
    # Within a command the hub's library asks again for the last 10 MB, which is all of this file.
    assert ranges == ([None, None] if broken == "the connection" else [f"bytes={half}-"])
    assert (models / "weights" / BGE / "model.safetensors").read_bytes() == weights
    assert [path.name for path in (models / "weights").iterdir()] == [BGE]


def test_files_that_are_there_are_not_fetched_again(pinyon: Pinyon, hub: FakeHub) -> None:
    held = hub.files.pop("tokenizer.json")
    published = hub.listed
    hub.listed = lambda: [*published(), {"type": "file", "oid": "0" * 40, "size": 1, "path": "tokenizer.json"}]  # type: ignore[method-assign]
    assert "the same command continues" in refused(pinyon("pull", BGE))
    hub.listed = published  # type: ignore[method-assign]
    hub.files["tokenizer.json"] = held
    hub.asked.clear()
    assert pinyon("pull", BGE).returncode == 0
    assert [path.split("/")[-1] for method, path, _ in hub.asked[1:]] == ["tokenizer.json", "model.safetensors"]


def test_other_weights_than_the_catalogues_are_removed_again(pinyon: Pinyon, hub: FakeHub, models: Path) -> None:
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-1] + b"?"
    assert "is not what the catalogue says" in refused(pinyon("pull", BGE))
    assert not list((models / "weights").iterdir())


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_file_that_is_not_what_the_hub_lists_is_removed_again(
    pinyon: Pinyon, hub: FakeHub, models: Path, name: str
) -> None:
    hub.swapped[name] = hub.files[name][:-1] + b"?"
    assert name in refused(pinyon("pull", BGE))
    assert not (models / "weights" / BGE).exists()


@pytest.mark.slow
def test_a_hub_that_does_not_answer_is_one_sentence(pinyon: Pinyon, hub: FakeHub) -> None:
    assert f"Model '{BGE}' could not be fetched" in refused(pinyon("pull", BGE, HF_ENDPOINT="http://127.0.0.1:9"))
    hub.revision = "0" * 40
    assert f"Model '{BGE}' could not be fetched" in refused(pinyon("pull", BGE))


def test_offline_asks_nobody(pinyon: Pinyon, hub: FakeHub) -> None:
    assert "the setting offline is on" in refused(pinyon("pull", BGE, "--offline"))
    for action in ("list", "verify"):
        assert pinyon(action).returncode == 0
    assert hub.asked == []


def test_a_packed_model_is_unpacked_elsewhere(pinyon: Pinyon, tmp_path: Path, models: Path) -> None:
    assert pinyon("pull", BGE).returncode == 0
    archive, elsewhere = (
        tmp_path / "model.tar",
        models_dir(tmp_path / "elsewhere", hash_of(models / "weights" / BGE / "model.safetensors")),
    )
    packed = pinyon("pack", BGE, archive)
    assert packed.returncode == 0, packed.stderr
    again = tmp_path / "again.tar"
    assert pinyon("pack", BGE, again).returncode == 0
    assert archive.read_bytes() == again.read_bytes(), "the same model makes the same archive"
    assert "is there already" in refused(pinyon("pack", BGE, archive))
    other = str(elsewhere)
    unpacked = pinyon("unpack", archive, PINYON_MODELS_MODELS_DIR=other)
    assert unpacked.returncode == 0, unpacked.stderr
    for path in (models / "weights" / BGE).rglob("*"):
        if path.is_file():
            assert (
                elsewhere / "weights" / BGE / path.relative_to(models / "weights" / BGE)
            ).read_bytes() == path.read_bytes()
    assert pinyon("verify", BGE, PINYON_MODELS_MODELS_DIR=other).returncode == 0


def test_a_damaged_or_foreign_archive_leaves_nothing(pinyon: Pinyon, tmp_path: Path, models: Path) -> None:
    assert pinyon("pull", BGE).returncode == 0
    archive = tmp_path / "model.tar"
    assert pinyon("pack", BGE, archive).returncode == 0
    shutil.rmtree(models / "weights" / BGE)
    whole = archive.read_bytes()
    at = whole.index(b"tokenizer.json\0") + 2000
    archive.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert "is damaged: tokenizer.json" in refused(pinyon("unpack", archive))
    archive.write_bytes(whole[: len(whole) // 2])
    assert "cannot be unpacked" in refused(pinyon("unpack", archive))
    archive.write_text("no archive")
    assert "cannot be unpacked" in refused(pinyon("unpack", archive))
    with tarfile.open(archive, "w") as tar:
        tar.add(__file__, "../../evil.py")
    assert "was not made by `pinyon models pack`" in refused(pinyon("unpack", archive))
    archive.write_bytes(whole)
    with tarfile.open(archive, "a") as tar:
        tar.add(__file__, "../../evil.py")
    assert "'../../evil.py', which its label does not name" in refused(pinyon("unpack", archive))
    assert not (models / "weights" / BGE).exists()
    assert not list(tmp_path.glob("**/evil.py"))


def test_verify_finds_what_has_changed(pinyon: Pinyon, models: Path) -> None:
    assert pinyon("pull", BGE).returncode == 0
    folder = models / "weights" / BGE
    (folder / "tokenizer.json").write_text("{}")
    (folder / "sentencepiece.bpe.model").unlink()
    said = refused(pinyon("verify", BGE))
    assert "DAMAGED" in said
    assert "tokenizer.json has changed" in said
    assert "sentencepiece.bpe.model is missing" in said
    assert "damaged" in pinyon("list").stdout, "and it does not answer"


def test_what_cannot_be_packed_or_checked_is_said(pinyon: Pinyon) -> None:
    assert "`pinyon models pull bge-reranker-v2-m3` fetches them" in refused(pinyon("pack", BGE))
    assert "not here" in refused(pinyon("verify", BGE))
    assert "Model 'nope' not found" in refused(pinyon("verify", "nope"))
