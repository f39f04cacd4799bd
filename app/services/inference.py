"""Embedding and reranking as the services use them: names in, numbers and labels out, off the event loop."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.domain import InputType, Truncate
from app.errors import FailedPrecondition, InvalidArgument
from app.inference.backend import Embedder, Embeddings, TextEncoder
from app.inference.batcher import PASSAGE, QUERY, Batcher
from app.inference.catalog import Answer, Catalog
from app.inference.manifest import ModelEntry


class RerankCall(msgspec.Struct, frozen=True):
    """A rerank that was checked and can run. answer: who will compute it."""

    answer: Answer
    truncate: Truncate
    max_documents: int
    max_rank_fields: int


class KnownModel(msgspec.Struct, frozen=True):
    """A model of the catalogue. served_by: the label of who answers here; unavailable: why nobody does."""

    name: str
    entry: ModelEntry
    served_by: str | None = None
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
            return KnownModel(name, entry, served_by=self._catalog.answer(name).label)
        except FailedPrecondition as error:
            return KnownModel(name, entry, unavailable=error.message)

    async def embed(
        self, embedder: Embedder, texts: Sequence[str], input_type: InputType, truncate: Truncate
    ) -> Embeddings:
        """One vector per text. Raises TextTooLong or Unavailable."""
        lane = QUERY if input_type == "query" else PASSAGE
        return await self._batcher.run(embedder.embed, texts, input_type, truncate, lane=lane)

    def rerank_call(self, model: str, parameters: dict[str, object] | None) -> RerankCall:
        """Who answers to the model and how.

        Raises NotFound for an unknown model, FailedPrecondition for one that cannot answer here, InvalidArgument for
        parameters the model does not have.
        """
        entry = self._catalog.entry(model, "rerank")
        truncate = entry.truncate
        for name, value in (parameters or {}).items():
            if name != "truncate":
                raise InvalidArgument(f"Unknown rerank parameter '{name}' for model '{model}'; allowed: truncate")
            if value not in ("END", "NONE"):
                raise InvalidArgument("The rerank parameter 'truncate' must be END or NONE")
            truncate = value
        return RerankCall(self._catalog.answer(model), truncate, entry.max_documents, entry.max_rank_fields)

    async def rerank(
        self, call: RerankCall, query: str, documents: Sequence[str], encoder: TextEncoder | None = None
    ) -> NDArray[np.float32]:
        """Scores float32 [n] in 0..1, higher is better. encoder: what late interaction reads with."""

        def compute() -> NDArray[np.float32]:
            return self._catalog.reranker(call.answer, encoder).score(query, documents, call.truncate)

        return await self._batcher.run(compute, lane=QUERY)
