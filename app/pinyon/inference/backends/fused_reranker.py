"""A reranker's own scores beside what retrieval knows of the hits already."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import TermStatistics, Truncate
from pinyon.inference.backend import Reranker
from pinyon.inference.backends.bm25_reranker import shares

Mix = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]], NDArray[np.float32]]
"""Own scores, cosines and shares to scores, all [n]; from pinyon.search.ranking."""


class FusingReranker:
    """A Reranker of hits. cosines: float32 [n], of the documents that it will score, in their order."""

    def __init__(
        self, own: Reranker, mix: Mix, cosines: NDArray[np.float32], statistics: TermStatistics | None
    ) -> None:
        self._own, self._mix, self._cosines, self._statistics = own, mix, cosines, statistics

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> NDArray[np.float32]:
        own = self._own.score(query, documents, truncate)
        return self._mix(own, self._cosines, shares(query, documents, self._statistics))
