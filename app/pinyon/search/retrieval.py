"""The plan of a search: which kind of retrieval answers it, how many candidates each side brings, how scores are fused.

Pure: storage engines look up rows and scores, and call this for every decision that does not depend on them.
"""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import EVEN, Mix, QueryPlan, ScoreParts
from pinyon.search.fusion import Sides, corrected, fused
from pinyon.search.ranking import shortest

Rows = NDArray[np.int64]
Kind = Literal["dense", "sparse", "lexical", "hybrid"]
"""dense: by a dense vector, to whose product a sparse one may add. sparse: by terms with weights. lexical: by the words
of a text, scored by BM25. hybrid: by a dense vector and by the words of a text."""


def kind(plan: QueryPlan, has_vector: bool) -> Kind:
    """The retrieval that answers a plan. has_vector: whether the plan, or the record that it names, has a vector."""
    if plan.text is not None:
        return "hybrid" if has_vector else "lexical"
    return "dense" if has_vector else "sparse"


def depth(plan: QueryPlan, wanted: int) -> int:
    """How many candidates each side of hybrid retrieval contributes, and how many lexical hits are compared.

    wanted: how many hits are wanted.
    """
    return max(wanted, plan.mix.candidates)


class HybridParts(msgspec.Struct, frozen=True):
    """The parts of the hybrid scores of n candidates.

    rows: int64 [n], sorted. cosines: float32 [n]. lexical_scores: float64 [n], BM25; 0 without a word of the query.
    background: fusion.background(). sides: as they were fused.
    """

    rows: Rows
    cosines: NDArray[np.float32]
    lexical_scores: NDArray[np.float64]
    background: float
    sides: Sides

    def of(self, chosen: Rows) -> dict[int, ScoreParts]:
        """The parts of some candidates, by row number. Ranks are among all candidates."""
        places = np.searchsorted(self.rows, chosen)
        dense_ranks, lexical_ranks = _ranks(-self.cosines), _ranks(-self.lexical_scores)
        sides = self.sides
        by_similarity, by_words, by_learned = sides.weights
        weights = by_similarity + by_words + by_learned
        learned = np.full(len(self.rows), np.nan) if sides.learned is None else sides.learned
        columns = zip(
            chosen.tolist(),
            shortest(self.cosines[places]),
            dense_ranks[places].tolist(),
            shortest(self.lexical_scores[places].astype(np.float32)),
            lexical_ranks[places].tolist(),
            shortest(sides.similarities[places].astype(np.float32)),
            shortest(sides.shares[places].astype(np.float32)),
            (by_words / weights)[places].tolist(),
            np.isnan(learned)[places].tolist(),
            shortest(np.nan_to_num(learned)[places].astype(np.float32)),
            (by_learned / weights)[places].tolist(),
            strict=True,
        )
        (chance,) = shortest(np.array([self.background], np.float32))
        return {
            row: ScoreParts(
                dense=cosine,
                dense_rank=dense_rank,
                lexical=lexical or None,
                lexical_rank=lexical_rank if lexical else None,
                background=chance,
                similarity=similarity,
                share=share,
                lexical_weight=lexical_weight,
                learned=None if is_unread else learned_value,
                learned_weight=None if is_unread else learned_weight,
            )
            for (
                row,
                cosine,
                dense_rank,
                lexical,
                lexical_rank,
                similarity,
                share,
                lexical_weight,
                is_unread,
                learned_value,
                learned_weight,
            ) in columns
        }


def fuse(
    rows: Rows,
    cosines: NDArray[np.float32],
    background: float,
    lexical_rows: Rows,
    lexical_scores: NDArray[np.float64],
    lexical_shares: NDArray[np.float64],
    similarity_weight: float = 1.0,
    learned: NDArray[np.float64] | None = None,
    mix: Mix = EVEN,
) -> tuple[NDArray[np.float32], HybridParts]:
    """Hybrid scores of the candidates, float32 [n], and the parts of each score.

    rows: int64 [n], the candidates, sorted; cosines: float32 [n]; background: fusion.background(). lexical_rows: int64
    [m], sorted, every row with a word of the query; lexical_scores, lexical_shares: float64 [m], BM25 and the share
    that fusion.Sides has. A candidate without any word of the query has 0 for both, and no lexical part. learned:
    float64 [n], of the candidates. similarity_weight, learned, mix: as fusion.Sides has them.
    """
    place = np.searchsorted(lexical_rows, rows)
    has_words = place < len(lexical_rows)
    has_words[has_words] = lexical_rows[place[has_words]] == rows[has_words]
    shares, scores = np.zeros(len(rows)), np.zeros(len(rows))
    shares[has_words], scores[has_words] = lexical_shares[place[has_words]], lexical_scores[place[has_words]]
    sides = Sides(corrected(cosines, background), shares, similarity_weight, learned, mix)
    return fused(sides).astype(np.float32), HybridParts(rows, cosines, scores, background, sides)


def _ranks(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """The rank of each value, from 1 for the smallest; equal values keep their order."""
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    return ranks
