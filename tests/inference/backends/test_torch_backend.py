"""The real MiniLM, and the real loading path of cross-encoders."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pinyon.errors import TextTooLong
from pinyon.inference.answer import Answer
from pinyon.inference.backend import Embedder, Retrieved, TextEncoder
from pinyon.inference.catalog import Catalog
from pinyon.inference.steps import Steps, finished

from tests.inference.tiny_cross_encoder import LAYOUT, SENTENCES
from tests.running import MODELS

BGE = "bge-reranker-v2-m3"


@pytest.fixture(scope="module")
def minilm(catalog: Catalog) -> Embedder:
    return catalog.embedder(catalog.fingerprint("all-MiniLM-L6-v2"))


@pytest.fixture(scope="module")
def encoder(minilm: Embedder) -> TextEncoder:
    return minilm.encoder


def test_minilm_knows_what_belongs_together(minilm: Embedder) -> None:
    found = minilm.embed(["a dog barks", "the puppy is barking", "interest rates rose"], "passage", "END")
    assert found.vectors.shape == (3, 384)
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    like, unlike = found.vectors[0] @ found.vectors[1], found.vectors[0] @ found.vectors[2]
    assert like > 0.6 > 0.3 > unlike


def test_vectors_are_those_of_sentence_transformers_itself(encoder: TextEncoder, catalog: Catalog) -> None:
    from pinyon.inference.model_files import weights
    from sentence_transformers import SentenceTransformer

    entry = catalog.entries["all-MiniLM-L6-v2"]
    folder = weights.locate("all-MiniLM-L6-v2", entry, Path("/nowhere"), {})
    texts = [*SENTENCES, "a", "word " * 500]
    reference = SentenceTransformer(str(folder), local_files_only=True).encode(texts)
    np.testing.assert_allclose(encoder.encode(texts, 256).vectors, reference, atol=2e-6)


def test_tokens_are_what_the_tokenizer_counts(encoder: TextEncoder) -> None:
    assert encoder.count_tokens(["Disease prevention", "a " * 400]) == [4, 402]
    found = encoder.encode(["Disease prevention", "a " * 400], 256)
    assert (found.tokens, found.truncated) == ([4, 256], [False, True])


def test_the_vector_of_a_text_hardly_depends_on_its_batch(encoder: TextEncoder) -> None:
    alone = encoder.encode([SENTENCES[0]], 256).vectors[0]
    together = encoder.encode([*SENTENCES, "a " * 200], 256).vectors[0]
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_none_refuses_what_end_cuts(minilm: Embedder) -> None:
    with pytest.raises(TextTooLong, match="position 1 has 402 tokens, which exceeds the maximum of 256"):
        minilm.embed(["short", "a " * 400], "passage", "NONE")
    assert minilm.embed(["short", "a " * 400], "passage", "END").truncated == [False, True]


def test_token_windows_cover_texts_beyond_what_is_read_at_once(encoder: TextEncoder) -> None:
    short, long = finished(encoder.token_windows(["Disease prevention", "a " * 600], 1000))
    assert [window.shape for window in short] == [(2, 384)]
    assert [len(window) for window in long] == [254, 254, 92]
    for window in long:
        np.testing.assert_allclose(np.linalg.norm(window, axis=1), 1, atol=1e-3)  # kept in half precision
    (cut,) = finished(encoder.token_windows(["a " * 600], 300))
    assert [len(window) for window in cut] == [254, 46]
    np.testing.assert_allclose(cut[1], long[1][:46], atol=1e-3)


@pytest.mark.parametrize(("prefix", "ahead"), [("", 0), ("query: ", 2)])
def test_one_pass_gives_the_vectors_of_texts_and_of_their_tokens(encoder: TextEncoder, prefix: str, ahead: int) -> None:
    texts = ["Disease prevention", "a " * 600, "", SENTENCES[0]]
    prefixed = [prefix + text for text in texts]
    together = encoder.encode_tokens(texts, prefix, 256, 300)
    alone = encoder.encode(prefixed, 256)
    np.testing.assert_allclose(together.vectors, alone.vectors, atol=1e-5)
    assert (together.tokens, together.truncated) == (alone.tokens, alone.truncated)
    wanted = [
        np.vstack([*w, np.empty((0, 384))])[ahead:] for w in finished(encoder.token_windows(prefixed, 300 + ahead))
    ]
    assert together.windows is not None
    assert [list(map(len, windows)) for windows in together.windows[:3]] == [[2], [254 - ahead, 46 + ahead], []]
    for windows, rows in zip(together.windows, wanted, strict=True):
        of_text = np.vstack([*windows, np.empty((0, 384))])
        np.testing.assert_allclose(of_text, rows, atol=1e-3)  # the cache has half precision


def test_the_tiny_cross_encoder_has_the_layout_of_the_published_one(cross_encoder_folder: Path) -> None:
    assert {path.name for path in cross_encoder_folder.iterdir()} >= LAYOUT


@pytest.fixture(scope="module", params=["settings", "weights folder", "hub cache"])
def with_cross_encoder(
    request: pytest.FixtureRequest, cross_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Catalog:
    """A catalogue that finds the cross-encoder in each of the three places."""
    from huggingface_hub import constants

    folder = tmp_path_factory.mktemp("models")
    (folder / "manifest.toml").write_text((MODELS / "manifest.toml").read_text())
    if request.param == "settings":
        return Catalog(folder, paths={BGE: str(cross_encoder_folder)})
    if request.param == "weights folder":
        (folder / "weights").mkdir()
        (folder / "weights" / BGE).symlink_to(cross_encoder_folder)
        return Catalog(folder)
    cache = folder / "hub"
    revision = Catalog(MODELS).entries[BGE].revision
    snapshots = cache / "models--BAAI--bge-reranker-v2-m3" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / str(revision)).symlink_to(cross_encoder_folder)
    patch = pytest.MonkeyPatch()
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    request.addfinalizer(patch.undo)
    return Catalog(folder)


def test_a_cross_encoder_loads_and_scores_between_0_and_1(with_cross_encoder: Catalog) -> None:
    answer = with_cross_encoder.answer(BGE)
    assert (answer.by, answer.stand_in) == (BGE, False)
    found = finished(with_cross_encoder.reranker(answer, Retrieved()).score("what prevents disease", SENTENCES, "NONE"))
    assert found.shape == (5,)
    assert found.dtype == np.float32
    assert ((found > 0) & (found < 1)).all()
    assert len(set(found.tolist())) == 5


def test_scores_are_the_sigmoid_of_the_models_own_logits(
    with_cross_encoder: Catalog, cross_encoder_folder: Path
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(cross_encoder_folder)
    model = AutoModelForSequenceClassification.from_pretrained(cross_encoder_folder).eval()
    batch = tokenizer(["disease"] * 5, SENTENCES, padding=True, return_tensors="pt")
    with torch.inference_mode():
        wanted = torch.sigmoid(model(**batch).logits[:, 0]).numpy()
    found = finished(with_cross_encoder.reranker(Answer(BGE, BGE), Retrieved()).score("disease", SENTENCES, "NONE"))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_pair_over_1024_tokens_is_refused_or_cut(with_cross_encoder: Catalog) -> None:
    reranker = with_cross_encoder.reranker(Answer(BGE, BGE), Retrieved())
    long = "apples " * 1100
    with pytest.raises(TextTooLong, match=r"position 1 has \d+ tokens, which exceeds the maximum of 1024"):
        finished(reranker.score("disease", ["short", long], "NONE"))
    assert finished(reranker.score("disease", [long], "END")).shape == (1,)


def test_of_a_longer_document_the_best_window_counts(with_cross_encoder: Catalog) -> None:
    reranker = with_cross_encoder.reranker(Answer(BGE, BGE), Retrieved())
    words = [f"apple{n} " for n in range(2000)]
    ask = "what prevents disease"
    single = {text: finished(reranker.score(ask, [text], "END"))[0] for text in ("".join(words), SENTENCES[2])}
    model = with_cross_encoder.bare(BGE, "fp32")
    parts = model.windows(ask, "".join(words), 1024, 4)
    assert len(parts) == 4
    assert all(count <= 1024 for count in model.pair_tokens(ask, parts))
    assert "".join(words).startswith(parts[0]), "nothing is skipped at the beginning"
    assert single["".join(words)] == pytest.approx(finished(model.predict(ask, parts, 1024)).max(), abs=1e-6)
    among = finished(reranker.score(ask, [SENTENCES[2], "".join(words), SENTENCES[2]], "END"))
    np.testing.assert_allclose(among, [single[SENTENCES[2]], single["".join(words)], single[SENTENCES[2]]], atol=1e-6)


def test_a_query_as_long_as_the_limit_is_cut_beside_each_document(with_cross_encoder: Catalog) -> None:
    reranker = with_cross_encoder.reranker(Answer(BGE, BGE), Retrieved())
    assert np.isfinite(finished(reranker.score("apples " * 1200, ["short", "long " * 3000], "END"))).all()


def test_any_cross_encoder_folder_reranks_under_a_name_of_its_own(cross_encoder_folder: Path) -> None:
    named = Catalog(MODELS, paths={"my-reranker": str(cross_encoder_folder), BGE: str(cross_encoder_folder)})
    answer = named.answer("my-reranker")
    assert answer.by == "my-reranker"
    assert answer.label.startswith("my-reranker; own-weights=sha256:")
    mine, known = (
        finished(named.reranker(Answer(n, n), Retrieved()).score("disease", SENTENCES, "END"))
        for n in ("my-reranker", BGE)
    )
    np.testing.assert_allclose(mine, known, atol=1e-6)


@pytest.mark.parametrize("by", [BGE, "pinyon-late-interaction"])
def test_a_rerank_score_depends_only_on_query_and_document(
    with_cross_encoder: Catalog, encoder: TextEncoder, by: str
) -> None:
    reranker = with_cross_encoder.reranker(Answer(BGE, by), Retrieved(encoder))
    alone = finished(reranker.score("what prevents disease", [SENTENCES[2]], "NONE"))[0]
    among = finished(reranker.score("what prevents disease", [*SENTENCES, "a " * 300], "NONE"))[2]
    assert alone == pytest.approx(among, abs=1e-6)


def test_a_rerank_of_remembered_documents_gives_the_same_scores(catalog: Catalog) -> None:
    remembering = Catalog(MODELS, stand_ins=True, token_cache_bytes=10_000_000)
    answer = catalog.answer(BGE)
    wanted = finished(catalog.reranker(answer, Retrieved()).score("what prevents disease", SENTENCES, "NONE"))
    for _ in range(2):
        found = finished(remembering.reranker(answer, Retrieved()).score("what prevents disease", SENTENCES, "NONE"))
        np.testing.assert_array_equal(found, wanted)


def test_late_interaction_puts_the_answer_first(catalog: Catalog, encoder: TextEncoder) -> None:
    answer = catalog.answer(BGE)
    assert answer.label == "pinyon-late-interaction; stand-in-for=bge-reranker-v2-m3"
    found = finished(catalog.reranker(answer, Retrieved(encoder)).score("Disease prevention", SENTENCES[:4], "NONE"))
    assert ((found >= 0) & (found <= 1)).all()
    assert found.argmax() == 2


def test_late_interaction_keeps_the_hosted_limit(catalog: Catalog, encoder: TextEncoder) -> None:
    reranker = catalog.reranker(catalog.answer(BGE), Retrieved(encoder))
    with pytest.raises(TextTooLong, match="position 0 has .* maximum of 1024 tokens for model 'bge-reranker-v2-m3'"):
        finished(reranker.score("disease", ["a " * 1100], "NONE"))
    assert finished(reranker.score("disease", ["a " * 1100, "disease"], "END")).argmax() == 1
    # What stands late in a document still counts: it is read in windows.
    assert finished(reranker.score("disease", ["filler " * 500 + "disease", "filler " * 500], "NONE")).argmax() == 0


def pauses(steps: Steps[Any]) -> tuple[int, Any]:
    """How often steps pause, and their result."""
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return count, end.value
        count += 1


@pytest.mark.parametrize("by", [BGE, "pinyon-late-interaction"])
def test_a_long_rerank_pauses_and_scores_as_its_documents_alone(
    with_cross_encoder: Catalog, encoder: TextEncoder, by: str
) -> None:
    reranker = with_cross_encoder.reranker(Answer(BGE, by), Retrieved(encoder))
    documents = [f"apple{n} " * (20 * n % 190 + 1) for n in range(16)]
    count, scores = pauses(reranker.score("what prevents disease", documents, "END"))
    assert count >= 3, "thousands of tokens"
    alone = [finished(reranker.score("what prevents disease", [text], "END"))[0] for text in documents[::4]]
    np.testing.assert_allclose(scores[::4], alone, atol=1e-5)


def test_reranks_that_take_turns_do_not_disturb_each_other(encoder: TextEncoder, catalog: Catalog) -> None:
    documents = [f"apple{n} " * 40 for n in range(6)]
    answer = catalog.answer(BGE)
    wanted = [finished(catalog.reranker(answer, Retrieved()).score(query, documents, "END")) for query in "ab"]
    # A cache with room for one document only: each request pushes out what the other has cached.
    small = Catalog(MODELS, stand_ins=True, token_cache_bytes=150_000)
    both = {query: small.reranker(answer, Retrieved()).score(query, documents, "END") for query in "ab"}
    scores: dict[str, Any] = {}
    while len(scores) < 2:
        for query in both.keys() - scores.keys():
            try:
                next(both[query])
            except StopIteration as end:
                scores[query] = end.value
    np.testing.assert_allclose([scores["a"], scores["b"]], wanted, atol=1e-3)


def test_a_batch_holds_what_a_step_computes_and_pads_little() -> None:
    from pinyon.inference.backends.transformer.torch_backend import batch_size

    assert batch_size([100] * 30, 1000) == 10
    assert batch_size([100], 10) == 1, "a text is never cut to fit"
    assert batch_size([16, 15, 12, 10, 9, 8, 7, 5], 1000) == 8, "queries stay together"
    assert batch_size([256, 250, 20, 18, 17, 16], 2048) == 2, "short texts are not padded to long ones"


def test_recorded_operations_compute_the_same_numbers_for_every_shape(catalog: Catalog) -> None:
    import torch
    from pinyon.inference.backends.transformer.traced_model import use_trace
    from transformers import AutoModel, AutoTokenizer

    folder = catalog.folder("all-MiniLM-L6-v2")
    assert folder is not None
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain, traced = (AutoModel.from_pretrained(folder).eval() for _ in range(2))
    assert use_trace(traced, tokenizer)
    for texts in ([SENTENCES[0]], SENTENCES, ["a " * 500, "b"]):
        batch = tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            wanted, found = plain(**batch).last_hidden_state, traced(**batch).last_hidden_state
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=1e-5)


def test_an_architecture_whose_operations_may_depend_on_numbers_is_not_recorded() -> None:
    import torch
    from pinyon.inference.backends.transformer.traced_model import use_trace
    from transformers import ModernBertConfig, ModernBertModel

    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = ModernBertModel(ModernBertConfig(vocab_size=40, pad_token_id=0, **size))
    assert not use_trace(model, None)
    assert not use_trace(torch.nn.Linear(2, 2), None)
