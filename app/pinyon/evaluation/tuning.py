"""Fits the mix of an index, and what its scores mean, to judged queries. Pure."""

from collections.abc import Mapping, Sequence
from itertools import product
from math import log2
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import EVEN, Curve, Mix
from pinyon.evaluation.measures import GAINS, Verdict, compared
from pinyon.search.calibration import calibration_error, isotonic, probability
from pinyon.search.fusion import LATE_INTERACTION_WEIGHT, MINI_WEIGHT

LEAST_QUERIES = 20
"""With fewer judged queries nothing is fitted, and with fewer relevant hits no curve."""
LEAST_HITS = 10
"""A step of a curve stands for at least so many hits. Few queries have few relevant hits, so it is a small number."""
FOLDS = 5
RERANKER_WEIGHTS = {"pinyon-late-interaction": LATE_INTERACTION_WEIGHT, "pinyon-rerank-mini": MINI_WEIGHT}
"""Rerankers whose own score is combined with the sides of retrieval, and its weight in the EVEN mix."""
WORDS = (1.0, 2.0, 0.5, 4.0, 0.25, 8.0, 0.125, 0.0)
LEARNED = (1.0, 2.0, 0.5, 0.0)
RERANKER = (1.0, 2.0, 0.5, 4.0, 0.25, 0.0)
CANDIDATES = (100, 50, 200, 25)
"""Values that are tried."""
MOST_CANDIDATES = 200


class Candidates(msgspec.Struct, frozen=True):
    """The hits of one query in the EVEN mix, and the parts of their scores.

    ids: of the records, [n]. parts, weights: float64 [4, n], similarity, words, learned words and the reranker's own
    score, and what they weigh. ranks: int64 [n], the best rank of a hit on any side, from 1. grades: of the query.
    """

    ids: tuple[str, ...]
    parts: NDArray[np.float64]
    weights: NDArray[np.float64]
    ranks: NDArray[np.int64]
    grades: Mapping[str, int]

    def gain(self, mix: Mix) -> float:
        """nDCG@10 of the query in another mix."""
        factors = np.array([[mix.similarity], [mix.words], [mix.learned], [mix.reranker]])
        weights = self.weights * factors
        scores = (weights * self.parts).sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-12)
        scores = np.where(self.ranks <= mix.candidates, scores, -np.inf)
        order = np.argsort(-scores, kind="stable")[:10]
        ranked = [self.grades.get(self.ids[place], 0) for place in order if scores[place] > -np.inf]
        return _discounted(ranked) / _discounted(sorted(self.grades.values(), reverse=True)[:10])


def _discounted(grades: Sequence[int]) -> float:
    return float(sum(GAINS[grade] / log2(place + 2) for place, grade in enumerate(grades)))


def candidates(hits: Sequence[Mapping[str, Any]], grades: Mapping[str, int], reranker: str | None) -> Candidates:
    """Candidates from the hits of a hybrid search in the EVEN mix with explanations, as JSON values.

    reranker: one of RERANKER_WEIGHTS that reranked them, or None. Its own score is what its combined score has beside
    the sides of retrieval.
    """
    told = [hit["fields"]["_explain"] for hit in hits]

    def column(name: str, absent: float = 0.0) -> NDArray[np.float64]:
        return np.array([explained.get(name, absent) for explained in told], np.float64)

    by_words, by_learned = column("lexical_weight"), column("learned_weight")
    by_similarity = 1.0 - by_words - by_learned
    own, by_own = np.zeros(len(told)), np.zeros(len(told))
    if reranker is not None:
        # Weights relative to that of the words, which is 1 for every query: see fusion.Sides.
        by_own = RERANKER_WEIGHTS[reranker] * by_similarity
        own = (column("rerank") * (1.0 + by_own) - column("score")) / np.maximum(by_own, 1e-12)
    parts = np.stack([column("similarity"), column("share"), column("learned"), own])
    ranks = np.minimum(column("dense_rank", np.inf), column("lexical_rank", np.inf))
    weights = np.stack([by_similarity, by_words, by_learned, by_own])
    return Candidates(tuple(hit["_id"] for hit in hits), parts, weights, ranks.astype(np.int64), grades)


