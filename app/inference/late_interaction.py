"""`pinyon-late-interaction`: reranking by the token vectors of an embedding model, without weights of its own.

The stand-in for cross-encoders whose weights are not here. Slower than the search, much quicker than a large
cross-encoder, and better than the search alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.domain import Truncate
from app.errors import TextTooLong
from app.inference.backend import TextEncoder
from app.ranking import max_sim


class LateInteractionReranker:
    """A Reranker: mean over the query's tokens of the best cosine in the document, moved to 0..1.

    Texts beyond what the encoder reads at once are read in windows, so that max_tokens is the only limit.
    """

    def __init__(self, encoder: TextEncoder, name: str, max_tokens: int) -> None:
        self._encoder, self._name, self._max_tokens = encoder, name, max_tokens

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> NDArray[np.float32]:
        asked, *counts = self._encoder.count_tokens([query, *documents])
        if truncate == "NONE":
            for position, tokens in enumerate(counts):
                if asked + tokens > self._max_tokens:
                    raise TextTooLong(position, asked + tokens, self._max_tokens, self._name)
        # As in a cross-encoder's pair, the query takes its share of the limit first; half is always the document's.
        of_query = min(asked, self._max_tokens // 2)
        (query_vectors,) = self._encoder.token_vectors([query], of_query)
        room = self._max_tokens - of_query
        # Asked for without regard to the query, so that the encoder can remember them for the next one.
        document_vectors = self._encoder.token_vectors(documents, self._max_tokens)
        return np.array([max_sim(query_vectors, vectors[:room]) for vectors in document_vectors], dtype=np.float32)
