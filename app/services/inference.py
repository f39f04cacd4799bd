"""Embedding and reranking as the services use them: names in, numbers and labels out, off the event loop."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.domain import InputType, Truncate
from app.errors import FailedPrecondition, InvalidArgument, TextTooLong
from app.inference.backend import Embedder, Embeddings, TextEncoder
from app.inference.batcher import PASSAGE, QUERY, Batcher
from app.inference.catalog import Answer, Catalog
from app.inference.manifest import ModelEntry

AT_ONCE = 32
"""Texts per model call: half as long a wait for queries as 96, at a tenth more time in all."""


class RerankCall(msgspec.Struct, frozen=True):
    """A rerank that was checked and can run. answer: who will compute it."""

    answer: Answer
    truncate: Truncate
    max_documents: int
    max_rank_fields: int


class KnownModel(msgspec.Struct, frozen=True):
    """A model of the catalogue. answer: who answers here; unavailable: why nobody does."""

    name: str
    entry: ModelEntry
    answer: Answer | None = None
    unavailable: str | None = None


class Inference:
    """Model calls for every service of one installation."""

    def __init__(self, catalog: Catalog, batcher: Batcher) -> None:
        self._catalog, self._batcher = catalog, batcher

    def known_models(self) -> list[KnownModel]:
        """Every model of the catalogue."""
        return [self.known_model(name) for name in self._catalog.entries]

    def known_model(self, name: str) -> KnownModel:
        """One model. Raises NotFound."""
        entry = self._catalog.entry(name)
        try:
            return KnownModel(name, entry, answer=self._catalog.answer(name))
        except FailedPrecondition as error:
            return KnownModel(name, entry, unavailable=error.message)

    async def embed(
        self, embedder: Embedder, texts: Sequence[str], input_type: InputType, truncate: Truncate
    ) -> Embeddings:
        """One vector per text. Raises TextTooLong or Unavailable.

        Passages are computed some at a time, so that a query need not wait for a whole batch of them.
        """
        lane = QUERY if input_type == "query" else PASSAGE
        parts: list[Embeddings] = []
        for start in range(0, len(texts), AT_ONCE):
            part = texts[start : start + AT_ONCE]
            try:
                parts.append(await self._batcher.run(embedder.embed, part, input_type, truncate, lane=lane))
            except TextTooLong as error:
                raise TextTooLong(start + error.position, error.tokens, error.limit, error.model) from error
        return Embeddings(
            np.concatenate([part.vectors for part in parts]),
            [tokens for part in parts for tokens in part.tokens],
            [cut for part in parts for cut in part.truncated],
        )

    def rerank_call(self, model: str, parameters: dict[str, Any] | None) -> RerankCall:
        """Who answers to the model and how.

        Raises NotFound for an unknown model, FailedPrecondition for one that cannot answer here, InvalidArgument for
        parameters the model does not have.
        """
        entry = self._catalog.entry(model, "rerank")
        parameters = parameters or {}
        truncate = parameters.get("truncate", entry.truncate)
        if truncate not in ("END", "NONE"):
            raise InvalidArgument("The rerank parameter 'truncate' must be END or NONE")
        most_chunks = entry.max_chunks_per_doc
        chunks = parameters.get("max_chunks_per_doc", most_chunks)
        if most_chunks and (type(chunks) is not int or not 1 <= chunks <= most_chunks):
            raise InvalidArgument(f"The rerank parameter 'max_chunks_per_doc' must be between 1 and {most_chunks}")
        allowed = ["truncate", *(["max_chunks_per_doc"] if most_chunks else [])]
        for name in parameters:
            if name not in allowed:
                raise InvalidArgument(
                    f"Unknown rerank parameter '{name}' for model '{model}'; allowed: {', '.join(allowed)}"
                )
        return RerankCall(self._catalog.answer(model), truncate, entry.max_documents, entry.max_rank_fields)

    async def rerank(
        self, call: RerankCall, query: str, documents: Sequence[str], encoder: TextEncoder | None = None
    ) -> NDArray[np.float32]:
        """Scores float32 [n] in 0..1, higher is better. encoder: what late interaction reads with."""

        def compute() -> NDArray[np.float32]:
            return self._catalog.reranker(call.answer, encoder).score(query, documents, call.truncate)

        return await self._batcher.run(compute, lane=QUERY)
