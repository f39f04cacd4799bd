"""The plan of a search: which kind of retrieval answers it, how many candidates each side brings, how scores are fused.

Pure: storage engines look up rows and scores, and call this for every decision that does not depend on them.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import QueryPlan, ScoreParts
from pinyon.search.fusion import LEXICAL_WEIGHT, corrected, fused
from pinyon.search.ranking import shortest

CANDIDATES = 100
"""Records that each side of hybrid retrieval contributes, at least."""

Rows = NDArray[np.int64]
Kind = Literal["dense", "sparse", "lexical", "hybrid"]
"""dense: by a dense vector, to whose product a sparse one may add. sparse: by terms with weights. lexical: by the words
of a text, scored by BM25. hybrid: by a dense vector and by the words of a text."""


def kind(plan: QueryPlan, has_vector: bool) -> Kind:
    """The retrieval that answers a plan. has_vector: whether the plan, or the record that it names, has a vector."""
    if plan.text is not None:
        return "hybrid" if has_vector else "lexical"
    return "dense" if has_vector else "sparse"


def depth(plan: QueryPlan) -> int:
    """How many candidates each side of hybrid retrieval contributes, and how many lexical hits are compared."""
    return max(plan.top_k, CANDIDATES)


def fuse(
    rows: Rows,
    cosines: NDArray[np.float32],
    background: float,
    lexical_rows: Rows,
    lexical_scores: NDArray[np.float64],
    lexical_shares: NDArray[np.float64],
    similarity_weight: float = 1.0,
) -> tuple[NDArray[np.float32], dict[int, ScoreParts]]:
    """Hybrid scores of the candidates, float32 [n], and the parts of each score by row number.

    rows: int64 [n], the candidates; cosines: float32 [n]; background: fusion.background(). lexical_rows: int64 [m],
    sorted, every row with a word of the query; lexical_scores, lexical_shares: float64 [m], BM25 and the share that
    fusion.fused() takes. A candidate without any word of the query has 0 for both, and no lexical part.
    similarity_weight: as fusion.fused() takes it.
    """
    place = np.searchsorted(lexical_rows, rows)
    has_words = place < len(lexical_rows)
    has_words[has_words] = lexical_rows[place[has_words]] == rows[has_words]
    shares, scores = np.zeros(len(rows)), np.zeros(len(rows))
    shares[has_words], scores[has_words] = lexical_shares[place[has_words]], lexical_scores[place[has_words]]
    similarities = corrected(cosines, background)
    lexical_weight = LEXICAL_WEIGHT / (similarity_weight + LEXICAL_WEIGHT)
    parts = _parts(rows, cosines, scores, background, similarities, shares, lexical_weight)
    return fused(similarities, shares, similarity_weight).astype(np.float32), parts


def _parts(
    rows: Rows,
    cosines: NDArray[np.float32],
    lexical_scores: NDArray[np.float64],
    background: float,
    similarities: NDArray[np.float64],
    shares: NDArray[np.float64],
    lexical_weight: float,
) -> dict[int, ScoreParts]:
    """Score and rank of each candidate on each side, by row number."""
    dense_ranks, lexical_ranks = _ranks(-cosines), _ranks(-lexical_scores)
    columns = zip(
        rows.tolist(),
        shortest(cosines),
        dense_ranks,
        shortest(lexical_scores.astype(np.float32)),
        lexical_ranks,
        shortest(similarities.astype(np.float32)),
        shortest(shares.astype(np.float32)),
        strict=True,
    )
    (chance,) = shortest(np.array([background], np.float32))
    return {
        row: ScoreParts(
            cosine,
            dense_rank,
            lexical or None,
            lexical_rank if lexical else None,
            chance,
            similarity,
            share,
            lexical_weight,
        )
        for row, cosine, dense_rank, lexical, lexical_rank, similarity, share in columns
    }


def _ranks(values: NDArray[np.floating]) -> list[int]:
    """The rank of each value, from 1 for the smallest; equal values keep their order."""
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    ranked: list[int] = ranks.tolist()
    return ranked
