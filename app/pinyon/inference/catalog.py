"""Resolves model names: which model answers to a name on this machine, and with which fingerprint.

A name is answered by its own weights. Without them a stand-in may answer, if the settings allow it, and always says so:
every answer carries the label of the model that computed it. model_loader.py loads the weights.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pinyon import failpoints
from pinyon.domain import Fingerprint
from pinyon.errors import FailedPrecondition, InvalidArgument, NotFound
from pinyon.inference import precision
from pinyon.inference.answer import BM25_RERANKER, LATE_INTERACTION, MIXES, Answer
from pinyon.inference.backend import Embedder, Reranker, Retrieved, SparseEmbedder, TextEncoder
from pinyon.inference.backends.embedding.joined_encoder import JoinedEncoder
from pinyon.inference.backends.embedding.named_embedder import NamedEmbedder
from pinyon.inference.backends.reranking.bm25_reranker import Bm25Reranker
from pinyon.inference.backends.reranking.fused_reranker import FusedReranker
from pinyon.inference.backends.reranking.late_interaction import LateInteractionReranker
from pinyon.inference.backends.reranking.rerank_mini import MiniReranker
from pinyon.inference.backends.sparse.bm25_backend import Bm25Embedder
from pinyon.inference.model_files.entries import all_entries
from pinyon.inference.model_files.manifest import ModelEntry
from pinyon.inference.model_files.weights_store import WeightsStore
from pinyon.inference.model_loader import ModelLoader
from pinyon.inference.precision import PRECISIONS, Choice, Precision
from pinyon.settings import OwnModel, Settings

if TYPE_CHECKING:
    from pinyon.inference.backends.transformer.torch_backend import PairModel

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"
BM25 = "pinyon-bm25"
QUICK = {"embed": "pinyon-hash-embed", "sparse": BM25, "rerank": BM25_RERANKER}
"""Who answers for every model of a kind if the setting `quick` is on. They load in no time, and know only words."""
BUILTIN_VERSION = "1"


class Catalog:
    """The models of one installation. Checking and loading weights blocks for seconds; both are done once.

    models_dir: holds manifest.toml and weights/. paths: folders of weights, by model name; a name that the manifest
    does not have is a model of the user's own. own: further ones, by name. stand_ins: whether another model may answer
    to a hosted name. threads, token_cache_bytes: as in ModelLoader. computed: the setting models.precision. quick:
    whether those of QUICK stand in for all others. Raises FailedPrecondition if the manifest or a folder of the
    settings is wrong.
    """

    def __init__(
        self,
        models_dir: Path,
        paths: Mapping[str, str] | None = None,
        stand_ins: bool = False,
        threads: int = 0,
        token_cache_bytes: int = 0,
        own: Mapping[str, OwnModel] | None = None,
        computed: Precision | Literal["auto", "remembered"] = "auto",
        quick: bool = False,
    ) -> None:
        paths = paths or {}
        self.entries = all_entries(models_dir, paths, own or {})
        self._stand_ins, self._quick = stand_ins or quick, quick
        self._precision, self._choices = computed, precision.chosen(models_dir)
        self._store = WeightsStore(self.entries, models_dir, paths)
        self._loader = ModelLoader(self._store, threads, token_cache_bytes)

    @classmethod
    def of(cls, settings: Settings) -> "Catalog":
        """The catalogue that the settings describe. Raises FailedPrecondition, as above."""
        models = settings.models
        return cls(
            settings.models_dir,
            models.paths,
            models.stand_ins,
            models.threads,
            models.token_cache_bytes,
            models.own,
            models.precision,
            models.quick,
        )

    def entry(self, name: str, kind: Literal["embed", "sparse", "rerank"] | None = None) -> ModelEntry:
        """The manifest's entry for a name. Raises NotFound, which lists the available names."""
        entry = self.entries.get(name)
        if entry is None or (kind is not None and entry.kind != kind):
            kinds = {"rerank"} if kind == "rerank" else {"embed", "sparse"} if kind else {"embed", "sparse", "rerank"}
            available = ", ".join(each for each, other in self.entries.items() if other.kind in kinds)
            wanted = "" if kind is None else " for rerank" if kind == "rerank" else " for embed"
            raise NotFound(f"Model '{name}' not found; available{wanted}: {available}")
        return entry

    def embedding_entry(self, name: str) -> ModelEntry:
        """The manifest's entry for a model that embeds, dense or sparse. Raises NotFound, as entry() does."""
        return self.entry(name, "sparse" if name in self.entries and self.entries[name].kind == "sparse" else "embed")

    def verify(self) -> None:
        """Check the weights of every model that has some on this machine; damaged ones do not answer afterwards."""
        failpoints.reach("load")
        for name in self.entries:
            self.present(name)

    def folder(self, name: str) -> Path | None:
        """The folder of the weights of this name; None if they are not on this machine."""
        return self._store.folder(name)

    def versions(self) -> dict[str, str]:
        """The version of every model that can answer here by itself."""
        return {name: self._version(name) for name in self.entries if self.present(name)}

    def present(self, name: str) -> bool:
        """Whether the named model itself can answer here. Never waits; see WeightsStore.usable()."""
        if name == BM25:  # it breaks words into pieces as this model does
            return self._store.usable(DEFAULT_EMBEDDER)
        if self._quick and name not in QUICK.values():
            return False
        entry = self.entries[name]
        if entry.source == "builtin":
            return entry.base is None
        needed = entry.parts if entry.base is None else (entry.base, *entry.parts)
        return all(map(self.present, needed)) and self._store.usable(name)

    def answer(self, name: str, dimension: int | None = None) -> Answer:
        """Who answers to the name, with vectors that fit the dimension.

        Raises FailedPrecondition if nobody does; the message says how to change that.
        """
        entry = self.entry(name)
        stand_ins = (QUICK[entry.kind],) if self._quick else entry.stand_ins if self._stand_ins else ()
        for by in (name, *stand_ins):
            own_lengths = (self.entries[by].dimension or 0, *self.entries[by].dimensions)
            fits = dimension is None or own_lengths[0] <= dimension or dimension in own_lengths
            if self.present(by) and fits:
                checked = self._store.checked(by)
                own = checked.version if checked and not checked.catalogued else None
                return Answer(name, by, own, self.precision(by))
        raise FailedPrecondition(f"Model '{name}' cannot answer here: {self.how_to_get(name)}")

    def precision(self, name: str) -> Precision:
        """How a model is computed for new indexes and for reranking."""
        if not self._has_precisions(name):
            return "fp32"
        if self._precision != "auto" and self._precision != "remembered":
            return self._precision
        return self._choices[name].precision if name in self._choices else "fp32"

    def why(self, name: str) -> str:
        """Why a model is computed in precision(): part of a sentence. Empty for what is computed in one way only."""
        if not self._has_precisions(name):
            return ""
        if self._precision != "auto" and self._precision != "remembered":
            return "set in [models] precision"
        if name in self._choices:
            return self._choices[name].reason
        how = "a server does it after its start" if self._precision == "auto" else "`pinyon models bench` does it"
        return f"not measured yet; {how}"

    def computed(self, fingerprint: Fingerprint) -> str:
        """How the vectors of an index are computed, and why: part of a sentence. Empty if there is one way only."""
        name, own = fingerprint.weights, _precision_of(fingerprint)
        why = self.why(name)
        if not why:
            return ""
        if own == self.precision(name):
            return f"computed in {own} ({why})"
        return f"computed in {own}, like its records; after `pinyon reembed` in {self.precision(name)} ({why})"

    def needs_choice(self, name: str) -> bool:
        """Whether the model can be computed in several ways, and nobody knows yet which is the fastest here."""
        return self._precision == "auto" and self._has_precisions(name) and name not in self._choices

    def choose(self, name: str, choice: Choice) -> None:
        """From now on, compute a model so for new indexes and for reranking. Any thread may call it."""
        self._choices = {**self._choices, name: choice}

    def _has_precisions(self, name: str) -> bool:
        entry = self.entries[name]
        return entry.source not in ("builtin", "none") and entry.kind != "sparse"

    def how_to_get(self, name: str) -> str:
        """What a user can do so that the named model itself answers: part of a sentence."""
        stand_ins = self.entries[name].stand_ins
        missing = next((part for part in self.entries[name].parts if not self.present(part)), None)
        way = self._store.how_to_get(name) if missing is None else f"it needs {missing}: {self.how_to_get(missing)}"
        if stand_ins and not self._stand_ins:
            way += f". With stand_ins on, {' or '.join(stand_ins)} may answer instead, and says so"
        return way

    def fingerprint(self, name: str, dimension: int | None = None, sparse_model: str = "") -> Fingerprint:
        """The fingerprint of a new index of this model.

        dimension: None for the model's default. sparse_model: a learned sparse model beside it; empty for none. Raises
        InvalidArgument for a dimension that the model does not have, FailedPrecondition as answer() does.
        """
        entry = self.embedding_entry(name)
        wanted = dimension or int(entry.dimension or 0)
        if entry.kind == "embed":
            self.check_dimension(name, wanted)
        by = self.answer(name, wanted).by
        return Fingerprint(
            model=name,
            weights=by,
            version=_versioned(self._version(by), self.precision(by)),
            pooling=self.entries[by].pooled,
            query_prefix=entry.query_prefix or "",
            passage_prefix=entry.passage_prefix or "",
            dimension=wanted,
            sparse_model=sparse_model,
            sparse_version=self._sparse_version(sparse_model) if sparse_model else "",
        )

    def learned_sparse_models(self) -> list[str]:
        """The models that can read the texts of an index beside a dense model, whether their weights are here or not.

        pinyon-bm25 is none of them: a hybrid search counts words already.
        """
        kinds = {name for name, entry in self.entries.items() if entry.kind == "sparse" and entry.source != "none"}
        return sorted(kinds - {BM25})

    def _sparse_version(self, name: str) -> str:
        """The version of a learned sparse model. Raises FailedPrecondition if it is not on this machine."""
        if not self.present(name):
            raise FailedPrecondition(f"Model '{name}' cannot answer here: {self.how_to_get(name)}")
        return self._version(name)

    def check_dimension(self, name: str, dimension: int) -> None:
        """Raises InvalidArgument if the model does not make vectors of this length."""
        entry = self.entry(name, "embed")
        allowed = (entry.dimension, *entry.dimensions)
        if dimension not in allowed:
            raise InvalidArgument(f"Model '{name}' has dimension {' or '.join(map(str, allowed))}, not {dimension}")

    def embedder(self, fingerprint: Fingerprint) -> Embedder:
        """The embedder with exactly this fingerprint.

        Raises FailedPrecondition if those weights are not on this machine, or are a stand-in and stand-ins are off.
        """
        failpoints.reach("load", fingerprint.model)
        entry, label = self._resolve(fingerprint, "embed")
        encoder = self._encoder(fingerprint.weights, _precision_of(fingerprint))
        by = self.entries[fingerprint.weights]
        sparse = self._learned_sparse(fingerprint) if fingerprint.sparse_model else None
        normalize, of_tokens = by.normalize is not False, self._token_languages(by)
        return NamedEmbedder(encoder, fingerprint, label, entry.max_tokens, normalize, by.languages, sparse, of_tokens)

    def _token_languages(self, entry: ModelEntry) -> tuple[str, ...]:
        """The languages that the token vectors of a model are good for. Of two joined models, the second gives them."""
        return self.entries[entry.parts[1]].languages if entry.parts else entry.languages

    def _learned_sparse(self, fingerprint: Fingerprint) -> SparseEmbedder:
        """The learned sparse model beside the dense one of a fingerprint. Raises FailedPrecondition as embedder()."""
        name, version = fingerprint.sparse_model, self._sparse_version(fingerprint.sparse_model)
        if version != fingerprint.sparse_version:
            raise FailedPrecondition(
                f"The texts of this index were read by '{name}' ({fingerprint.sparse_version[:12]}); the weights here "
                f"are another version ({version[:12]}). Bring the old weights back, or re-embed it"
            )
        return self.sparse_embedder(self.fingerprint(name))

    def sparse_embedder(self, fingerprint: Fingerprint) -> SparseEmbedder:
        """The sparse embedder with exactly this fingerprint. Raises FailedPrecondition as embedder() does."""
        failpoints.reach("load", fingerprint.model)
        entry, label = self._resolve(fingerprint, "sparse")
        if fingerprint.weights == BM25:
            return Bm25Embedder(self._loader.terms(DEFAULT_EMBEDDER), fingerprint, label, entry.max_tokens)
        model = self._loader.sparse_model(fingerprint.weights)  # first, because it imports torch and explains errors
        from pinyon.inference.backends.sparse.splade_backend import SpladeEmbedder

        languages = self.entries[fingerprint.weights].languages
        return SpladeEmbedder(model, fingerprint, label, entry.max_tokens, languages)

    def _resolve(self, fingerprint: Fingerprint, kind: Literal["embed", "sparse"]) -> tuple[ModelEntry, str]:
        """The entry and the label of a fingerprint whose weights are on this machine, unchanged and allowed."""
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
        pooled = self.entries[by].pooled
        if self.entries[by].own and fingerprint.pooling != pooled:
            raise FailedPrecondition(
                f"This index was embedded by '{by}' with the pooling '{fingerprint.pooling}', which is '{pooled}' now. "
                "Set `pooling` and `normalize` as they were, or re-embed it"
            )
        return entry, Answer(fingerprint.model, by, self.answer(by).own_weights, computed).label

    def reranker(self, answer: Answer, retrieved: Retrieved) -> Reranker:
        """The reranker that answer() chose, for the documents of one request."""
        own = self._own_reranker(answer, retrieved)
        if retrieved.similarities is None or not answer.fuses:
            return own
        return FusedReranker(own, MIXES[answer.by], retrieved)

    def _own_reranker(self, answer: Answer, retrieved: Retrieved) -> Reranker:
        limit = self.entry(answer.name, "rerank").max_tokens
        if answer.needs_encoder:
            encoder = retrieved.encoder or self._encoder(DEFAULT_EMBEDDER)
            late = LateInteractionReranker(
                encoder, answer.name, limit, retrieved.statistics, retrieved.query_windows, retrieved.token_codes
            )
            return late if answer.by == LATE_INTERACTION else MiniReranker(late, self._cross(answer, limit))
        if answer.by_words:
            return Bm25Reranker(retrieved.statistics, answer.name, limit)
        return self._cross(answer, limit)

    def _cross(self, answer: Answer, limit: int) -> Reranker:
        model = self._pair_model(answer.by)  # first, because it imports torch and explains errors
        from pinyon.inference.backends.transformer.torch_backend import CrossEncoderReranker

        return CrossEncoderReranker(model, answer.name, limit)

    def load(self, name: str) -> None:
        """Load the reranker that answers to the name, so that the first request does not wait for it.

        Raises FailedPrecondition if its weights do not load. Any thread may call it.
        """
        answer = self.answer(name)
        if self.entries[answer.by].source != "builtin":
            self._pair_model(answer.by)

    def bare(self, name: str, computed: Precision) -> Any:
        """The weights alone, computed with this precision: a TextEncoder, or a PairModel."""
        entry = self.entry(name)
        return (
            self._encoder(name, computed) if entry.kind == "embed" else self._loader.pair_model(name, entry, computed)
        )

    def _encoder(self, name: str, computed: Precision = "fp32") -> TextEncoder:
        entry = self.entries[name]
        if not entry.parts:
            return self._loader.encoder(name, entry, computed)
        first, second = (self._encoder(part, computed) for part in entry.parts)
        return JoinedEncoder(self._store.get(name).folder, first, second, self._token_languages(entry))

    def _pair_model(self, name: str) -> "PairModel":
        return self._loader.pair_model(name, self.entries[name], self.precision(name))

    def _version(self, name: str) -> str:
        if name == BM25:
            return f"{BUILTIN_VERSION}+tokenizer:{self._loader.terms(DEFAULT_EMBEDDER).version}"
        entry = self.entries[name]
        if entry.source == "builtin":
            return BUILTIN_VERSION
        versions = [self._store.get(each).version for each in (name, *entry.parts)]
        return versions[0] if not entry.parts else hashlib.sha256("+".join(versions).encode()).hexdigest()


def _versioned(version: str, computed: Precision) -> str:
    """A version with how the model is computed."""
    return version if computed == "fp32" else f"{version}+{computed}"


def _precision_of(fingerprint: Fingerprint) -> Precision:
    """How the vectors of an index were computed."""
    end = fingerprint.version.rpartition("+")[2]
    return next((each for each in PRECISIONS if each == end), "fp32")
