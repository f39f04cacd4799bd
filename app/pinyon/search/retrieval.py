"""The plan of a search: which kind of retrieval answers it, how many candidates each side brings, how scores are fused.

Pure: storage engines look up rows and scores, and call this for every decision that does not depend on them.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import QueryPlan, ScoreParts
from pinyon.search.ranking import fused, shortest

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
    lexical_rows: Rows,
    lexical_scores: NDArray[np.float64],
    lexical_shares: NDArray[np.float64],
) -> tuple[NDArray[np.float32], dict[int, ScoreParts]]:
    """Hybrid scores of the candidates, float32 [n], and the parts of each score by row number.

    rows: int64 [n], the candidates; cosines: float32 [n]. lexical_rows: int64 [m], sorted, every row with a word of the
    query; lexical_scores, lexical_shares: float64 [m], BM25 and the share that ranking.fused() takes. A candidate
    without any word of the query has 0 for both, and no lexical part.
    """
    place = np.searchsorted(lexical_rows, rows)
    has_words = place < len(lexical_rows)
    has_words[has_words] = lexical_rows[place[has_words]] == rows[has_words]
    shares, scores = np.zeros(len(rows)), np.zeros(len(rows))
    shares[has_words], scores[has_words] = lexical_shares[place[has_words]], lexical_scores[place[has_words]]
    return fused(cosines, shares).astype(np.float32), _parts(rows, cosines, scores)


def _parts(rows: Rows, cosines: NDArray[np.float32], lexical_scores: NDArray[np.float64]) -> dict[int, ScoreParts]:
    """Score and rank of each candidate on each side, by row number."""
    dense_ranks, lexical_ranks = _ranks(-cosines), _ranks(-lexical_scores)
    columns = zip(
        rows.tolist(),
        shortest(cosines),
        dense_ranks,
        shortest(lexical_scores.astype(np.float32)),
        lexical_ranks,
        strict=True,
    )
    return {
        row: ScoreParts(cosine, dense_rank, lexical or None, lexical_rank if lexical else None)
        for row, cosine, dense_rank, lexical, lexical_rank in columns
    }


def _ranks(values: NDArray[np.floating]) -> list[int]:
    """The rank of each value, from 1 for the smallest; equal values keep their order."""
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    ranked: list[int] = ranks.tolist()
    return ranked
