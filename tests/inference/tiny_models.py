"""Tiny models with random weights, in the layouts that sentence-transformers and PyLate publish.

Real formats, real loading paths: they show that models of a kind load and compute, not that they are good.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
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
        "bert": lambda: BertModel(BertConfig(**own, max_position_embeddings=POSITIONS, initializer_range=0.5)),
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
    makers[kind]().save_pretrained(folder)
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
