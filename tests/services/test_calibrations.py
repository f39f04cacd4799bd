"""Which curve says what the scores of a search mean."""

import json
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import EVEN, EmbedSpec, Fingerprint, IndexSpec, Mix
from pinyon.errors import FailedPrecondition
from pinyon.inference.model_files.manifest import load_manifest
from pinyon.search.calibration import calibration_error, probability
from pinyon.services.data_plane.records.calibrations import FILE, Calibrations
from pinyon.shipped import SHIPPED

MODELS = SHIPPED / "models"
OWN = ((0.0, 0.1), (1.0, 0.9))
PIPELINES = {
    "all-MiniLM-L6-v2": ["dense", "hybrid", "lexical", "pinyon-late-interaction"],
    "multilingual-e5-small": ["dense", "hybrid", "lexical"],
}


def spec(metric: str = "cosine", **embed: object) -> IndexSpec:
    return IndexSpec("docs", 384, metric, EmbedSpec("any", "text", **embed))  # type: ignore[arg-type]


def fingerprint(weights: str, version: str) -> Fingerprint:
    return Fingerprint("any", weights, version, "mean", "", "", 384)


@pytest.fixture(scope="module")
def calibrations() -> Calibrations:
    return Calibrations(MODELS)


@pytest.mark.parametrize("model", PIPELINES)
def test_the_models_in_the_box_are_calibrated_at_their_present_version(calibrations: Calibrations, model: str) -> None:
    by = fingerprint(model, load_manifest(MODELS / "manifest.toml")[model].sha256 or "")
    for pipeline in PIPELINES[model]:
        assert calibrations.curve(spec(), pipeline, EVEN, by) is not None
    quicker = fingerprint(model, f"{by.version}+openvino-bf16")
    assert calibrations.curve(spec(), "hybrid", EVEN, quicker) == calibrations.curve(spec(), "hybrid", EVEN, by)
    assert calibrations.curve(spec(), "hybrid", EVEN, fingerprint(model, "another")) is None
    assert calibrations.curve(spec(), "hybrid", Mix(words=2), by) is None
    assert calibrations.curve(spec(sparse_model="splade-tiny"), "hybrid", EVEN, by) is None, "it has a third side"
    assert calibrations.curve(spec("dotproduct"), "dense", EVEN, by) is None
    assert calibrations.curve(spec("dotproduct"), "hybrid", EVEN, by) is not None, "it compares by cosine"
    assert calibrations.curve(spec(), "lexical", EVEN, None) is not None, "it needs no model"


def test_a_model_of_the_users_own_is_not_calibrated(calibrations: Calibrations) -> None:
    for pipeline in ("dense", "hybrid", "pinyon-late-interaction", "bge-reranker-v2-m3"):
        assert calibrations.curve(spec(), pipeline, EVEN, fingerprint("own", "1")) is None
    assert calibrations.curve(IndexSpec("docs", 8, "cosine"), "dense", EVEN, None) is None


def test_the_curves_of_an_index_count_first_and_for_its_own_mix(calibrations: Calibrations) -> None:
    by = fingerprint("own", "1")
    own = spec(calibration={"hybrid": OWN, "dense": OWN}, mix=Mix(words=2))
    assert calibrations.curve(own, "hybrid", Mix(words=2), by) == OWN
    assert calibrations.curve(own, "hybrid", EVEN, by) is None
    assert calibrations.curve(own, "dense", EVEN, by) == OWN, "it has no mix"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read from"),
        (
            '{"made_by": "me", "curves": [{"pipeline": "x", "model": "", "version": "", "curve": [[1, 2]]}]}',
            "of x must",
        ),
    ],
)
def test_a_wrong_file_of_curves_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(FailedPrecondition, match=said):
        Calibrations(tmp_path)


def test_the_chances_of_hits_are_near_the_shares_that_are_relevant(calibrations: Calibrations) -> None:
    """Scores and judgements of a public collection, whose texts are not needed."""
    queries = json.loads((Path(__file__).parent / "xquad_hits.json").read_text())["queries"]
    scores = np.array([query["scores"] for query in queries])
    relevant = np.array([np.isin(np.arange(scores.shape[1]), query["relevant"]) for query in queries])
    model = "all-MiniLM-L6-v2"
    by = fingerprint(model, load_manifest(MODELS / "manifest.toml")[model].sha256 or "")
    curve = calibrations.curve(spec(), "hybrid", EVEN, by)
    assert curve is not None
    chances = probability(curve, scores)
    assert calibration_error(chances.ravel(), relevant.ravel()) <= 0.08
    assert calibration_error(np.full(scores.size, 0.5), relevant.ravel()) > 0.4, "a curve that knows nothing"
    assert chances[relevant].mean() > 0.5 > 10 * chances[~relevant].mean()
