"""Embeds texts as an index says, and repeats what was begun with a model that the index no longer has."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from pinyon.domain import Index, IndexSpec, InputType, Truncate
from pinyon.errors import EmbeddingMismatch, Unavailable
from pinyon.inference.backend import SparseEmbedder
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.inference.embedded_text import EmbeddedText, TokenForm, heaviest
from pinyon.services.inference.inference import Inference

T = TypeVar("T")
MOST_ATTEMPTS = 10
"""Attempts at a request while its index is re-embedded. A small index can be re-embedded several times in a second."""


class IndexTexts:
    """Texts of every index of an installation. sparse_terms: the most terms that a sparse vector may have."""

    def __init__(self, indexes: Indexes, inference: Inference, sparse_terms: int) -> None:
        self._indexes, self._inference, self._sparse_terms = indexes, inference, sparse_terms

    async def embed(
        self,
        spec: IndexSpec,
        embedder: Any,
        texts: Sequence[str],
        input_type: InputType,
        truncate: Truncate,
        max_tokens: int | None,
        form: TokenForm | None = None,
    ) -> list[EmbeddedText]:
        """Embed texts, densely or sparsely as the index is. form: as in Inference.embed()."""
        if not spec.sparse:
            return await self._inference.embed(embedder, texts, input_type, truncate, form)
        embedded = await self._inference.embed_sparse(embedder, texts, input_type, truncate, max_tokens)
        most = self._sparse_terms
        return [
            text if text.sparse is None else msgspec.structs.replace(text, sparse=heaviest(text.sparse, most))
            for text in embedded
        ]

    async def repeat_if_reembedded(self, index: Index, call: Callable[[Index], Awaitable[T]]) -> T:
        """Make the call, and make it again if the index was re-embedded by another model meanwhile.

        Raises Unavailable if that happens during each of MOST_ATTEMPTS calls.
        """
        for _ in range(MOST_ATTEMPTS):
            try:
                return await call(index)
            except EmbeddingMismatch:
                self._indexes.embedders.forget(index.handle)
                index = self._indexes.index(index.handle)
        raise Unavailable(f"Index {index.name} was re-embedded {MOST_ATTEMPTS} times during the request; try again")


def sparse_model(spec: IndexSpec, embedder: Any) -> SparseEmbedder | None:
    """The learned sparse model beside the dense model of an index, if it has one."""
    return None if spec.sparse else embedder.sparse
