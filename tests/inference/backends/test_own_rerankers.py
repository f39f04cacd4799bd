"""Any reranker of sentence-transformers: cross-encoders and late interaction, computed as sentence-transformers does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pinyon.errors import FailedPrecondition, TextTooLong
from pinyon.inference.backend import Retrieved
from pinyon.inference.catalog import Catalog
from pinyon.inference.steps import finished
from pinyon.settings import OwnModel
from sentence_transformers import CrossEncoder, MultiVectorEncoder

from tests.inference import tiny_models
from tests.inference.tiny_cross_encoder import SENTENCES
from tests.running import MODELS

QUERY = "what prevents disease"
TEXTS = ["apples", "what prevents disease", "vitamin, fiber and health.", "the star of the apple"]
LAYOUTS = ["sentence-transformers", "pylate", "stanford"]


def own(folder: Path, **changes: Any) -> Catalog:
    return Catalog(MODELS, own={"mine": OwnModel(str(folder), **changes)}, token_cache_bytes=1_000_000)


def scores(catalog: Catalog, texts: list[str], truncate: Any = "END") -> NDArray[np.float32]:
    return finished(catalog.reranker(catalog.answer("mine"), Retrieved()).score(QUERY, texts, truncate))


@pytest.mark.parametrize("kind", ["classifier", "modular"])
def test_scores_of_a_cross_encoder_are_those_of_sentence_transformers(tmp_path: Path, kind: str) -> None:
    folder = tiny_models.cross_encoder(tmp_path / "model", kind)
    catalog = own(folder)
    assert (catalog.entry("mine").kind, catalog.entry("mine").max_tokens) == ("rerank", 128)
    wanted = CrossEncoder(str(folder), device="cpu").predict([(QUERY, text) for text in TEXTS])
    assert len(set(wanted.tolist())) == 4
    np.testing.assert_allclose(scores(catalog, TEXTS), wanted, atol=2e-6)
    with pytest.raises(TextTooLong, match="position 1 has .* exceeds the maximum of 128 tokens for model 'mine'"):
        scores(catalog, ["short", "apples " * 200], "NONE")
    assert np.isfinite(scores(catalog, ["apples " * 500])).all()


def test_activation_and_prompt_are_the_models_own_and_can_be_set(tmp_path: Path) -> None:
    more = {"prompts": {"search": "query: "}, "default_prompt_name": "search", "activation_fn": torch.nn.Identity()}
    folder = tiny_models.cross_encoder(tmp_path / "model", "modular", **more)
    model = CrossEncoder(str(folder), device="cpu")
    pairs = [(QUERY, text) for text in TEXTS]
    wanted = model.predict(pairs)
    assert wanted.min() < 0 or wanted.max() > 1, "not scaled to 0..1"
    np.testing.assert_allclose(scores(own(folder), TEXTS), wanted, atol=2e-6)
    counts = own(folder).bare("mine", "fp32").pair_tokens(QUERY, TEXTS)
    assert counts == [len(ids) for ids in model.tokenizer(["query: " + QUERY] * 4, TEXTS)["input_ids"]]
    other = model.predict(pairs, prompt="", activation_fn=torch.nn.Sigmoid())
    assert np.abs(torch.sigmoid(torch.tensor(wanted)).numpy() - other).max() > 1e-4, "the prompt counts"
    np.testing.assert_allclose(scores(own(folder, query_prefix="", activation="sigmoid"), TEXTS), other, atol=2e-6)


def similarity(model: MultiVectorEncoder, texts: list[str]) -> NDArray[np.float32]:
    """MaxSim for each token of the query, scaled to 0..1 as all our scores of late interaction."""
    query = model.encode_query([QUERY])
    total = model.similarity(query, model.encode_document(texts), length_normalize=False)[0]
    return np.asarray((1 + total.float().numpy() / len(query[0])) / 2, np.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_late_interaction_scores_as_sentence_transformers_compares(tmp_path: Path, layout: str) -> None:
    folder = tiny_models.late_interaction_model(tmp_path / "model", layout)
    catalog = own(folder)
    entry = catalog.entry("mine", "rerank")
    assert (entry.max_tokens, entry.description) == (64, "Your own model (late-interaction)")
    model = MultiVectorEncoder(str(folder), device="cpu")
    wanted = similarity(model, TEXTS)
    assert len(set(wanted.tolist())) == 4
    for _ in range(2):  # the second time the documents come from the cache
        np.testing.assert_allclose(scores(catalog, TEXTS), wanted, atol=1e-3)  # it holds half precision
    bare = catalog.bare("mine", "fp32")
    np.testing.assert_allclose(bare.query_vectors(QUERY), model.encode_query([QUERY])[0], atol=2e-6)
    for (found,), vectors in zip(finished(bare.document_vectors(TEXTS, 64)), model.encode_document(TEXTS), strict=True):
        np.testing.assert_allclose(found, vectors, atol=2e-6)


def test_of_a_longer_document_the_best_window_counts(tmp_path: Path) -> None:
    catalog = own(tiny_models.late_interaction_model(tmp_path / "model", "sentence-transformers"))
    bare = catalog.bare("mine", "fp32")
    document = " ".join([*["star"] * 70, QUERY, *["star"] * 70])
    parts = bare.windows(QUERY, document, 64, 4)
    assert len(parts) == 3
    assert all(count <= 64 for count in bare.pair_tokens(QUERY, parts))
    (found,) = scores(catalog, [document])
    assert found == pytest.approx(finished(bare.predict(QUERY, parts, 64)).max(), abs=1e-3)
    with pytest.raises(TextTooLong, match="exceeds the maximum of 64 tokens for model 'mine'"):
        scores(catalog, [document], "NONE")


def test_prompts_of_late_interaction_can_be_set(tmp_path: Path) -> None:
    folder = tiny_models.late_interaction_model(tmp_path / "model", "sentence-transformers")
    model = MultiVectorEncoder(str(folder), device="cpu", prompts={"query": "", "document": "the "})
    found = scores(own(folder, query_prefix="", passage_prefix="the "), TEXTS)
    np.testing.assert_allclose(found, similarity(model, TEXTS), atol=1e-3)


@pytest.mark.parametrize("kind", ["bf16", "int8"])
def test_late_interaction_is_computed_in_other_precisions(tmp_path: Path, kind: Any) -> None:
    catalog = own(tiny_models.late_interaction_model(tmp_path / "model", "pylate"))
    exact, found = (finished(catalog.bare("mine", each).predict(QUERY, SENTENCES, 64)) for each in ("fp32", kind))
    assert not np.array_equal(exact, found)
    np.testing.assert_allclose(found, exact, atol=0.05)


def test_vectors_that_are_not_of_length_1_are_refused(tmp_path: Path) -> None:
    folder = tiny_models.late_interaction_model(tmp_path / "model", "sentence-transformers")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:-1]))
    with pytest.raises(FailedPrecondition, match="does not give its tokens' vectors length 1"):
        own(folder)


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_cross_encoder_with_several_scores_is_refused(tmp_path: Path, described: bool, classes: int) -> None:
    folder = tiny_models.cross_encoder(tmp_path / "model", "classifier")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(number): f"LABEL_{number}" for number in range(classes)}
    if classes == 2:  # the default of transformers, which is not saved
        del config["id2label"], config["label2id"]
    (folder / "config.json").write_text(json.dumps(config))
    if described:
        (folder / "config_sentence_transformers.json").write_text('{"model_type": "CrossEncoder"}')
    with pytest.raises(FailedPrecondition, match="only a cross-encoder with one score reranks"):
        Catalog(MODELS, own={"mine": OwnModel(str(folder))}).answer("mine")
