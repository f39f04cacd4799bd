"""Combines the scores of a reranker with those that retrieval has of the same hits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Truncate
from pinyon.inference.backend import Reranker, Retrieved
from pinyon.inference.backends.reranking.bm25_reranker import shares
from pinyon.inference.steps import Steps
from pinyon.search.fusion import Formula, Sides, corrected
from pinyon.search.unrelated import UNRELATED


class FusedReranker:
    """A Reranker of hits.

    own: the reranker. mix: the formula. retrieved: of the documents that it will score, in their order, with
    similarities.
    """

    def __init__(self, own: Reranker, mix: Formula, retrieved: Retrieved) -> None:
        self._own, self._mix, self._retrieved = own, mix, retrieved

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> Steps[NDArray[np.float32]]:
        own = yield from self._own.score(query, documents, truncate)
        by_words = self._retrieved.shares
        if by_words is None:
            by_words = yield from shares(query, documents, self._retrieved.statistics)
        # Tokens of one model are nearer to each other than those of another, so own scores are corrected like cosines.
        by_chance = yield from self._own.score(query, UNRELATED, "END")
        retrieved = self._retrieved
        assert retrieved.similarities is not None
        sides = Sides(
            retrieved.similarities,
            by_words,
            retrieved.similarity_weight,
            retrieved.learned,
            retrieved.mix,
            retrieved.token_weight,
        )
        return self._mix(corrected(own, float(by_chance.mean())), sides)
