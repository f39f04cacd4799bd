"""Tiny models with random weights, in the layouts that sentence-transformers and PyLate publish.

Real formats, real loading paths: they show that models of a kind load and compute, not that they are good.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, Pooling, StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    XLMRobertaConfig,
    XLMRobertaModel,
)

WORDS = [
    "a",
    "of",
    "the",
    "in",
    "it",
    "and",
    "what",
    "prevents",
    "disease",
    "apples",
    "apple",
    "fiber",
    "rich",
    "vitamin",
    "gut",
    "health",
    "query",
    "passage",
    ":",
    "star",
]
QUERY, DOCUMENT = "query: ", "passage: "
WIDTH = 32
LIMIT, POSITIONS = 128, 192
"""Tokens that the models read, and could read."""
SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def tokenizer(
    first: str, last: str, pad: str, unknown: str, limit: int, side: str = "right"
) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words and single letters, with these special tokens. first may be empty."""
    special = [token for token in dict.fromkeys([pad, first, last, unknown, "<mask>"]) if token]
    letters = "abcdefghijklmnopqrstuvwxyz.,?0123456789"
    pieces = [*special, *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))  # type: ignore[call-arg]
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)  # type: ignore[assignment]
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    begin = f"{first} " if first else ""
    inner.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single=f"{begin}$A {last}",
        pair=f"{begin}$A {last} $B {last}",
        special_tokens=[(token, vocabulary[token]) for token in (first, last) if token],
    )
    names = {"cls_token": first, "sep_token": last, "eos_token": last, "pad_token": pad, "unk_token": unknown}
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        mask_token="<mask>",
        model_max_length=limit,
        padding_side=side,
        **{name: token for name, token in names.items() if token},
    )


def transformer(folder: Path, kind: str) -> Path:
    """A bare transformer of a kind in a folder; the folder."""
    torch.manual_seed(0)
    words = tokenizer(
        "" if kind == "qwen" else "<s>", "</s>", "<pad>", "<unk>", LIMIT, "left" if kind == "qwen" else "right"
    )
    own: dict[str, Any] = {"vocab_size": len(words), "pad_token_id": words.pad_token_id, **SIZES}
    makers: dict[str, Callable[[], Any]] = {
        "bert": lambda: BertModel(BertConfig(**own, max_position_embeddings=POSITIONS)),
        "xlm-roberta": lambda: XLMRobertaModel(
            XLMRobertaConfig(**{**own, "pad_token_id": 1}, max_position_embeddings=POSITIONS + 2, type_vocab_size=1)
        ),
        "mpnet": lambda: MPNetModel(MPNetConfig(**{**own, "pad_token_id": 1}, max_position_embeddings=POSITIONS + 2)),
        "modernbert": lambda: ModernBertModel(
            ModernBertConfig(
                **own,
                max_position_embeddings=POSITIONS,
                local_attention=16,
                global_attn_every_n_layers=2,
                reference_compile=False,
            )
        ),
        "qwen": lambda: Qwen3Model(
            Qwen3Config(
                **own,
                num_key_value_heads=1,
                head_dim=16,
                max_position_embeddings=POSITIONS,
                eos_token_id=words.eos_token_id,
            )
        ),
    }
    model = makers[kind]()
    if kind == "modernbert":  # whose own initial weights hardly look at other tokens
        for name, weights in model.named_parameters():
            weights.data *= 4 if weights.ndim == 2 and "embeddings" not in name else 1
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


POOLINGS = {"bert": "cls", "xlm-roberta": "mean", "mpnet": "mean", "modernbert": "cls", "qwen": "lasttoken"}
"""The kinds of transformers, and the pooling of published embedding models of that kind."""


def embedding_model(folder: Path, kind: str, dense: int = 0, normalize: bool = True, **more: Any) -> Path:
    """An embedding model with prompts, as sentence-transformers saves it; the folder. more: for SentenceTransformer."""
    bare = transformer(folder.with_name(folder.name + "-bare"), kind)
    modules: list[Any] = [Transformer(str(bare)), Pooling(WIDTH, POOLINGS[kind])]  # type: ignore[arg-type]
    if dense:
        modules.append(Dense(WIDTH, dense))
    if normalize:
        modules.append(Normalize())
    prompts = {"query": QUERY, "document": DOCUMENT}
    SentenceTransformer(modules=modules, device="cpu", **{"prompts": prompts, **more}).save(str(folder))
    return folder


