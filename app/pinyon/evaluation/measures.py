"""Measures of ranking quality, and a test whether two pipelines differ by more than chance."""

from collections.abc import Mapping, Sequence
from typing import Literal

import ir_measures
import msgspec
import numpy as np

from pinyon.evaluation.collection import HIGHEST_GRADE, Grades

GAINS = {grade: 2**grade - 1 for grade in range(HIGHEST_GRADE + 1)}
"""Exponential gains (Burges et al., Learning to Rank using Gradient Descent, 2005). trec_eval uses linear ones."""
MEASURES = {
    "nDCG@10": ir_measures.nDCG(gains=GAINS) @ 10,
    "recall@100": ir_measures.R @ 100,
    "MRR@10": ir_measures.RR @ 10,
}
ROUNDS = 5_000
"""Samples of the bootstrap."""


class Verdict(msgspec.Struct, frozen=True):
    """A comparison. difference: of the means. low, high: its 95 % confidence interval."""

    word: Literal["better", "worse", "no difference"]
    difference: float
    low: float
    high: float


def values(ranked: Mapping[str, Sequence[str]], grades: Grades) -> dict[str, list[float]]:
    """The values of each measure, one per query in the order of `ranked`. ranked: ids of the hits, best first."""
    run = {query: {id: float(-rank) for rank, id in enumerate(ids)} for query, ids in ranked.items() if ids}
    judged = {query: {id: max(grade, 0) for id, grade in grades[query].items()} for query in ranked}
    by_measure = {name: dict.fromkeys(ranked, 0.0) for name in MEASURES}
    names = {str(measure): name for name, measure in MEASURES.items()}
    for row in ir_measures.iter_calc(list(MEASURES.values()), judged, run):
        by_measure[names[str(row.measure)]][row.query_id] = row.value
    return {name: list(of_query.values()) for name, of_query in by_measure.items()}


def compared(one: Sequence[float], other: Sequence[float]) -> Verdict:
    """Compare two means by a paired bootstrap over the queries (Sakai, SIGIR 2006)."""
    differences = np.subtract(one, other)
    dice = np.random.default_rng(0)
    means = [differences[dice.integers(0, len(differences), len(differences))].mean() for _ in range(ROUNDS)]
    low, high = (float(value) for value in np.quantile(means, (0.025, 0.975)))
    word: Literal["better", "worse", "no difference"]
    word = "better" if low > 0 else "worse" if high < 0 else "no difference"
    return Verdict(word, float(differences.mean()), low, high)


def quantiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """p50_ms and p95_ms of times in milliseconds."""
    return {f"p{q}_ms": round(float(np.quantile(milliseconds, q / 100)), 1) for q in (50, 95)}
