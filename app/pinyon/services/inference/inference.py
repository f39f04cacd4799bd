"""The inference service: embeds and reranks on the model thread, by the names of models."""

import asyncio
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon import metrics
from pinyon.auth import permissions
from pinyon.domain import InputType, SparseVector, Truncate
from pinyon.errors import FailedPrecondition, InvalidArgument
from pinyon.inference.answer import Answer
from pinyon.inference.backend import Embedder, Retrieved, SparseEmbedder
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_executor import ModelExecutor
from pinyon.inference.model_files.manifest import ModelEntry
from pinyon.inference.steps import Steps
from pinyon.search.ranking import shortest
from pinyon.services.inference import model_parameters
from pinyon.services.inference.embedded_text import EmbeddedText, TokenForm, heaviest
from pinyon.services.inference.embedding_scheduler import EmbeddingScheduler
from pinyon.services.inference.query_cache import QueryCache

MAX_INPUTS = 96
"""Texts that one /embed request may have."""
MAX_COUNTED, COUNTED_PER_STEP = 1_000, 100
"""Texts whose tokens one request may have counted, and that are counted before other work may go."""
LEARNED_WORDS, MOST_LEARNED_WORDS = 128, 1_000
"""Words of a passage, and of a query, that a learned sparse model gives weights to beside a dense one. Those with the
largest weights stay. With all words of a passage hybrid search ranks no better; see docs/notes/relevance.md."""
DOCUMENTS_PER_UNIT = 100
"""Documents that one rerank unit covers."""


class RerankCall(msgspec.Struct, frozen=True):
    """A rerank call that was checked. answer: the model that computes it."""

    model: str
    answer: Answer
    truncate: Truncate
    max_documents: int
    max_rank_fields: int


class EmbeddedTexts(msgspec.Struct, frozen=True):
    """The texts of one request, embedded. label: the model that computed them."""

    label: str
    vector_type: Literal["dense", "sparse"]
    texts: list[EmbeddedText]


class TokenCounts(msgspec.Struct, frozen=True):
    """The tokens of each text of a request. label: the model that reads them. max_tokens: what it reads of a text."""

    label: str
    max_tokens: int
    tokens: list[int]


class RerankedDocuments(msgspec.Struct, frozen=True):
    """The documents of one request, reranked. label: the model that computed the scores.

    ranking: position in the request and score of each document, best first. units: rerank units that it cost.
    """

    label: str
    ranking: list[tuple[int, float]]
    units: int


class KnownModel(msgspec.Struct, frozen=True):
    """A model of the catalogue.

    answer: the model that computes for it here. why: the reason for its precision; empty if it has one only.
    unavailable: why no model computes for it.
    """

    name: str
    entry: ModelEntry
    answer: Answer | None = None
    why: str = ""
    unavailable: str | None = None


