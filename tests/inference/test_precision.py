"""The same model computed more quickly: close to fp32, never mixed with it, chosen by measurement."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pinyon.cli.main import main
from pinyon.errors import FailedPrecondition
from pinyon.inference import bench, precision
from pinyon.inference.backend import Retrieved
from pinyon.inference.catalog import Catalog
from pinyon.inference.precision import Choice
from pinyon.inference.steps import finished
from pinyon.settings import ModelSettings, Settings

from tests.inference.tiny_cross_encoder import SENTENCES
from tests.running import MODELS, PROJECT

MINILM, BGE = "all-MiniLM-L6-v2", "bge-reranker-v2-m3"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    shutil.copy(MODELS / "manifest.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("chosen", "nearest"), [("bf16", 0.9995), ("int8", 0.95), ("openvino", 1 - 1e-5), ("openvino-bf16", 0.9995)]
)
def test_vectors_are_close_to_those_of_fp32(
    catalog: Catalog, models: Path, chosen: precision.Precision, nearest: float
) -> None:
    precision.choose(models, MINILM, Choice(chosen))
    quick = Catalog(models)
    printed = quick.fingerprint(MINILM)
    assert printed.version == f"{catalog.fingerprint(MINILM).version}+{chosen}"
    embedder = quick.embedder(printed)
    assert embedder.label == f"{MINILM}; precision={chosen}"
    wanted = catalog.embedder(catalog.fingerprint(MINILM)).embed(SENTENCES, "passage", "END").vectors
    found = embedder.embed(SENTENCES, "passage", "END").vectors
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
    cosines = (found * wanted).sum(axis=1)
    assert nearest < cosines.min()
    assert not np.array_equal(found, wanted), "close, and not the same"


def test_an_index_goes_on_with_what_it_was_embedded_with(catalog: Catalog, models: Path) -> None:
    before = catalog.fingerprint(MINILM)
    precision.choose(models, MINILM, Choice("bf16"))
    later = Catalog(models)
    wanted = catalog.embedder(before).embed(SENTENCES, "query", "END").vectors
    np.testing.assert_array_equal(later.embedder(before).embed(SENTENCES, "query", "END").vectors, wanted)
    made = later.fingerprint(MINILM)
    precision.choose(models, MINILM, Choice("fp32"))
    again = Catalog(models)
    assert again.fingerprint(MINILM) == before
    assert again.embedder(made).label == f"{MINILM}; precision=bf16"


@pytest.mark.parametrize("chosen", ["bf16", "int8", "openvino", "openvino-bf16"])
def test_a_cross_encoder_is_computed_as_chosen_and_says_so(
    cross_encoder_folder: Path, models: Path, chosen: precision.Precision
) -> None:
    paths = {BGE: str(cross_encoder_folder)}
    exact = Catalog(models, paths)
    precision.choose(models, BGE, Choice(chosen))
    quick = Catalog(models, paths)
    answer = quick.answer(BGE)
    assert answer.label.endswith(f"; precision={chosen}")
    wanted, found = (
        finished(c.reranker(c.answer(BGE), Retrieved()).score("disease", SENTENCES, "END")) for c in (exact, quick)
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, wanted, atol=1e-4 if chosen == "openvino" else 0.3
    )  # random weights are sensitive
    assert not np.array_equal(found, wanted)


@pytest.mark.slow
def test_openvino_answers_several_threads_at_once(models: Path) -> None:
    precision.choose(models, MINILM, Choice("openvino"))
    encoder = Catalog(models).bare(MINILM, "openvino")
    wanted = [encoder.encode([text], 64).vectors for text in SENTENCES]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda text: encoder.encode([text], 64).vectors, SENTENCES))
    np.testing.assert_array_equal(found, wanted)


def test_without_openvino_its_precisions_say_how_to_get_it(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precision.choose(models, MINILM, Choice("openvino-bf16"))
    made = Catalog(models).fingerprint(MINILM)
    monkeypatch.setitem(sys.modules, "openvino", None)  # as if it were not installed
    assert [each for each in precision.PRECISIONS if precision.computable(each)] == ["fp32", "bf16", "int8"]
    with pytest.raises(FailedPrecondition, match="pip install"):
        Catalog(models).embedder(made)
    monkeypatch.setenv("PINYON_MODELS_MODELS_DIR", str(models))
    assert main(["models", "bench", MINILM, "--choose", "openvino"]) == 1


@pytest.mark.slow
def test_openvino_reports_nothing_to_anyone() -> None:
    """It has a package for that, which sends when OpenVINO is imported, unless it is missing."""
    script = (
        "import socket, sys\n"
        "def refused(*args): raise SystemExit(f'tried to reach {args}')\n"
        "socket.getaddrinfo = socket.socket.connect = refused\n"
        "from pinyon.inference.backends.transformer import openvino_backend\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry') and sys.modules[name]]\n"
        "print(openvino_backend.openvino.get_version())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2026")


def test_a_choice_is_for_one_kind_of_machine(models: Path) -> None:
    other = "another, 64 cores"
    precision.choose(models, MINILM, Choice("bf16"))
    assert precision.chosen(models) == {MINILM: Choice("bf16")}
    assert precision.chosen(models, other) == {}
    precision.choose(models, MINILM, Choice("int8"), other)
    assert precision.chosen(models) == {MINILM: Choice("bf16")}
    assert precision.chosen(models, other) == {MINILM: Choice("int8")}
    precision.choose(models, MINILM, Choice("fp32", 1.0, 1.0))
    assert precision.chosen(models) == {MINILM: Choice("fp32", 1.0, 1.0)}


def test_processors_of_one_name_and_other_instructions_are_two_kinds(tmp_path: Path) -> None:
    def kind(content: str) -> str:
        (tmp_path / "cpuinfo").write_text(content)
        return precision.machine(tmp_path / "cpuinfo")

    first = "processor : 0\nmodel name : AMD EPYC\nflags : fpu avx2\n\nprocessor : 1\nmodel name : other\nflags : fpu\n"
    cores = f"{os.cpu_count()} cores"
    assert kind(first) == f"AMD EPYC, {cores}, avx2"
    assert (
        kind(first.replace("fpu avx2", "avx512_bf16 avx2 avx512f")) == f"AMD EPYC, {cores}, avx2, avx512f, avx512_bf16"
    )
    assert kind("processor : 0\nFeatures : fp bf16 i8mm\n").endswith(f", {cores}, bf16, i8mm")
    assert precision.machine(tmp_path / "absent").endswith(cores)


def test_a_choice_of_an_earlier_build_is_read(models: Path) -> None:
    (models / "weights").mkdir()
    (models / precision.FILE).write_text(f'{{"{precision.machine()}": {{"{MINILM}": "bf16"}}}}')
    assert precision.chosen(models) == {MINILM: Choice("bf16")}
    assert Catalog(models).precision(MINILM) == "bf16"


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"m": {"a": "fp8"}}', b'{"\xff": {}}'])
def test_a_file_that_is_not_ours_is_named(models: Path, content: bytes) -> None:
    (models / "weights").mkdir()
    (models / precision.FILE).write_bytes(content)
    with pytest.raises(FailedPrecondition, match="made by `pinyon models bench`, cannot be read"):
        Catalog(models)


@pytest.mark.slow
def test_bench_measures_every_precision() -> None:
    told: list[tuple[str, int]] = []
    measuring = bench.measure(
        Settings(models=ModelSettings(threads=1)),
        MINILM,
        bench.paragraphs(PROJECT)[:24],
        lambda one, which, of: told.append((one, which)),
    )
    found = [next(measuring)]
    assert told == [("fp32", 1)], "the first is there before the second is begun"
    found += measuring
    assert [one.precision for one in found] == ["fp32", "bf16", "int8", "openvino", "openvino-bf16"]
    assert all(one.per_s > 0 and one.memory > 10_000_000 for one in found)
    agreement = {one.precision: one.agreement for one in found}
    assert agreement["openvino"] > 0.999
    assert min(agreement["bf16"], agreement["openvino-bf16"]) > 0.99
    assert 1 > agreement["int8"] > 0.8  # how exact it is depends on the instructions of the processor


def test_bench_measures_pairs_of_a_cross_encoder(cross_encoder_folder: Path) -> None:
    settings = Settings(models=ModelSettings(paths={BGE: str(cross_encoder_folder)}))
    scores, seconds, _ = bench.scored(settings, BGE, "fp32", bench.paragraphs(PROJECT)[:8], time.perf_counter)
    assert scores.shape == (3, 8)
    assert seconds > 0


def test_the_best_is_the_quickest_that_ranks_alike() -> None:
    def measured(kind: precision.Precision, per_s: float, agreement: float) -> bench.Measured:
        return bench.Measured(kind, per_s, 0, agreement)

    fp32 = measured("fp32", 10, 1)
    assert bench.best([fp32, measured("bf16", 20, 0.999), measured("int8", 30, 0.98)]) == Choice("bf16", 2.0, 0.999)
    assert bench.best([fp32, measured("bf16", 5, 0.999), measured("int8", 30, 0.98)]) == Choice("fp32", 1.0, 1.0)
    barely = measured("bf16", 10.9, 0.999)
    assert bench.best([fp32, barely]).precision == "fp32", "so small a difference may be chance"


def test_agreement_is_spearmans_rank_correlation() -> None:
    scores = np.float32([[1, 2, 3, 4], [4, 3, 2, 1]])
    assert bench.agreement(scores, scores * 3 + 1) == pytest.approx(1)
    assert bench.agreement(scores, -scores) == pytest.approx(-1)
    assert bench.agreement(scores, np.float32([[1, 2, 4, 3], [4, 3, 2, 1]])) == pytest.approx((0.8 + 1) / 2)


def test_the_command_remembers_and_the_list_says_so(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PINYON_MODELS_MODELS_DIR", str(models))
    assert main(["models", "bench", MINILM, "--choose", "bf16"]) == 0
    assert "is computed in bf16" in capsys.readouterr().out
    assert main(["models", "list"]) == 0
    assert f"{MINILM}; precision=bf16" in capsys.readouterr().out
    for name, why in ((BGE, "pinyon models pull"), ("pinyon-hash-embed", "it has no weights"), ("nope", "not found")):
        assert main(["models", "bench", name]) == 1
        assert why in capsys.readouterr().err
