"""Reads how a model is computed from the files in its folder, as sentence-transformers and transformers write them.

The files are modules.json, config_sentence_transformers.json, sentence_bert_config.json, config.json, the tokenizer's
settings, and the config.json of each module. They are read as data, without torch. Code beside them is never run.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec

from pinyon import decoding
from pinyon.domain import Metric
from pinyon.errors import FailedPrecondition

Method = Literal["embedding", "cross-encoder", "late-interaction"]
"""embedding: a vector for a text. cross-encoder: a score for a pair. late-interaction: a vector for each token."""
UNBOUNDED = 32_768
"""Tokens that are read of a text if the model itself has no limit."""
AFTER_PADDING = {"camembert", "longformer", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"}
"""Kinds of models that count positions from 2 on, because the first two belong to padding."""
METRICS: dict[str, Metric] = {"cosine": "cosine", "dot": "dotproduct", "euclidean": "euclidean"}
"""Our metric for each similarity function of sentence-transformers. It has "manhattan" too, which we do not offer."""
LEGACY_POOLING = {"lasttoken": "lasttoken", "cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens"} | {
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean": "weightedmean_tokens",
}
"""For each pooling, the end of its key pooling_mode_... in older folders."""
PYLATE_DENSE = "pylate.models.Dense.Dense"
"""The projection in folders of PyLate. sentence-transformers reads it with a module of its own."""
READ_BY: dict[Method, set[str]] = {
    "embedding": {"Transformer", "StaticEmbedding", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout"},
    "cross-encoder": {"Transformer", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout", "LogitScore"},
    "late-interaction": {"Transformer", "Dense", "Normalize", "MultiVectorMask", "HierarchicalTokenPooling"},
}
"""The modules of sentence-transformers that we compute, by method."""
WITH_WEIGHTS = {"Transformer", "StaticEmbedding", "Dense", "LayerNorm"}
"""The modules that have weights. The others only have settings."""


class Module(msgspec.Struct, frozen=True):
    """A step of the computation, as modules.json lists it. type: the full name of its class. path: its folder."""

    type: str
    path: str

    @property
    def name(self) -> str:
        """The name of its class."""
        return self.type.rpartition(".")[2]


class ModelConfig(msgspec.Struct, frozen=True):
    """How a model is computed.

    max_tokens: tokens that it reads of a text, or of a pair (cross-encoder), special tokens included. most_tokens: what
    max_tokens may be raised to. dimension: length of its vectors, 0 for a reranker. dimensions: further lengths,
    to which its vectors may be cut. query_prefix, passage_prefix: its prompts; None for a reranker, which puts them
    before its texts itself. pooling: empty if it is not a transformer. normalized: whether its vectors have length 1.
    metric: the one that it was trained for.
    """

    method: Method
    max_tokens: int
    most_tokens: int
    dimension: int = 0
    dimensions: tuple[int, ...] = ()
    query_prefix: str | None = None
    passage_prefix: str | None = None
    pooling: str = ""
    normalized: bool = False
    metric: Metric = "cosine"


def read(folder: Path) -> ModelConfig:
    """How the model in a folder is computed. Raises FailedPrecondition if it is not a model that Pinyon computes."""
    refuse_code(folder)
    modules = modules_of(folder)
    config = _json(folder, "config.json") or _json(_transformer(folder), "config.json")
    sentence = _json(folder, "config_sentence_transformers.json")
    if not config and not modules:
        raise FailedPrecondition(f"The model in {folder} has neither a config.json nor a modules.json")
    method = _method(folder, config, sentence, modules)
    for module in modules:
        if module.name not in READ_BY[method]:
            raise FailedPrecondition(
                f"The model in {folder} has the module {module.name}; for this kind of model Pinyon computes "
                f"{', '.join(sorted(READ_BY[method]))}"
            )
    max_tokens, most_tokens = _limits(folder, config, sentence, modules, method)
    if sentence.get("model_type") == "MultiVectorEncoder" and not any(module.name == "Normalize" for module in modules):
        raise FailedPrecondition(f"The model in {folder} does not give its tokens' vectors length 1")
    if method != "embedding":
        return ModelConfig(method, max_tokens, most_tokens)
    for key in ("processing_kwargs", "query_length", "document_length", "query_expansion"):
        if _sentence_config(folder).get(key):
            raise FailedPrecondition(
                f"The model in {folder} has {key} in its sentence_bert_config.json, which Pinyon does not compute"
            )
    dimension = _dimension(folder, config, modules)
    prompts = {key: str(value or "") for key, value in _table(sentence, "prompts").items()}
    pooling = _pooling(folder, modules)
    if not pooling[1] and any(prompts.get(key) for key in ("query", "document")):
        raise FailedPrecondition(f"The model in {folder} pools without its prompts, which Pinyon does not do")
    similarity = str(sentence.get("similarity_fn_name") or "cosine")
    if similarity not in METRICS:
        raise FailedPrecondition(
            f"The model in {folder} compares by {similarity}; Pinyon compares by {', '.join(METRICS)}"
        )
    nested = _list(sentence, "matryoshka_dimensions") or _list(config, "matryoshka_dimensions")
    shorter = {count for each in nested if 0 < (count := _count(each)) < dimension}
    shortened = sentence.get("truncate_dim")
    default = min(shortened, dimension) if isinstance(shortened, int) and shortened > 0 else dimension
    return ModelConfig(
        method,
        max_tokens,
        most_tokens,
        default,
        tuple(sorted((shorter | {dimension}) - {default})),
        prompts.get("query", ""),
        prompts.get("document", ""),  # sentence-transformers looks for "passage" only where it has no "document"
        pooling[0],
        any(module.name == "Normalize" for module in modules),
        METRICS[similarity],
    )


def refuse_code(folder: Path) -> None:
    """Raises FailedPrecondition if the model in a folder asks for code that lies beside its weights."""
    for place in (folder, _transformer(folder)):
        for file in ("config.json", "tokenizer_config.json", "processor_config.json"):
            if _json(place, file).get("auto_map"):
                raise FailedPrecondition(
                    f"The model in {folder} asks for code of its own (auto_map in {file}), which Pinyon never runs"
                )
    for module in modules_of(folder):
        if not module.type.startswith("sentence_transformers.") and module.type != PYLATE_DENSE:
            raise FailedPrecondition(
                f"The model in {folder} asks for code of its own ({module.type} in modules.json), which Pinyon never "
                "runs"
            )


def modules_of(folder: Path) -> list[Module]:
    """The steps that modules.json lists; empty if there is no such file. Raises FailedPrecondition if it is wrong."""
    file = folder / "modules.json"
    try:
        modules = decoding.decode(file.read_bytes(), list[Module])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise FailedPrecondition(f"{file} cannot be read: {error}") from error
    for module in modules:
        if Path(module.path).is_absolute() or ".." in Path(module.path).parts:
            raise FailedPrecondition(f"{file} names the folder {module.path!r}, which is not inside of it")
    return modules


def _sentence_config(folder: Path) -> dict[str, Any]:
    """What sentence_bert_config.json, or an older file of that kind, says of the transformer; empty without one."""
    place = _transformer(folder)
    files = sorted(place.glob("sentence_*_config.json"))
    return _json(place, files[0].name) if files else {}


def _transformer(folder: Path) -> Path:
    """The folder of the transformer: that of the model, or one inside of it."""
    return folder / next((module.path for module in modules_of(folder) if module.name == "Transformer"), "")


def weights_files(folder: Path) -> list[str]:
    """The relative names of the files that hold weights, sorted; empty if one is missing.

    They are model.safetensors or its shards, and the model.safetensors of modules in folders of their own. Other
    formats are not read, because they can hold code. Raises FailedPrecondition if a list of shards cannot be read.
    """
    names = set()
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names |= {str(name) for name in _table(_json(folder, index.name), "weight_map").values()}
    elif (folder / "model.safetensors").is_file():
        names.add("model.safetensors")
    for module in modules_of(folder):
        if module.path and (folder / module.path / "model.safetensors").is_file():
            names.add(f"{module.path}/model.safetensors")
        elif module.path and module.name in WITH_WEIGHTS:
            return []
    return sorted(names) if all((folder / name).is_file() for name in names) else []


def _method(folder: Path, config: dict[str, Any], sentence: dict[str, Any], modules: list[Module]) -> Method:
    architectures = [str(each) for each in _list(config, "architectures")]
    kind = sentence.get("model_type")
    if kind in ("ColBERT", "MultiVectorEncoder") or "HF_ColBERT" in architectures:
        return "late-interaction"
    classifies = any(each.endswith("ForSequenceClassification") for each in architectures)
    if kind == "CrossEncoder" or (classifies and not modules):
        # Two classes are the default of transformers, which does not save what is the default.
        labels = len(_table(config, "id2label")) or config.get("num_labels", 2) if classifies else 1
        heads = [_json(folder / module.path, "config.json") for module in modules if module.name == "Dense"]
        if labels != 1 or (heads and heads[-1].get("out_features") != 1):
            raise FailedPrecondition(
                f"The model in {folder} gives several scores for a pair; only a cross-encoder with one score reranks"
            )
        return "cross-encoder"
    if not modules and any(each.endswith("ForCausalLM") for each in architectures):
        raise FailedPrecondition(
            f"The model in {folder} is a language model without modules.json, which does not say whether it embeds or "
            "reranks"
        )
    if kind in (None, "SentenceTransformer"):
        return "embedding"
    raise FailedPrecondition(f"The model in {folder} is a {kind}; Pinyon computes embedding models and rerankers")


def _limits(
    folder: Path, config: dict[str, Any], sentence: dict[str, Any], modules: list[Module], method: Method
) -> tuple[int, int]:
    """Tokens that the model reads, and what this may be raised to."""
    if any(module.name == "StaticEmbedding" for module in modules):
        return UNBOUNDED, UNBOUNDED
    text = _table(config, "text_config") or config
    positions = _count(text.get("max_position_embeddings"))
    if positions and text.get("model_type") in AFTER_PADDING:
        positions -= 2
    most = positions or UNBOUNDED
    own = _sentence_config(folder)
    limit = _count(own.get("max_seq_length")) or _count(_table(own, "processor_kwargs").get("model_max_length"))
    if not limit:
        limit = _count(_json(_transformer(folder), "tokenizer_config.json").get("model_max_length"))
    limit = min(limit or most, most)
    if method == "late-interaction":
        stanford = _json(folder, "artifact.metadata").get("doc_maxlen")
        of_documents = own.get("document_length") or sentence.get("document_length") or stanford
        limit = min(_count(of_documents) or limit, limit)
    return limit, most


def _dimension(folder: Path, config: dict[str, Any], modules: list[Module]) -> int:
    """The length of the vectors; 0 if the files do not say it."""
    for module in reversed(modules):
        own = _json(folder / module.path, "config.json") if module.path else {}
        if module.name == "Dense":
            return _count(own.get("out_features"))
        if module.name == "Pooling":
            width = _count(own.get("embedding_dimension") or own.get("word_embedding_dimension"))
            return width * len(_modes(own))
        if module.name == "StaticEmbedding":
            return _columns(folder / module.path / "model.safetensors")
    text = _table(config, "text_config") or config
    return _count(config.get("hidden_size") or text.get("hidden_size"))


def _columns(file: Path) -> int:
    """The length of the rows of the one matrix in a safetensors file; 0 if it cannot be read."""
    try:
        with file.open("rb") as stream:
            header = stream.read(int.from_bytes(stream.read(8), "little"))
        tensors = decoding.decode(header, dict[str, Any])
    except (OSError, OverflowError, ValueError, msgspec.MsgspecError):
        return 0
    matrix = _table(tensors, "embedding.weight") or _table(tensors, "embeddings")
    return _count((_list(matrix, "shape") or [0])[-1])


def _pooling(folder: Path, modules: list[Module]) -> tuple[str, bool]:
    """The pooling, and whether prompts take part in it."""
    for module in modules:
        if module.name == "Pooling":
            own = _json(folder / module.path, "config.json")
            return "+".join(_modes(own)), own.get("include_prompt") is not False
    if modules:
        return "", True
    return "mean", True  # what sentence-transformers adds to a bare transformer


def _modes(own: dict[str, Any]) -> list[str]:
    """The poolings that the config.json of a pooling names. Several are concatenated."""
    modes = own.get("pooling_mode")
    modes = [modes] if isinstance(modes, str) else _list(own, "pooling_mode")
    if modes:
        return [str(mode) for mode in modes]
    return [mode for mode, key in LEGACY_POOLING.items() if own.get(f"pooling_mode_{key}")] or ["mean"]


def _count(value: object) -> int:
    """A positive whole number that a file gives; 0 for anything else, and for the huge ones that mean "no limit"."""
    return value if type(value) is int and 0 < value < 10**9 else 0


def _table(values: dict[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _list(values: dict[str, Any], key: str) -> list[Any]:
    value = values.get(key)
    return value if isinstance(value, list) else []


def _json(folder: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file. Raises FailedPrecondition if it cannot be read."""
    try:
        return decoding.decode((folder / name).read_bytes(), dict[str, Any])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise FailedPrecondition(f"The model in {folder} has no readable {name}: {error}") from error