def static_model(folder: Path) -> Path:
    """Static embeddings, as sentence-transformers saves them; the folder."""
    torch.manual_seed(0)
    words = tokenizer("<s>", "</s>", "<pad>", "<unk>", LIMIT)
    static = StaticEmbedding(words._tokenizer, embedding_dim=WIDTH)
    SentenceTransformer(modules=[static], device="cpu").save(str(folder))
    return folder


def cross_encoder(folder: Path, kind: str, **more: Any) -> Path:
    """A cross-encoder; the folder. more: for CrossEncoder, as it saves itself.

    classifier: a transformer with a head for one class, without files of sentence-transformers. modular: a transformer
    with pooling and projections as modules of their own, as ettin-reranker is published.
    """
    torch.manual_seed(0)
    if kind == "classifier":
        words = tokenizer("<s>", "</s>", "<pad>", "<unk>", LIMIT)
        config = BertConfig(vocab_size=len(words), num_labels=1, max_position_embeddings=POSITIONS, **SIZES)
        BertForSequenceClassification(config).save_pretrained(folder)
        words.save_pretrained(folder)
        return folder
    bare = transformer(folder.with_name(folder.name + "-bare"), "modernbert")
    modules: list[Any] = [
        Transformer(str(bare)),
        Pooling(WIDTH, "cls"),
        Dense(WIDTH, WIDTH, bias=False, activation_function=torch.nn.GELU()),
        LayerNorm(WIDTH),
        Dense(WIDTH, 1, activation_function=torch.nn.Identity(), module_output_name="scores"),
    ]
    modules[-1].linear.weight.data *= 8  # so that scores are not within 0..1
    CrossEncoder(modules=modules, device="cpu", **more).save_pretrained(str(folder))
    return folder


def late_interaction_model(folder: Path, layout: str) -> Path:
    """A late-interaction model; the folder. layout: of sentence-transformers, pylate or stanford."""
    torch.manual_seed(0)
    bare = transformer(folder.with_name(folder.name + "-bare"), "bert")
    dense = Dense(WIDTH, 8, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")
    if layout == "stanford":
        folder.mkdir()
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            (folder / file).write_bytes((bare / file).read_bytes())
        _edit(folder / "config.json", architectures=["HF_ColBERT"])
        encoder = {f"bert.{name}": value for name, value in load_file(bare / "model.safetensors").items()}
        save_file(
            {**encoder, "linear.weight": dense.linear.weight.detach()}, folder / "model.safetensors", {"format": "pt"}
        )
        settings = {"query_token_id": "query", "doc_token_id": "passage", "query_maxlen": 16, "doc_maxlen": 64}
        (folder / "artifact.metadata").write_text(json.dumps(settings))
        return folder
    if layout == "pylate":
        SentenceTransformer(modules=[Transformer(str(bare)), Pooling(WIDTH), dense], device="cpu").save(str(folder))
        modules = json.loads((folder / "modules.json").read_text())
        modules[2]["type"] = "pylate.models.Dense.Dense"
        (folder / "modules.json").write_text(json.dumps([modules[0], modules[2]]))
        own = {"query_prefix": QUERY, "document_prefix": DOCUMENT, "query_length": 16, "document_length": 64}
        _edit(folder / "config_sentence_transformers.json", model_type="ColBERT", **own)
        return folder
    backbone = Transformer(str(bare), document_length=64, query_length=32)
    ends: list[Any] = [
        dense,
        MultiVectorMask(skiplist_words=[".", ","]),
        Normalize(module_input_name="token_embeddings"),
    ]
    prompts = {"query": QUERY, "document": DOCUMENT}
    MultiVectorEncoder(modules=[backbone, *ends], prompts=prompts, device="cpu").save_pretrained(str(folder))
    return folder


def _edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
