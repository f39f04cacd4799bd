"""The mix of meaning, words and learned words into one score. Pure.

Each side says how much better a text fits than chance: 0 is what any text of the namespace has, 1 is a perfect match.
So the sides can be added with the same weights for every embedding model, whatever range its cosines have.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import EVEN, Centroid, Mix

PRIOR_RECORDS = 10.0
"""In a centroid, the model's vectors of unrelated texts weigh as much as so many records."""
SMALLEST_RANGE = 1e-3
"""Cosines are never stretched more than to this range: all texts of the namespace are nearly the same then."""
BELOW_CHANCE = 0.1
"""Factor of similarities below chance. A text that is further from the query than most is not less relevant than they
are, and may have the words. The factor is not 0, so that such texts still have an order."""
LEXICAL_WEIGHT = 1.0
"""Weight of the words' share relative to the similarity; see docs/notes/relevance.md."""
LEARNED_WEIGHT = 0.5
"""Weight of learned words relative to the similarity; see docs/notes/relevance.md."""
LATE_INTERACTION_WEIGHT = 1.5
"""Weight of late interaction relative to the similarity; see docs/notes/relevance.md."""
CROSS_ENCODER_WEIGHT = 0.15
"""Weight of pinyon-rerank-mini's cross-encoder relative to the similarity; see docs/notes/relevance.md."""
MINI_WEIGHT = LATE_INTERACTION_WEIGHT + CROSS_ENCODER_WEIGHT


def background(query: NDArray[np.float32], centroid: Centroid, unrelated: NDArray[np.float64] | None) -> float:
    """The cosine that a text has with the query by chance, in -1..1.

    The product with the mean of unit vectors is the mean of the cosines. A few records say little about chance, so the
    mean is drawn towards texts that have nothing to do with any query (shrinkage with PRIOR_RECORDS).

    query: float32 [dimension]. unrelated: float64 [dimension], the mean of the unit vectors of unrelated texts; None if
    the model is not at hand.
    """
    mean = centroid.mean * centroid.records
    if unrelated is not None:
        mean = (mean + PRIOR_RECORDS * unrelated) / (centroid.records + PRIOR_RECORDS)
    else:
        mean = mean / centroid.records
    exact = query.astype(np.float64)
    length = float(np.sqrt(exact @ exact))
    return float(np.clip(exact @ mean / length, -1.0, 1.0)) if length > 0 else 0.0


def corrected(values: NDArray[np.floating[Any]], chance: float) -> NDArray[np.float64]:
    """Values corrected for chance: float64 [n]; 0 for the value that chance gives, 1 for 1, at least -BELOW_CHANCE.

    This is Cohen's kappa (1960) of a cosine. It does not change if a model adds a constant to all cosines, or scales
    their distance from 1. values: [n], at most 1.
    """
    exact = np.clip((values.astype(np.float64) - chance) / max(1.0 - chance, SMALLEST_RANGE), -1.0, 1.0)
    return np.asarray(np.where(exact < 0, BELOW_CHANCE * exact, exact))


class Sides(msgspec.Struct, frozen=True):
    """What the sides of retrieval say about n texts, and how much each side counts for the query.

    similarities: float64 [n], corrected() cosines. shares: float64 [n] in 0..1, the share of the query's information
    that the words of a text carry (ranking.IN_MIX). learned: float64 [n], corrected() products of learned words; NaN
    for a text that the learned sparse model has not read; None if there is no such model, or if it does not know the
    query's language. similarity_weight: known_languages.similarity_weight(). mix: how much the sides count in this
    index. token_weight: like similarity_weight, of the model whose token vectors a reranker reads.
    """

    similarities: NDArray[np.float64]
    shares: NDArray[np.float64]
    similarity_weight: float = 1.0
    learned: NDArray[np.float64] | None = None
    mix: Mix = EVEN
    token_weight: float = 1.0

    @property
    def weights(self) -> tuple[float, float, NDArray[np.float64]]:
        """The weights of similarities, shares and learned words, the last one float64 [n]: 0 where there are none."""
        similarity, lexical = self.similarity_weight * self.mix.similarity, LEXICAL_WEIGHT * self.mix.words
        if self.learned is None:
            return similarity, lexical, np.zeros(len(self.shares))
        learned = np.where(np.isnan(self.learned), 0.0, LEARNED_WEIGHT * self.mix.learned)
        return similarity, lexical, learned

    def reranker_weight(self, weight: float) -> float:
        """The weight of a reranker's own score. weight: that of the same reranker in the EVEN mix."""
        return self.token_weight * weight * self.mix.reranker


def learned_words(products: NDArray[np.float64], own: float, total: float, records: int) -> NDArray[np.float64]:
    """The learned side of a mix, as Sides takes it: float64 [n], products corrected for chance.

    products: float64 [n], of the learned sparse vectors of query and texts; NaN for a text without one. own: the
    product of the query with itself, more than 0. total: the sum of its products with all texts of the namespace.
    records: how many texts these are. Chance is their mean, in which PRIOR_RECORDS texts share no word with the query.
    """
    return corrected(products / own, total / own / (records + PRIOR_RECORDS))


def fused(sides: Sides) -> NDArray[np.float64]:
    """Hybrid scores, float64 [n], from -0.1 to 1. A text like any other, without a word of the query, has 0.

    This is the weighted mean of the sides. If few keywords match, similarity decides.
    """
    return _averaged(sides, np.zeros(len(sides.shares)), 0.0)


Formula = Callable[[NDArray[np.float64], Sides], NDArray[np.float32]]
"""A formula from a reranker's own scores and the sides of retrieval to scores, all [n]."""


def with_late_interaction(own: NDArray[np.float64], sides: Sides) -> NDArray[np.float32]:
    """Combine late interaction with the sides of retrieval: float32 [n], in 0..1.

    own: float64 [n], ranking.max_sim(), corrected() like the similarities.
    The tokens are those of the embedding model, so they count as much as its similarities.
    """
    return np.clip(_averaged(sides, own, LATE_INTERACTION_WEIGHT), 0.0, 1.0).astype(np.float32)


def with_cross_encoder(late: NDArray[np.float32], cross: NDArray[np.float32]) -> NDArray[np.float32]:
    """The score of pinyon-rerank-mini: float32 [n], in 0..1.

    late: float32 [n], max_sim(). cross: float32 [n], the score of the cross-encoder, in 0..1.
    """
    mixed = LATE_INTERACTION_WEIGHT * (2.0 * late - 1.0) + CROSS_ENCODER_WEIGHT * cross
    return np.clip(mixed / MINI_WEIGHT, 0.0, 1.0).astype(np.float32)


def with_mini(own: NDArray[np.float64], sides: Sides) -> NDArray[np.float32]:
    """with_cross_encoder(), combined with retrieval as in with_late_interaction(): float32 [n], in 0..1."""
    return np.clip(_averaged(sides, own, MINI_WEIGHT), 0.0, 1.0).astype(np.float32)


def _averaged(sides: Sides, own: NDArray[np.float64], own_weight: float) -> NDArray[np.float64]:
    """The weighted mean of the sides and of a reranker's own scores, float64 [n]. own_weight: 0 without a reranker."""
    similarity, lexical, learned = sides.weights
    reranker = sides.reranker_weight(own_weight)
    by_model = similarity * sides.similarities + reranker * own
    by_learned = 0.0 if sides.learned is None else learned * np.nan_to_num(sides.learned)
    weights = similarity + reranker + lexical + learned
    return np.asarray((by_model + lexical * sides.shares + by_learned) / weights, np.float64)
