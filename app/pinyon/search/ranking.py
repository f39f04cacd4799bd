"""The mathematics of ranking: scores of vectors and words, and how scores are combined. Pure."""

from math import log
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pinyon.domain import Metric

K1, B = 1.2, 0.75
"""BM25's parameters: how soon repeated terms saturate, and how strongly long texts are discounted."""
LEXICAL_WEIGHT = 1.5
"""Weight of the lexical share relative to the cosine; see docs/relevance.md."""


def bm25(counts: NDArray[np.float64], lengths: NDArray[np.float64], average: float) -> NDArray[np.float64]:
    """BM25's weight of a term in each text, without its idf: float64 [n], at most K1 + 1.

    counts: float64 [n], how often each text has the term. lengths: float64 [n], number of terms of each text. average:
    mean length of all texts. Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009).
    """
    return counts * (K1 + 1) / (counts + K1 * (1 - B + B * lengths / max(average, 1e-9)))


LONGEST_DISCOUNTED = 2.0
"""Texts longer than this many times the average count as this long, if a share of the query's information is computed.
A rare word of the query is as informative in a chapter as in a note."""


def discounted(lengths: NDArray[np.float64], average: float) -> NDArray[np.float64]:
    """The lengths that bm25() takes for a share of the query's information, float64 [n]; see LONGEST_DISCOUNTED."""
    return np.asarray(np.minimum(lengths, LONGEST_DISCOUNTED * average))


def fused(cosines: NDArray[np.floating[Any]], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hybrid scores, float64 [n], at most 1. They add semantic similarity and keyword match.

    cosines: [n], in -1..1. shares: float64 [n], in 0..1, the share of the query's information that the words of a text
    carry: BM25 with discounted() lengths, divided by the score of a text that has every term often. Neither side is
    rescaled: if few keywords match, or only common ones, similarity decides.
    """
    return (cosines + LEXICAL_WEIGHT * shares) / (1 + LEXICAL_WEIGHT)


LARGEST = float(np.finfo(np.float32).max)
"""The largest float32."""

LATE_INTERACTION_WEIGHT = 1.5
"""Weight of late interaction relative to the cosine; see docs/relevance.md."""


def with_late_interaction(
    own: NDArray[np.float32], cosines: NDArray[np.floating[Any]], shares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Combine late interaction with the scores of retrieval: float32 [n], in 0..1. No score is rescaled.

    own: float32 [n], max_sim(). cosines: [n], in -1..1. shares: float64 [n], as fused() takes them.
    """
    mean_of_best = 2.0 * own - 1.0
    mixed = cosines + LEXICAL_WEIGHT * shares + LATE_INTERACTION_WEIGHT * mean_of_best
    return np.clip(mixed / (1 + LEXICAL_WEIGHT + LATE_INTERACTION_WEIGHT), 0.0, 1.0).astype(np.float32)


CROSS_ENCODER_WEIGHT = 0.15
"""Weight of pinyon-rerank-mini's cross-encoder relative to the cosine; see docs/relevance.md."""
MINI_WEIGHT = LATE_INTERACTION_WEIGHT + CROSS_ENCODER_WEIGHT


def with_cross_encoder(late: NDArray[np.float32], cross: NDArray[np.float32]) -> NDArray[np.float32]:
    """The score of pinyon-rerank-mini: float32 [n], in 0..1.

    late: float32 [n], max_sim(). cross: float32 [n], the score of the cross-encoder, in 0..1.
    """
    mixed = LATE_INTERACTION_WEIGHT * (2.0 * late - 1.0) + CROSS_ENCODER_WEIGHT * cross
    return np.clip(mixed / MINI_WEIGHT, 0.0, 1.0).astype(np.float32)


def with_mini(
    own: NDArray[np.float32], cosines: NDArray[np.floating[Any]], shares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """with_cross_encoder(), combined with retrieval as in with_late_interaction(): float32 [n], in 0..1."""
    mixed = cosines + LEXICAL_WEIGHT * shares + MINI_WEIGHT * own
    return np.clip(mixed / (1 + LEXICAL_WEIGHT + MINI_WEIGHT), 0.0, 1.0).astype(np.float32)


def idf(records: int, having: int) -> float:
    """Inverse document frequency of a term, above 0. Source: BM25 as Lucene computes it.

    records: number of records. having: how many of them have the term.
    """
    return log(1 + (records - having + 0.5) / (having + 0.5))


def higher_is_better(metric: Metric, scores: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The scores [n], negated if lower ones are better in this metric."""
    return -scores if metric == "euclidean" else scores


def exact_scores(
    metric: Metric, matrix: NDArray[np.float32], query: NDArray[np.float32], more: NDArray[np.float64] | float = 0.0
) -> NDArray[np.float32]:
    """Pinecone's score of each row against the query: float32 [n], computed in float64.

    matrix: float32 [n, dimension]. query: float32 [dimension]. more: float64 [n], added to the dot products.
    cosine: in -1..1, higher is better; 0 with a zero vector. dotproduct: higher is better. euclidean: the squared
    distance, lower is better. Scores beyond the range of float32 become its largest number.

    Each score is computed alone, so it does not depend on the place of a row in the matrix. Equal vectors therefore
    have equal scores, and ties can be broken by id in the same way every time.
    """
    rows, target = matrix.astype(np.float64), query.astype(np.float64)
    with np.errstate(over="ignore"):
        if metric == "euclidean":
            rows -= target
            exact = np.vecdot(rows, rows)
        else:
            exact = np.vecdot(rows, target) + more
            if metric == "cosine":
                norms = np.sqrt(np.vecdot(rows, rows)) * np.sqrt(np.vecdot(target, target))
                exact = np.divide(exact, norms, out=np.zeros_like(exact), where=norms > 0)
                return np.asarray(np.minimum(np.maximum(exact, -1.0), 1.0), np.float32)
        return np.asarray(np.minimum(np.maximum(exact, -LARGEST), LARGEST), np.float32)


def max_sim(
    query: NDArray[np.float32], document: NDArray[np.float32], weights: NDArray[np.float64] | None = None
) -> float:
    """Late interaction: the mean over the query's tokens of the best cosine with a token of the document.

    query: float32 [q, dimension]. document: float32 [d, dimension]. All rows have unit length. weights: float64 [q],
    above 0, the weight of each query token in the mean; None for equal weights. The mean is moved from -1..1 to 0..1;
    higher is better; 0 without tokens. Source: ColBERT (Khattab and Zaharia 2020), but with a mean instead of a sum, so
    that scores of long and short queries can be compared.
    """
    if not len(query) or not len(document):
        return 0.0
    best = (query @ document.T).max(axis=1)
    return float(np.clip((1.0 + np.average(best.astype(np.float64), weights=weights)) / 2.0, 0.0, 1.0))


def shortest(values: NDArray[np.float32]) -> list[float]:
    """Python floats with the shortest text for each float32: 0.4, not 0.4000000059604645. values: float32 [n]."""
    floats: list[float] = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
    return floats
