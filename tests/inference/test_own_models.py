"""Any sentence-transformers model: what Pinyon computes is what sentence-transformers computes on the same folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pinyon.domain import InputType
from pinyon.errors import FailedPrecondition, InvalidArgument, TextTooLong
from pinyon.inference import bench
from pinyon.inference.backend import Embedder, Retrieved
from pinyon.inference.catalog import Catalog
from pinyon.inference.steps import finished
from pinyon.settings import ModelSettings, OwnModel, Settings
from sentence_transformers import SentenceTransformer

from tests.inference import tiny_models
from tests.inference.tiny_cross_encoder import SENTENCES
from tests.running import MODELS

TEXTS = [*SENTENCES, "disease", "apples " * 200]


@pytest.fixture(scope="session")
def embedding_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes each tiny embedding model once."""
    made: dict[str, Path] = {}

    def make(kind: str, **more: Any) -> Path:
        key = kind + json.dumps(more)
        if key not in made:
            made[key] = tiny_models.embedding_model(tmp_path_factory.mktemp("own") / "model", kind, **more)
        return made[key]

    return make


def own(folder: Path, **changes: Any) -> Catalog:
    return Catalog(MODELS, own={"mine": OwnModel(str(folder), **changes)})


def embedder(catalog: Catalog, dimension: int | None = None) -> Embedder:
    return catalog.embedder(catalog.fingerprint("mine", dimension))


def reference(folder: Path, input_type: InputType, **changes: Any) -> Any:
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, **changes)
    return (model.encode_query if input_type == "query" else model.encode_document)(TEXTS)


@pytest.mark.parametrize("input_type", ["query", "passage"])
@pytest.mark.parametrize("kind", list(tiny_models.POOLINGS))
def test_vectors_are_those_of_sentence_transformers(
    embedding_model: Callable[..., Path], kind: str, input_type: InputType
) -> None:
    folder = embedding_model(kind)
    found = embedder(own(folder)).embed(TEXTS, input_type, "END")
    np.testing.assert_allclose(found.vectors, reference(folder, input_type), atol=2e-6)
    assert found.truncated == [False] * 6 + [True]
    assert found.tokens[-1] == 128


def test_prompts_pooling_and_limits_are_read_from_the_folder(embedding_model: Callable[..., Path]) -> None:
    for kind, pooling in tiny_models.POOLINGS.items():
        catalog = own(embedding_model(kind))
        entry = catalog.entry("mine", "embed")
        assert (entry.query_prefix, entry.passage_prefix) == (tiny_models.QUERY, tiny_models.DOCUMENT)
        assert (entry.pooling, entry.normalize, entry.dimension, entry.max_tokens) == (pooling, True, 32, 128)
        assert entry.metrics == ("cosine", "dotproduct", "euclidean")
        printed = catalog.fingerprint("mine")
        assert (printed.pooling, printed.query_prefix) == (f"{pooling}+normalize", tiny_models.QUERY)
        assert catalog.answer("mine").label == f"mine; own-weights=sha256:{printed.version[:12]}"


def test_a_projection_counts_in_the_vectors_and_in_the_version(embedding_model: Callable[..., Path]) -> None:
    folder = embedding_model("bert", dense=16, normalize=False, similarity_fn_name="dot")
    catalog = own(folder)
    assert catalog.entry("mine").dimension == 16
    assert catalog.entry("mine").metrics[0] == "dotproduct"
    found = embedder(catalog).embed(TEXTS, "query", "END")
    np.testing.assert_allclose(found.vectors, reference(folder, "query"), atol=2e-6)
    assert catalog.fingerprint("mine").version != own(embedding_model("bert")).fingerprint("mine").version


def test_static_embeddings_are_those_of_sentence_transformers(tmp_path: Path) -> None:
    folder = tiny_models.static_model(tmp_path / "static")
    catalog = own(folder, query_prefix="query: ")
    found = embedder(catalog).embed([*TEXTS, "?"], "passage", "END")
    np.testing.assert_allclose(found.vectors[:-1], reference(folder, "passage"), atol=1e-6)
    assert found.tokens[-3:] == [1, 200, 1]
    model = SentenceTransformer(str(folder), device="cpu", prompts={"query": "query: "})
    query = embedder(catalog).embed(TEXTS, "query", "END").vectors
    np.testing.assert_allclose(query, model.encode_query(TEXTS), atol=1e-6)
    late = catalog.reranker(catalog.answer("pinyon-late-interaction"), Retrieved(embedder(catalog).encoder))
    assert finished(late.score("disease", ["apples", "disease"], "END")).argmax() == 1


