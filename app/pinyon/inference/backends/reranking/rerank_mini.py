"""`pinyon-rerank-mini`: the small cross-encoder that comes with Pinyon, combined with late interaction.

The cross-encoder was trained on few and short questions, so it is never used alone. See
models/pinyon-rerank-mini/README.md for what it is good for.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Truncate
from pinyon.inference.backend import Reranker
from pinyon.inference.steps import Steps
from pinyon.search.fusion import with_cross_encoder


class MiniReranker:
    """A Reranker that combines late interaction with a cross-encoder, which counts less."""

    def __init__(self, late_interaction: Reranker, cross_encoder: Reranker) -> None:
        self._late_interaction, self._cross_encoder = late_interaction, cross_encoder

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> Steps[NDArray[np.float32]]:
        late = yield from self._late_interaction.score(query, documents, truncate)
        cross = yield from self._cross_encoder.score(query, documents, truncate)
        return with_cross_encoder(late, cross)
