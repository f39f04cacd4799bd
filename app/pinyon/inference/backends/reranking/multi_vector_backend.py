"""Late interaction by models that were trained for it (ColBERT): a vector for each token, compared token by token.

sentence-transformers reads them with its MultiVectorEncoder, in its own layout, in PyLate's, and in that of Stanford's
ColBERT. A document's vectors do not depend on the query, so they are cached.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinyon.inference.backend import Windows
from pinyon.inference.backends.transformer import sentence_model
from pinyon.inference.backends.transformer.sentence_model import Changes
from pinyon.inference.backends.transformer.torch_backend import (
    FIRST_RATE,
    computed,
    in_batches,
    token_counts,
    windows_of,
)
from pinyon.inference.precision import Precision
from pinyon.inference.steps import Pace, Steps
from pinyon.inference.token_cache import TokenCache
from pinyon.search.ranking import max_sim


class MultiVectorModel:
    """A model that scores pairs by late interaction. It has the methods of a cross-encoder, so it reranks as one does.

    cache_bytes: of the cache of documents' vectors.
    """

    def __init__(self, folder: Path, precision: Precision, changes: Changes, cache_bytes: int) -> None:
        model = sentence_model.multi_vector_encoder(folder, changes)
        self._model, self._computed = computed(model, model.tokenizer, precision)
        self._tokenizer: Any = self._model.tokenizer
        self._document_prompt = model.prompts.get("document") or ""
        self.own_limit = changes.max_tokens
        self._pace, self._cache = Pace(FIRST_RATE), TokenCache(cache_bytes)

    def pair_tokens(self, query: str, documents: Sequence[str]) -> list[int]:
        """Number of tokens of each document before any cut. The query is read apart and takes none of its room."""
        return token_counts(self._tokenizer, [self._document_prompt + document for document in documents])

    def predict(self, query: str, documents: Sequence[str], max_tokens: int) -> Steps[NDArray[np.float32]]:
        """Scores float32 [n], as max_sim() scales them. Documents are cut to max_tokens, or to the model's limit."""
        of_query = self.query_vectors(query)
        yield
        limit = min(max_tokens, self.own_limit)
        of_documents = yield from self._cache.windows(documents, limit, self.document_vectors)
        return np.array([max_sim(of_query, vectors) for (vectors,) in of_documents], dtype=np.float32)

    def query_vectors(self, query: str) -> NDArray[np.float32]:
        """Unit vectors of a query's tokens, float32 [tokens, dimension], with those that the model adds."""
        with self._computed():
            vectors = self._model.encode_query([query], show_progress_bar=False)
        return _array(vectors[0])

    def document_vectors(self, documents: Sequence[str], max_tokens: int) -> Steps[list[Windows]]:
        """Unit vectors of each document's tokens, without those that the model leaves out, in one window."""
        windows: list[Windows] = [[]] * len(documents)

        def compute(places: list[int]) -> None:
            with self._computed():
                vectors = self._model.encode_document(
                    [documents[place] for place in places],
                    batch_size=len(places),
                    show_progress_bar=False,
                    processing_kwargs={"text": {"max_length": max_tokens, "truncation": True}},
                )
            for place, of_document in zip(places, vectors, strict=True):
                windows[place] = [_array(of_document)]

        yield from in_batches(documents, lambda some: self.pair_tokens("", some), max_tokens, self._pace, compute)
        return windows

    def windows(self, query: str, document: str, max_tokens: int, most: int) -> list[str]:
        """The document in windows that the model reads at once: the first ones, at most `most`."""
        limit = min(max_tokens, self.own_limit)
        return windows_of(self._tokenizer, document, limit - self.pair_tokens(query, [""])[0], most)


def _array(vectors: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)