def mixes(queries: Sequence[Candidates]) -> list[Mix]:
    """The mixes that are tried, those nearest to the EVEN mix first. Sides that no hit has are left as they are."""
    has_learned, has_reranker = (any((query.weights[side] > 0).any() for query in queries) for side in (2, 3))
    options = product(
        [(1.0, words) for words in WORDS] + [(0.0, 1.0)],
        LEARNED if has_learned else (1.0,),
        RERANKER if has_reranker else (1.0,),
        (EVEN.candidates,) if has_reranker else CANDIDATES,
    )
    tried = [
        Mix(similarity, words, learned, reranker, most) for (similarity, words), learned, reranker, most in options
    ]
    return sorted(tried, key=_distance)


def _distance(mix: Mix) -> float:
    """How far a mix is from the EVEN one: doublings of its factors and candidates; 0 in place of a factor is 5."""
    factors = mix.similarity, mix.words, mix.learned, mix.reranker, mix.candidates / EVEN.candidates
    return sum(abs(log2(factor)) if factor > 0 else 5.0 for factor in factors)


class TunedMix(msgspec.Struct, frozen=True):
    """A mix that was fitted. gain: nDCG@10 of queries that it was not fitted on, against the mix of before."""

    mix: Mix
    before: float
    after: float
    gain: Verdict


def tune(queries: Sequence[Candidates], current: Mix) -> TunedMix:
    """The mix with the best nDCG@10, and its gain over the current one by cross-validation."""
    tried = mixes(queries)
    gains = np.array([[query.gain(mix) for query in queries] for mix in tried])
    before = np.array([query.gain(current) for query in queries])
    held_out = np.zeros(len(queries))
    for fold in folds(len(queries)):
        rest = np.setdiff1d(np.arange(len(queries)), fold)
        held_out[fold] = gains[_chosen(gains[:, rest]), fold]
    best = tried[_chosen(gains)]
    verdict = compared(held_out.tolist(), before.tolist())
    return TunedMix(best, float(before.mean()), float(held_out.mean()), verdict)


def _chosen(gains: NDArray[np.float64]) -> int:
    """The place of the mix to take: the first one, and so the nearest to the EVEN mix, that is as good as the best.

    As good: its mean is lower by at most one standard error of the difference. gains: float64 [mixes, queries]. Source:
    the rule of one standard error (Breiman et al., Classification and Regression Trees, 1984).
    """
    behind = gains[int(np.argmax(gains.mean(axis=1)))] - gains
    errors = behind.std(axis=1, ddof=1) / np.sqrt(gains.shape[1])
    return int(np.argmax(behind.mean(axis=1) <= errors))


def folds(count: int) -> list[NDArray[np.int64]]:
    """The places of the queries of each fold, in an order that is shuffled but always the same."""
    return [np.sort(part) for part in np.array_split(np.random.default_rng(0).permutation(count), FOLDS)]


class TunedCurve(msgspec.Struct, frozen=True):
    """What the scores of a pipeline mean. error: expected calibration error on queries that it was not fitted on.

    told_apart: whether these chances are nearer to the truth than the same chance for every hit, by more than chance.
    """

    curve: Curve
    error: float
    told_apart: Verdict


def calibrate(scores: Sequence[NDArray[np.float64]], relevant: Sequence[NDArray[np.bool_]]) -> TunedCurve | None:
    """Fit a curve to the hits of each query by cross-validation.

    None if fewer than LEAST_QUERIES queries have hits, or fewer than as many hits are relevant: they say too little.

    scores: float64 [hits] of each query. relevant: bool [hits] of each query.
    """
    some = [place for place, of_query in enumerate(scores) if len(of_query)]
    if min(len(some), sum(int(of_query.sum()) for of_query in relevant)) < LEAST_QUERIES:
        return None
    scores, relevant = [scores[place] for place in some], [relevant[place] for place in some]
    chances: list[NDArray[np.float64]] = [np.zeros(0)] * len(scores)
    better = np.zeros(len(scores))
    for fold in folds(len(scores)):
        rest = np.setdiff1d(np.arange(len(scores)), fold).tolist()
        of_rest = np.concatenate([relevant[place] for place in rest])
        curve = isotonic(np.concatenate([scores[place] for place in rest]), of_rest, least_hits=LEAST_HITS, flat=True)
        for place in fold.tolist():
            chances[place] = probability(curve, scores[place])
            squares = (of_rest.mean() - relevant[place]) ** 2 - (chances[place] - relevant[place]) ** 2
            better[place] = squares.mean()
    every_score, every_relevant = np.concatenate(scores), np.concatenate(relevant)
    error = calibration_error(np.concatenate(chances), every_relevant)
    curve = isotonic(every_score, every_relevant, least_hits=LEAST_HITS, flat=True)
    return TunedCurve(curve, error, compared(better.tolist(), [0.0] * len(better)))
