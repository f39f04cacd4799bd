"""Reads folders of weights with sentence-transformers, with what a catalogue entry changes about them.

Imported by the backends that compute with torch. Code beside the weights is never run, and the hub is never asked.
"""

from pathlib import Path
from typing import Any, get_args

import msgspec
import torch
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize
from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

from pinyon import settings
from pinyon.errors import FailedPrecondition

LOCAL: Any = {"local_files_only": True, "trust_remote_code": False}
"""How every folder is read."""
FLOAT32: Any = {"dtype": torch.float32}
"""Weights that are stored in fewer bits become float32: precision.py decides how they are computed."""
ACTIVATIONS: dict[settings.Activation, type[torch.nn.Module]] = {
    "identity": torch.nn.Identity,
    "sigmoid": torch.nn.Sigmoid,
}


class Changes(msgspec.Struct, frozen=True):
    """What a catalogue entry changes about the weights of a folder. The default changes nothing.

    pooling, normalize, activation: as in ModelEntry. max_tokens: what the model reads at once, 0 for its own limit.
    query_prefix, passage_prefix: prompts of a reranker; None for the model's own.
    """

    pooling: str = ""
    normalize: bool | None = None
    activation: settings.Activation | None = None
    max_tokens: int = 0
    query_prefix: str | None = None
    passage_prefix: str | None = None


NO_CHANGES = Changes()


def embedding_model(folder: Path, changes: Changes) -> SentenceTransformer:
    """The embedding model in a folder. Raises FailedPrecondition if it does not read plain texts."""
    model = SentenceTransformer(str(folder), model_kwargs=FLOAT32, **LOCAL)
    if "message" in getattr(model[0], "modality_config", {}):
        raise FailedPrecondition(f"The model in {folder} reads conversations by a chat template, and not plain texts")
    if changes.pooling in get_args(settings.Pooling):
        for name, module in model.named_children():
            if isinstance(module, PoolingModule) and module.pooling_mode != changes.pooling:
                setattr(model, name, PoolingModule(module.embedding_dimension, changes.pooling))
    normalizing = [name for name, module in model.named_children() if isinstance(module, Normalize)]
    if changes.normalize is True and not normalizing:
        model.append(Normalize())
    elif changes.normalize is False:
        for name in normalizing:
            delattr(model, name)
    model.truncate_dim = None  # NamedEmbedder cuts the vectors
    return model.eval()


def cross_encoder(folder: Path, changes: Changes) -> CrossEncoder:
    """The cross-encoder in a folder."""
    activation = None if changes.activation is None else ACTIVATIONS[changes.activation]()
    model = CrossEncoder(str(folder), activation_fn=activation, model_kwargs=FLOAT32, **LOCAL)
    if changes.query_prefix is not None:
        model.prompts["pinyon"], model.default_prompt_name = changes.query_prefix, "pinyon"
    return model.eval()


def multi_vector_encoder(folder: Path, changes: Changes) -> MultiVectorEncoder:
    """The late-interaction model in a folder."""
    prompts = {"query": changes.query_prefix, "document": changes.passage_prefix}
    own = {name: prompt for name, prompt in prompts.items() if prompt is not None}
    return MultiVectorEncoder(str(folder), prompts=own, model_kwargs=FLOAT32, **LOCAL).eval()
