"""Combines the scores of a reranker with those that retrieval has of the same hits."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import TermStatistics, Truncate
from pinyon.inference.backend import Reranker
from pinyon.inference.backends.bm25_reranker import shares
from pinyon.inference.steps import Steps
from pinyon.search.fusion import corrected
from pinyon.search.unrelated import UNRELATED

Mix = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], NDArray[np.float32]]
"""A formula from own scores, similarities and shares to scores, all [n]; see pinyon.search.fusion."""


class FusedReranker:
    """A Reranker of hits.

    own: the reranker. mix: the formula. similarities: float64 [n], of the query with the documents that it will score,
    in their order. statistics: of the query's terms in the namespace.
    """

    def __init__(
        self, own: Reranker, mix: Mix, similarities: NDArray[np.float64], statistics: TermStatistics | None
    ) -> None:
        self._own, self._mix, self._similarities, self._statistics = own, mix, similarities, statistics

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> Steps[NDArray[np.float32]]:
        own = yield from self._own.score(query, documents, truncate)
        by_words = yield from shares(query, documents, self._statistics)
        # Tokens of one model are nearer to each other than those of another, so own scores are corrected like cosines.
        by_chance = yield from self._own.score(query, UNRELATED, "END")
        return self._mix(corrected(own, float(by_chance.mean())), self._similarities, by_words)
