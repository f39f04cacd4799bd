"""Loads weights into memory: encoders, cross-encoders and the terms of BM25, each once. Torch is imported only here."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from pinyon.errors import FailedPrecondition
from pinyon.inference import precision
from pinyon.inference.backend import TextEncoder
from pinyon.inference.backends.embedding.hash_backend import HashEncoder
from pinyon.inference.backends.sparse.bm25_backend import Terms
from pinyon.inference.gc_freeze import gc_frozen
from pinyon.inference.model_files import model_config, weights
from pinyon.inference.model_files.manifest import ModelEntry
from pinyon.inference.model_files.model_config import ModelConfig
from pinyon.inference.model_files.weights_store import WeightsStore
from pinyon.inference.precision import Precision
from pinyon.inference.token_cache import CachingEncoder

if TYPE_CHECKING:
    from pinyon.inference.backends.sparse.splade_backend import SpladeModel
    from pinyon.inference.backends.transformer.torch_backend import PairModel

log = logging.getLogger("pinyon.models")

T = TypeVar("T")
Key = tuple[str, Precision | None]
"""A model's name and how it is computed; None for the tokenizer of a model."""


class ModelLoader:
    """The models in memory. Loading one blocks for seconds. Threads may share it.

    threads: that one computation uses; 0 leaves the choice to torch. token_cache_bytes: of each encoder.
    """

    def __init__(self, store: WeightsStore, threads: int, token_cache_bytes: int) -> None:
        self._store, self._threads, self._token_cache_bytes = store, threads, token_cache_bytes
        self._loaded: dict[Key, Any] = {}

    def encoder(self, name: str, entry: ModelEntry, computed: Precision = "fp32") -> TextEncoder:
        """The encoder of an embedding model. Raises FailedPrecondition if it does not load or has another dimension."""
        if entry.source == "builtin":
            return HashEncoder(int(entry.dimension or 0), entry.max_tokens)

        def read(torch_backend: ModuleType, folder: Path) -> TextEncoder:
            quantized = weights.q4_file(entry, folder)
            if quantized is not None:
                from pinyon.inference.quantized.encoder import QuantizedEncoder

                return CachingEncoder(QuantizedEncoder(quantized, computed), self._token_cache_bytes)
            config = self._config(name, folder)
            changes = torch_backend.Changes(entry.pooling, entry.normalize, max_tokens=_limit(entry, config))
            if config.pooling:
                return CachingEncoder(torch_backend.TorchEncoder(folder, computed, changes), self._token_cache_bytes)
            from pinyon.inference.backends.embedding.static_backend import StaticEncoder

            return StaticEncoder(folder, computed, changes)

        encoder: TextEncoder = self._load(name, computed, read)
        expected = max((entry.dimension or 0, *entry.dimensions))
        if encoder.dimension != expected:
            raise FailedPrecondition(
                f"The weights of {name} have {encoder.dimension} dimensions, the catalogue says {expected}"
            )
        return encoder

    def pair_model(self, name: str, entry: ModelEntry, computed: Precision) -> "PairModel":
        """What scores pairs for a reranking model. Raises FailedPrecondition if it does not load."""
        base = None if entry.base is None else self._store.get(entry.base).folder

        def read(torch_backend: ModuleType, folder: Path) -> "PairModel":
            model: PairModel
            config = self._config(name, folder)
            changes = torch_backend.Changes(
                activation=entry.activation,
                max_tokens=_limit(entry, config),
                query_prefix=entry.query_prefix,
                passage_prefix=entry.passage_prefix,
            )
            if base is not None:
                model = torch_backend.CompletedCrossEncoder(folder, base, computed)
            elif config.method == "late-interaction":
                from pinyon.inference.backends.reranking.multi_vector_backend import MultiVectorModel

                model = MultiVectorModel(folder, computed, changes, self._token_cache_bytes)
            else:
                model = torch_backend.CrossEncoderModel(folder, computed, changes)
            return model

        return self._load(name, computed, read)

    def terms(self, name: str) -> Terms:
        """What breaks texts into terms, by the tokenizer of this model."""
        key = (name, None)
        with self._store.lock:
            if key not in self._loaded:
                self._loaded[key] = Terms(self._store.get(name).folder / "tokenizer.json")
            terms: Terms = self._loaded[key]
            return terms

    def sparse_model(self, name: str) -> "SpladeModel":
        """A learned sparse model. Raises FailedPrecondition if it does not load."""

        def read(torch_backend: ModuleType, folder: Path) -> "SpladeModel":
            from pinyon.inference.backends.sparse.splade_backend import SpladeModel

            return SpladeModel(folder)

        return self._load(name, "fp32", read)

    def _load(self, name: str, computed: Precision, read: Callable[[ModuleType, Path], T]) -> T:
        """The model in memory. read gets the torch backend, which is imported here, and the folder of the weights."""
        key = (name, computed)
        if key in self._loaded:  # without the lock, which is held for seconds while another model is read
            known: T = self._loaded[key]
            return known
        with self._store.lock:
            if key not in self._loaded:
                folder = self._store.get(name).folder
                precision.check_computable(computed)
                with gc_frozen():
                    from pinyon.inference.backends.transformer import torch_backend

                torch_backend.use_threads(self._threads)
                try:
                    with gc_frozen():
                        self._loaded[key] = read(torch_backend, folder)
                except FailedPrecondition:
                    raise
                except Exception as error:  # whatever the readers of other people's files raise
                    log.exception("the weights of %s in %s do not load", name, folder)
                    reason = f"its weights in {folder} do not load ({type(error).__name__})"
                    self._store.mark_broken(name, reason)
                    raise FailedPrecondition(f"Model '{name}' cannot answer here: {reason}") from error
            model: T = self._loaded[key]
            return model

    def _config(self, name: str, folder: Path) -> ModelConfig:
        """What the files of a model say. Raises FailedPrecondition, and marks the weights, if it cannot be computed."""
        try:
            return model_config.read(folder)
        except FailedPrecondition as error:
            self._store.mark_broken(name, f"its weights do not load: {error.message}")
            raise FailedPrecondition(f"The weights of {name} do not load: {error.message}") from error


def _limit(entry: ModelEntry, config: ModelConfig) -> int:
    """Tokens that the weights read at once. The limit of a hosted name may be another one."""
    return entry.max_tokens if entry.own else config.max_tokens