def test_a_bare_transformer_gets_the_pooling_that_sentence_transformers_gives_it(tmp_path: Path) -> None:
    folder = tiny_models.transformer(tmp_path / "bare", "bert")
    catalog = own(folder)
    assert catalog.entry("mine").pooling == "mean"
    found = embedder(catalog).embed(TEXTS, "passage", "END")
    np.testing.assert_allclose(found.vectors, reference(folder, "passage"), atol=2e-6)


def test_each_property_can_be_set(embedding_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = embedding_model("bert")
    changes: dict[str, Any] = {"pooling": "mean", "normalize": False, "max_tokens": 160, "metric": "euclidean"}
    catalog = own(folder, query_prefix="ask: ", passage_prefix="", **changes)
    model = SentenceTransformer(str(folder), device="cpu", prompts={"query": "ask: ", "document": ""})
    model[1].pooling_mode = "mean"
    del model[2]
    model.max_seq_length = 160
    for input_type, encode in (("query", model.encode_query), ("passage", model.encode_document)):
        found = embedder(catalog).embed(TEXTS, input_type, "END")  # type: ignore[arg-type]
        np.testing.assert_allclose(found.vectors, encode(TEXTS), atol=5e-6)
        assert found.tokens[-1] == 160
    assert catalog.entry("mine").metrics[0] == "euclidean"
    assert catalog.fingerprint("mine").pooling == "mean"
    with pytest.raises(FailedPrecondition, match="`max_tokens` is 193, but it reads at most 192"):
        own(folder, max_tokens=193)


def test_vectors_can_be_cut_to_the_lengths_of_the_model(embedding_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = tiny_models.embedding_model(tmp_path / "nested", "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "matryoshka_dimensions": [8, 16, 32]}))
    catalog = own(folder)
    assert catalog.entry("mine").dimensions == (8, 16)
    found = embedder(catalog, 8).embed(TEXTS, "query", "END").vectors
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    wanted = model.encode_query(TEXTS, truncate_dim=8, normalize_embeddings=True)
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    with pytest.raises(InvalidArgument, match="has dimension 32 or 8 or 16, not 9"):
        catalog.fingerprint("mine", 9)
    assert own(embedding_model("bert"), dimension=4).fingerprint("mine").dimension == 4


def test_none_refuses_a_text_over_the_limit_of_the_model(embedding_model: Callable[..., Path]) -> None:
    with pytest.raises(TextTooLong, match="position 6 has 204 tokens, which exceeds the maximum of 128 tokens"):
        embedder(own(embedding_model("bert"))).embed(TEXTS, "query", "NONE")


@pytest.mark.parametrize("kind", ["bf16", "int8", "openvino"])
def test_other_precisions_are_close_to_fp32(embedding_model: Callable[..., Path], kind: Any) -> None:
    catalog = own(embedding_model("modernbert"))
    exact, found = (catalog.bare("mine", each).encode(TEXTS, 128).vectors for each in ("fp32", kind))
    assert (exact * found).sum(axis=1).min() > 0.999
    assert not np.array_equal(exact, found)


def test_a_precision_that_does_not_compute_a_model_is_refused(
    embedding_model: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(FailedPrecondition, match="OpenVINO does not compute this model"):
        own(embedding_model("qwen")).bare("mine", "openvino")
    with pytest.raises(FailedPrecondition, match="are computed in fp32 only"):
        own(tiny_models.static_model(tmp_path / "static")).bare("mine", "bf16")


@pytest.mark.slow
def test_bench_leaves_out_what_does_not_compute_a_model(tmp_path: Path) -> None:
    folder = tiny_models.static_model(tmp_path / "static")
    settings = Settings(models=ModelSettings(own={"mine": OwnModel(str(folder))}))
    left_out: list[str] = []
    measured = list(bench.measure(settings, "mine", TEXTS, failed=lambda kind, reason: left_out.append(kind)))
    assert [one.precision for one in measured] == ["fp32"]
    assert left_out == ["bf16", "int8", "openvino", "openvino-bf16"]


@pytest.mark.parametrize("file", ["config.json", "modules.json"])
def test_a_model_that_asks_for_code_is_refused(tmp_path: Path, file: str) -> None:
    folder = tiny_models.embedding_model(tmp_path / "model", "bert")
    values = json.loads((folder / file).read_text())
    if file == "config.json":
        values["auto_map"] = {"AutoModel": "modeling.Model"}
    else:
        values[0]["type"] = "modeling.Transformer"
    (folder / file).write_text(json.dumps(values))
    with pytest.raises(FailedPrecondition, match="'mine' cannot be used: .* code of its own .* never runs"):
        own(folder)


def test_weights_in_formats_that_can_hold_code_are_refused(tmp_path: Path) -> None:
    folder = tiny_models.embedding_model(tmp_path / "model", "bert", dense=16)
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(FailedPrecondition, match="is not a folder of weights in safetensors"):
        own(folder)


@pytest.mark.parametrize(
    ("file", "change", "wrong"),
    [
        ("config_sentence_transformers.json", {"similarity_fn_name": "manhattan"}, "compares by manhattan"),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "is a SparseEncoder"),
        ("1_Pooling/config.json", {"include_prompt": False}, "pools without its prompts"),
        ("sentence_bert_config.json", {"query_length": 16}, "has query_length in its sentence_bert_config.json"),
    ],
)
def test_what_pinyon_does_not_compute_is_refused(tmp_path: Path, file: str, change: Any, wrong: str) -> None:
    folder = tiny_models.embedding_model(tmp_path / "model", "bert")
    (folder / file).write_text(json.dumps({**json.loads((folder / file).read_text()), **change}))
    with pytest.raises(FailedPrecondition, match=wrong):
        own(folder)


def test_a_language_model_that_does_not_say_what_it_is_for_is_refused(tmp_path: Path) -> None:
    folder = tiny_models.transformer(tmp_path / "bare", "qwen")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["Qwen3ForCausalLM"]}))
    with pytest.raises(FailedPrecondition, match="language model without modules.json"):
        own(folder)


