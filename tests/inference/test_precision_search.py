"""The fastest precision is found without being asked for: measured once, remembered, and never by two at a time."""

import logging
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest
from filelock import FileLock
from pinyon.inference import precision
from pinyon.inference.catalog import Catalog
from pinyon.inference.precision import Choice
from pinyon.inference.precision_search import LOCK, PrecisionSearch
from pinyon.settings import ModelSettings, Settings

from tests.running import MODELS

MINILM, BGE = "all-MiniLM-L6-v2", "bge-reranker-v2-m3"
ticks = count()


def even_timer() -> float:
    """Every measurement takes as long as any other."""
    return float(next(ticks))


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    shutil.copy(MODELS / "manifest.toml", tmp_path)
    yield Settings(models=ModelSettings(models_dir=str(tmp_path)))


def with_precision(settings: Settings, chosen: str) -> Catalog:
    models = msgspec.structs.replace(settings.models, precision=chosen)
    return Catalog.of(msgspec.structs.replace(settings, models=models))


def test_only_what_can_differ_and_is_not_known_needs_a_choice(settings: Settings) -> None:
    catalog = Catalog.of(settings)
    assert catalog.needs_choice(MINILM)
    assert not catalog.needs_choice("pinyon-hash-embed"), "it is computed in one way"
    assert not catalog.needs_choice("splade-tiny"), "it is computed in one way"
    assert not with_precision(settings, "remembered").needs_choice(MINILM)
    assert not with_precision(settings, "bf16").needs_choice(MINILM)
    precision.choose(settings.models_dir, MINILM, Choice("fp32", 1.0, 1.0))
    assert not Catalog.of(settings).needs_choice(MINILM)


def test_what_is_used_says_why(settings: Settings) -> None:
    precision.choose(settings.models_dir, MINILM, Choice("bf16", 2.5, 0.9999))
    precision.choose(settings.models_dir, "pinyon-rerank-mini", Choice("int8"))
    precision.choose(settings.models_dir, "multilingual-e5-small", Choice("fp32", 1.0, 1.0))
    catalog = Catalog.of(settings)
    assert (catalog.precision(MINILM), catalog.why(MINILM)) == (
        "bf16",
        "measured here: 2.5 times as fast as fp32, rank correlation 0.9999",
    )
    assert catalog.why("pinyon-rerank-mini") == "chosen with `pinyon models bench`"
    assert catalog.why("multilingual-e5-small") == "measured here: nothing that ranks alike is clearly faster"
    assert catalog.why("bge-small-en-v1.5") == "not measured yet; a server does it after its start"
    assert catalog.why("pinyon-hash-embed") == ""
    fixed = with_precision(settings, "fp32")
    assert (fixed.precision(MINILM), fixed.why(MINILM)) == ("fp32", "set in [models] precision")
    assert fixed.precision("splade-tiny") == with_precision(settings, "bf16").precision("splade-tiny") == "fp32"


def test_a_choice_whose_software_is_gone_does_not_count(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    precision.choose(settings.models_dir, MINILM, Choice("openvino-bf16", 3.5, 0.9999))
    monkeypatch.setattr(precision, "computable", lambda one: not one.startswith("openvino"))
    catalog = Catalog.of(settings)
    assert catalog.needs_choice(MINILM)
    assert catalog.precision(MINILM) == "fp32"


def test_what_another_server_has_measured_is_not_measured_again(settings: Settings) -> None:
    search = PrecisionSearch(settings, Catalog.of(settings))
    search.stop()  # so that it can measure nothing
    precision.choose(settings.models_dir, MINILM, Choice("bf16", 2.0, 0.9999))
    assert search.choose(MINILM) == Choice("bf16", 2.0, 0.9999)


def test_two_servers_do_not_measure_at_the_same_time(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    search = PrecisionSearch(settings, Catalog.of(settings))
    (settings.models_dir / LOCK).parent.mkdir()
    with FileLock(settings.models_dir / LOCK), caplog.at_level(logging.INFO):
        assert search.choose(MINILM) is None
    assert "another server measures" in caplog.text
    assert precision.chosen(settings.models_dir) == {}


def test_an_interrupted_measurement_is_begun_again(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    search = PrecisionSearch(settings, Catalog.of(settings))
    search.stop()
    with caplog.at_level(logging.INFO):
        assert search.choose(MINILM) is None
    assert "was interrupted; the next start begins it again" in caplog.text
    assert Catalog.of(settings).needs_choice(MINILM)


def test_a_folder_that_cannot_be_written_is_told(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    (settings.models_dir / "weights").write_text("a file in place of the folder")
    assert (
        PrecisionSearch(settings, Catalog.of(Settings(models=ModelSettings(models_dir=str(MODELS))))).choose(MINILM)
        is None
    )
    assert "stays in fp32" in caplog.text


@pytest.mark.slow
@pytest.mark.alone  # other tests would go before the measurement
def test_a_model_is_measured_and_the_choice_remembered(settings: Settings, cross_encoder_folder: Path) -> None:
    models = msgspec.structs.replace(settings.models, paths={BGE: str(cross_encoder_folder)})
    settings = msgspec.structs.replace(settings, models=models)
    assert PrecisionSearch(settings, Catalog.of(settings), timer=even_timer).choose(BGE) == Choice("fp32", 1.0, 1.0)
    assert precision.chosen(settings.models_dir) == {BGE: Choice("fp32", 1.0, 1.0)}
    assert not Catalog.of(settings).needs_choice(BGE)
