"""A TextEncoder over a file of 4-bit weights, computed by torch or OpenVINO like any other BERT.

The matrices of the layers are unpacked to float32. The embeddings of the vocabulary, which are four fifths of the
weights of a multilingual model, stay integers: 102 MB instead of 384 MB for multilingual-e5-small.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from pinyon.inference.backends.transformer.torch_backend import FIRST_RATE, TorchEncoder, computed
from pinyon.inference.precision import Precision
from pinyon.inference.quantized.q4_file import BLOCK, Blocks, Q4File, read
from pinyon.inference.quantized.unigram import unigram_tokenizer
from pinyon.inference.steps import Pace

LAYERS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
"""The parts of a layer: their names in the file, and in transformers."""


class QuantizedEncoder(TorchEncoder):
    """A TextEncoder with mean pooling and vectors of length 1. Raises FailedPrecondition for a damaged file."""

    def __init__(self, file: Path, precision: Precision = "fp32") -> None:
        content = read(file)
        self._tokenizer = _tokenizer(content)
        self._model, self._computed = computed(MeanPooled(_bert(content)).eval(), self._tokenizer, precision)
        self.dimension, self.max_tokens = content.sizes.hidden, content.sizes.positions
        self._pace = Pace(FIRST_RATE)


class MeanPooled(torch.nn.Module):  # type: ignore[misc]
    """A BERT model with the outputs of a sentence-transformers model."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.transformers_model = bert

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.transformers_model.device

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """features: what the tokenizer makes. The vectors of the tokens, and of the texts, whose length is 1."""
        tokens = self.transformers_model(**features).last_hidden_state
        mask = features["attention_mask"].unsqueeze(-1).to(tokens.dtype)
        mean = (tokens * mask).sum(1) / mask.sum(1)
        return {"token_embeddings": tokens, "sentence_embedding": torch.nn.functional.normalize(mean.float(), dim=-1)}


class BlockEmbedding(torch.nn.Module):  # type: ignore[misc]
    """Looks up rows of a matrix in blocks, and unpacks only these."""

    integers: torch.Tensor
    scales: torch.Tensor

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self.register_buffer("integers", torch.from_numpy(blocks.integers), persistent=False)
        self.register_buffer("scales", torch.from_numpy(blocks.scales), persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """ids: int64 [texts, tokens]. float32 [texts, tokens, columns]."""
        lookup = torch.nn.functional.embedding
        blocks = lookup(ids, self.integers).float().unflatten(-1, (-1, BLOCK))
        return (blocks * lookup(ids, self.scales).float().unsqueeze(-1)).flatten(-2)


def _tokenizer(content: Q4File) -> PreTrainedTokenizerFast:
    vocabulary = content.vocabulary
    names = {"bos": vocabulary.bos, "eos": vocabulary.eos, "pad": vocabulary.pad, "unk": vocabulary.unknown}
    unigram: Any = unigram_tokenizer(vocabulary)
    # transformers copies the tokenizer, which takes half a second. Nobody else has this one, so it can be used itself.
    unigram.__deepcopy__ = lambda _: unigram
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=unigram,
        model_max_length=content.sizes.positions,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": vocabulary.pieces[place][0] for name, place in names.items()},
    )
    del unigram.__deepcopy__  # it refers to the tokenizer, which would never be freed
    return tokenizer


def _bert(content: Q4File) -> BertModel:
    sizes = content.sizes
    config = BertConfig(
        vocab_size=1,  # the embeddings of the vocabulary are replaced below
        hidden_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.feed_forward,
        max_position_embeddings=sizes.positions,
        type_vocab_size=sizes.types,
        layer_norm_eps=content.epsilon,
        pad_token_id=0,
    )
    bert = BertModel(config, add_pooling_layer=False)
    bert.embeddings.word_embeddings = BlockEmbedding(content.matrices["emb.word"])
    bert.load_state_dict(_parameters(content))
    return bert


def _parameters(content: Q4File) -> dict[str, Any]:
    """The parameters by their names in transformers, without the embeddings of the vocabulary."""
    sizes, vectors = content.sizes, content.vectors
    parameters = {
        "embeddings.position_embeddings.weight": vectors["emb.pos"].reshape(-1, sizes.hidden),
        "embeddings.token_type_embeddings.weight": vectors["emb.type"].reshape(-1, sizes.hidden),
        "embeddings.LayerNorm.weight": vectors["emb.ln.w"],
        "embeddings.LayerNorm.bias": vectors["emb.ln.b"],
    }
    for layer in range(sizes.layers):
        for name, known in LAYERS.items():
            part, place = f"l{layer}.{name}", f"encoder.layer.{layer}.{known}"
            matrix = content.matrices.get(f"{part}.w")
            parameters[f"{place}.weight"] = vectors[f"{part}.w"] if matrix is None else matrix.weights()
            parameters[f"{place}.bias"] = vectors[f"{part}.b"]
    return {name: torch.from_numpy(value) for name, value in parameters.items()}