def test_a_name_of_the_catalogue_is_not_ones_own(embedding_model: Callable[..., Path]) -> None:
    with pytest.raises(FailedPrecondition, match="has the name of a model of the catalogue"):
        Catalog(MODELS, own={"bge-reranker-v2-m3": OwnModel(str(embedding_model("bert")))})


def test_an_index_is_not_searched_with_another_pooling(embedding_model: Callable[..., Path]) -> None:
    folder = embedding_model("bert")
    printed = own(folder).fingerprint("mine")
    with pytest.raises(FailedPrecondition, match=r"with the pooling 'cls\+normalize', which is 'mean' now"):
        own(folder, pooling="mean", normalize=False).embedder(printed)


def test_vectors_that_the_model_cuts_by_itself_are_cut_by_pinyon(embedding_model: Callable[..., Path]) -> None:
    folder = embedding_model("bert", truncate_dim=8)
    catalog = own(folder)
    assert catalog.fingerprint("mine").dimension == 8
    found = embedder(catalog).embed(TEXTS, "query", "END")
    whole = reference(folder, "query", truncate_dim=32)[:, :8]
    np.testing.assert_allclose(found.vectors, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=5e-6)


def test_the_source_of_the_settings_counts_and_not_what_was_pulled_before(
    embedding_model: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(embedding_model("mpnet"), tmp_path / "weights" / "mine")
    shutil.copy(MODELS / "manifest.toml", tmp_path)
    chosen = embedding_model("bert")
    catalog = Catalog(tmp_path, own={"mine": OwnModel(str(chosen))})
    assert catalog.folder("mine") == chosen


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "architectures", 5),
        ("config.json", "matryoshka_dimensions", 5),
        ("config.json", "matryoshka_dimensions", [8, True]),
        ("1_Pooling/config.json", "pooling_mode", 3),
    ],
)
def test_nonsense_in_the_files_of_a_model_is_no_traceback(
    embedding_model: Callable[..., Path], tmp_path: Path, file: str, key: str, value: Any
) -> None:
    folder = Path(shutil.copytree(embedding_model("bert"), tmp_path / "model"))
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**config, key: value}))
    entry = own(folder).entries["mine"]
    assert all(type(each) is int for each in entry.dimensions)


def test_a_module_without_its_weights_is_no_model(embedding_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(embedding_model("bert", dense=16), tmp_path / "model"))
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(FailedPrecondition, match="is not a folder of weights in safetensors"):
        own(folder).answer("mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "sigmoid"}, r"`activation` is set, but this kind of model \(embedding\) does not have it"),
        ({"dimension": 1_000}, "Its vectors have 32 numbers, which is fewer than the 1000"),
    ],
)
def test_a_setting_that_a_model_does_not_have_is_said(
    embedding_model: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    folder = embedding_model("bert")
    with pytest.raises(FailedPrecondition, match=message):
        own(folder, **changes).answer("mine")