class Inference:
    """Model calls for all services of one installation."""

    def __init__(self, catalog: Catalog, executor: ModelExecutor, query_cache_bytes: int = 0) -> None:
        self._catalog, self._executor = catalog, executor
        self._scheduler = EmbeddingScheduler(executor, QueryCache(query_cache_bytes))
        self._embedders: dict[tuple[str, int | None], Embedder | SparseEmbedder] = {}
        self._rerankers: set[str] = set()  # loaded ones
        self._loading = asyncio.Lock()

    def known_models(self) -> list[KnownModel]:
        """All models of the catalogue."""
        return [self.known_model(name) for name in self._catalog.entries]

    def known_model(self, name: str) -> KnownModel:
        """One model. Raises NotFound."""
        entry = self._catalog.entry(name)
        try:
            answer = self._catalog.answer(name)
            return KnownModel(name, entry, answer=answer, why=self._catalog.why(answer.by))
        except FailedPrecondition as error:
            return KnownModel(name, entry, unavailable=error.message)

    async def embed(
        self,
        embedder: Embedder,
        texts: Sequence[str],
        input_type: InputType,
        truncate: Truncate,
        form: TokenForm | None = None,
    ) -> list[EmbeddedText]:
        """Embed each text with a dense model, in the given order. Raises TextTooLong or Unavailable.

        form: in which each text gets its token vectors too, if it does.
        """
        return await self._scheduler.embed(embedder, texts, input_type, truncate, form)

    async def embed_sparse(
        self,
        embedder: SparseEmbedder,
        texts: Sequence[str],
        input_type: InputType,
        truncate: Truncate,
        max_tokens: int | None = None,
    ) -> list[EmbeddedText]:
        """Embed each text with a sparse model, in the given order. Raises TextTooLong or Unavailable."""
        return await self._scheduler.embed_sparse(embedder, texts, input_type, truncate, max_tokens)

    async def learned_words(
        self, sparse: SparseEmbedder | None, texts: Sequence[str], input_type: InputType
    ) -> list[SparseVector | None]:
        """What a learned sparse model beside a dense one makes of each text; None if there is no such model.

        Raises Unavailable.
        """
        if sparse is None:
            return [None] * len(texts)
        embedded = await self.embed_sparse(sparse, texts, input_type, "END")
        most = LEARNED_WORDS if input_type == "passage" else MOST_LEARNED_WORDS
        return [None if text.sparse is None else heaviest(text.sparse, most) for text in embedded]

    async def embed_by_name(self, model: str, texts: Sequence[str], parameters: Mapping[str, Any]) -> EmbeddedTexts:
        """Embed the texts of a request. model, parameters: as the request gives them.

        Raises PermissionDenied unless the API key may read, NotFound, InvalidArgument, FailedPrecondition if no model
        can answer to the name, TextTooLong or Unavailable.
        """
        permissions.check("read")
        entry = self._catalog.embedding_entry(model)
        values = model_parameters.checked(model, entry, parameters)
        if not texts:
            raise InvalidArgument("Must specify at least one input")
        if len(texts) > MAX_INPUTS:
            raise InvalidArgument(
                f"Input length {len(texts)} exceeds the maximum batch size of {MAX_INPUTS} for model '{model}'"
            )
        for place, text in enumerate(texts):
            if not text.strip():
                raise InvalidArgument(f"The text of input {place} must be non-empty")
        dimension, input_type, truncate = values.get("dimension"), values["input_type"], values["truncate"]
        embedder = await self._embedder(model, entry, dimension)
        if entry.kind == "sparse":
            limit = values.get("max_tokens_per_sequence")
            embedded = await self.embed_sparse(embedder, texts, input_type, truncate, limit)
            return EmbeddedTexts(embedder.label, "sparse", embedded)
        return EmbeddedTexts(embedder.label, "dense", await self.embed(embedder, texts, input_type, truncate))

    async def count_tokens(self, model: str, texts: Sequence[str], parameters: Mapping[str, Any]) -> TokenCounts:
        """Count the tokens of texts as a dense model reads them, with its prefix and special tokens, before any cut.

        model, parameters: as for embed_by_name(), with the same errors. A text may be empty.
        """
        permissions.check("read")
        entry = self._catalog.embedding_entry(model)
        if entry.kind == "sparse":
            raise InvalidArgument(f"Tokens are counted for dense embedding models; '{model}' is a sparse one")
        values = model_parameters.checked(model, entry, parameters)
        if not 1 <= len(texts) <= MAX_COUNTED:
            raise InvalidArgument(f"The request must have 1 to {MAX_COUNTED} inputs, got {len(texts)}")
        embedder: Embedder = await self._embedder(model, entry, values.get("dimension"))

        def count() -> Steps[list[int]]:
            tokens: list[int] = []
            for begin in range(0, len(texts), COUNTED_PER_STEP):
                tokens += embedder.count_tokens(texts[begin : begin + COUNTED_PER_STEP], values["input_type"])
                yield
            return tokens

        return TokenCounts(embedder.label, embedder.max_tokens, await self._executor.run_steps(count))

    async def _embedder(self, model: str, entry: ModelEntry, dimension: int | None) -> Any:
        """The embedder that answers to a name, with the default dimension or this one. It is loaded on the first call.

        Raises as Catalog.fingerprint() and Catalog.embedder().
        """

        def load() -> Embedder | SparseEmbedder:
            fingerprint = self._catalog.fingerprint(model, dimension)
            sparse = entry.kind == "sparse"
            return self._catalog.sparse_embedder(fingerprint) if sparse else self._catalog.embedder(fingerprint)

        key = model, dimension
        if key not in self._embedders:
            async with self._loading:
                if key not in self._embedders:  # another request may have loaded it meanwhile
                    self._embedders[key] = await asyncio.to_thread(load)
        return self._embedders[key]

    async def _load_reranker(self, call: RerankCall) -> None:
        """Load the weights of a reranker on the first call. The model thread computes for others meanwhile.

        Raises as Catalog.load().
        """
        if call.answer.by not in self._rerankers:
            async with self._loading:
                if call.answer.by not in self._rerankers:
                    await asyncio.to_thread(self._catalog.load, call.model)
                    self._rerankers.add(call.answer.by)

    def rerank_call(self, model: str, parameters: dict[str, Any] | None) -> RerankCall:
        """Resolve the name of a reranking model, and check the parameters of a request.

        Raises NotFound for an unknown model, FailedPrecondition if it cannot answer here, InvalidArgument for
        parameters that the model does not have.
        """
        entry = self._catalog.entry(model, "rerank")
        truncate = model_parameters.checked(model, entry, parameters or {}).get("truncate", entry.truncate)
        return RerankCall(model, self._catalog.answer(model), truncate, entry.max_documents, entry.max_rank_fields)

    def check_rank_fields(self, call: RerankCall, fields: Sequence[str]) -> None:
        """Raises InvalidArgument if there is no field, or if there are more fields than the model reads."""
        if not fields:
            raise InvalidArgument("rank_fields must name a field")
        if len(fields) > call.max_rank_fields:
            number = "one rank field is" if call.max_rank_fields == 1 else f"{call.max_rank_fields} rank fields are"
            raise InvalidArgument(
                f"Only {number} supported for model '{call.model}', got {len(fields)}: {', '.join(fields)}"
            )

    async def rerank_by_name(
        self,
        model: str,
        parameters: dict[str, Any] | None,
        query: str,
        documents: Sequence[Mapping[str, Any]],
        fields: Sequence[str],
        top_n: int | None,
    ) -> RerankedDocuments:
        """Rerank the documents of a request: best first, ties by position, cut to top_n.

        model, parameters: as the request gives them. fields: of each document, what the model reads. Raises as
        rerank_call() and rerank(), and PermissionDenied unless the API key may read.
        """
        permissions.check("read")
        call = self.rerank_call(model, parameters)
        if not query.strip():
            raise InvalidArgument("The query must be non-empty")
        if not documents:
            raise InvalidArgument("The request holds no documents")
        if len(documents) > call.max_documents:
            raise InvalidArgument(
                f"The request holds {len(documents)} documents; model '{call.model}' takes at most {call.max_documents}"
            )
        if top_n is not None and top_n < 1:
            raise InvalidArgument(f"top_n must be at least 1, got {top_n}")
        self.check_rank_fields(call, fields)
        texts = [rank_text(document, fields, place) for place, document in enumerate(documents)]
        scores = await self.rerank(call, query, texts)
        ranking = sorted(enumerate(shortest(scores)), key=lambda row: (-row[1], row[0]))
        return RerankedDocuments(call.answer.label, ranking[:top_n], rerank_units(len(documents)))

    async def rerank(
        self, call: RerankCall, query: str, documents: Sequence[str], retrieved: Retrieved | None = None
    ) -> NDArray[np.float32]:
        """Scores float32 [n] in 0..1, higher is better. Raises TextTooLong or Unavailable.

        retrieved: what a search knows about its hits; None if the documents came with the request. A rerank of hits is
        part of a search. If it is quick, it does not wait for the queries that come after it. Otherwise every query
        that comes would be embedded alone, before the next rerank, where many could be embedded together after them.
        """

        def score() -> Steps[NDArray[np.float32]]:
            return self._catalog.reranker(call.answer, retrieved or Retrieved()).score(query, documents, call.truncate)

        await self._load_reranker(call)
        with metrics.stage("rerank"):
            return await self._executor.run_steps(score, "passage" if retrieved is None else "query")


def rerank_units(documents: int) -> int:
    """Rerank units that so many documents cost: one for every started 100."""
    return ceil(documents / DOCUMENTS_PER_UNIT)


def rank_text(fields: Mapping[str, Any], names: Sequence[str], place: int, whose: str = "") -> str:
    """The text of a document that a reranker reads: its rank fields, one per line.

    place: of the document in the request, from 0. whose: added to error messages. Raises InvalidArgument.
    """
    texts = []
    for name in names:
        if name not in fields:
            raise InvalidArgument(f"field '{name}' not found in document at index {place}{whose}")
        if not isinstance(fields[name], str):
            raise InvalidArgument(
                f"field '{name}' in document at index {place}{whose} is not a string and cannot be ranked"
            )
        texts.append(fields[name])
    return "\n".join(texts)
