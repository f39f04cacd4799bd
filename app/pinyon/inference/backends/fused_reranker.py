"""Combines the scores of a reranker with those that retrieval has of the same hits."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import TermStatistics, Truncate
from pinyon.inference.backend import Reranker
from pinyon.inference.backends.bm25_reranker import shares
from pinyon.inference.steps import Steps

Mix = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]], NDArray[np.float32]]
"""A formula from own scores, cosines and BM25 shares to scores, all [n]; see pinyon.search.ranking."""


class FusedReranker:
    """A Reranker of hits.

    own: the reranker. mix: the formula. cosines: float32 [n], of the query with the documents that it will score, in
    their order. statistics: of the query's terms in the namespace.
    """

    def __init__(
        self, own: Reranker, mix: Mix, cosines: NDArray[np.float32], statistics: TermStatistics | None
    ) -> None:
        self._own, self._mix, self._cosines, self._statistics = own, mix, cosines, statistics

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> Steps[NDArray[np.float32]]:
        own = yield from self._own.score(query, documents, truncate)
        by_words = yield from shares(query, documents, self._statistics)
        return self._mix(own, self._cosines, by_words)
