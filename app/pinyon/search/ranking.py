"""Pure mathematics of ranking: from vectors to scores, from scores to an order. No I/O, no models."""

from math import log
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pinyon.domain import Metric

K1, B = 1.2, 0.75
"""BM25's saturation of repeated terms, and how much longer texts are discounted."""
LEXICAL_WEIGHT = 1.5
"""What a text that has all of a query's words counts beside a cosine of 1; see docs/relevance.md."""


def bm25(counts: NDArray[np.float64], lengths: NDArray[np.float64], average: float) -> NDArray[np.float64]:
    """BM25's weight of a term in texts, without its idf (Robertson and Zaragoza 2009). All float64 [n].

    counts: how often each text has it. lengths: terms of each text. average: of all texts. At most K1 + 1.
    """
    return counts * (K1 + 1) / (counts + K1 * (1 - B + B * lengths / max(average, 1e-9)))


LONGEST_DISCOUNTED = 2.0
"""Times the average length, beyond which a longer text is discounted no further where its share is asked for: a query's
rare words are as much of the query's information in a chapter as they are in a note."""


def discounted(lengths: NDArray[np.float64], average: float) -> NDArray[np.float64]:
    """Lengths of texts as bm25() gets them for a share of the query's information; see LONGEST_DISCOUNTED."""
    return np.asarray(np.minimum(lengths, LONGEST_DISCOUNTED * average))


def fused(cosines: NDArray[np.floating[Any]], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hybrid scores, float64 [n], at most 1: the cosine, and the share of the query's information that the words carry.

    shares: BM25 with discounted() lengths, divided by the score of a text that has every term often. Both parts are on
    a scale of their own and not stretched to fit: where no text has many of the words, or only common ones, meaning
    decides.
    """
    return (cosines + LEXICAL_WEIGHT * shares) / (1 + LEXICAL_WEIGHT)


LARGEST = float(np.finfo(np.float32).max)

LATE_INTERACTION_WEIGHT = 1.5
"""What late interaction counts beside a cosine of 1 and LEXICAL_WEIGHT; see docs/relevance.md."""


def with_late_interaction(
    own: NDArray[np.float32], cosines: NDArray[np.floating[Any]], shares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Late interaction beside what retrieval knows, float32 [n] in 0..1; all three are on a scale of their own.

    own: max_sim(), in 0..1. cosines: -1..1. shares: of the query's information that the words carry, as in fused().
    """
    mean_of_best = 2.0 * own - 1.0
    mixed = cosines + LEXICAL_WEIGHT * shares + LATE_INTERACTION_WEIGHT * mean_of_best
    return np.clip(mixed / (1 + LEXICAL_WEIGHT + LATE_INTERACTION_WEIGHT), 0.0, 1.0).astype(np.float32)


CROSS_ENCODER_WEIGHT = 0.15
"""What pinyon-rerank-mini's cross-encoder counts beside LATE_INTERACTION_WEIGHT; see docs/relevance.md."""
MINI_WEIGHT = LATE_INTERACTION_WEIGHT + CROSS_ENCODER_WEIGHT


def with_cross_encoder(late: NDArray[np.float32], cross: NDArray[np.float32]) -> NDArray[np.float32]:
    """pinyon-rerank-mini, float32 [n] in 0..1: max_sim() and the cross-encoder's score, both in 0..1."""
    mixed = LATE_INTERACTION_WEIGHT * (2.0 * late - 1.0) + CROSS_ENCODER_WEIGHT * cross
    return np.clip(mixed / MINI_WEIGHT, 0.0, 1.0).astype(np.float32)


def with_mini(
    own: NDArray[np.float32], cosines: NDArray[np.floating[Any]], shares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """with_cross_encoder() beside what retrieval knows, as with_late_interaction(); float32 [n] in 0..1."""
    mixed = cosines + LEXICAL_WEIGHT * shares + MINI_WEIGHT * own
    return np.clip(mixed / (1 + LEXICAL_WEIGHT + MINI_WEIGHT), 0.0, 1.0).astype(np.float32)


def idf(records: int, having: int) -> float:
    """How much a term tells that `having` of `records` records have; above 0 (BM25's, as Lucene computes it)."""
    return log(1 + (records - having + 0.5) / (having + 0.5))


def goodness(metric: Metric, values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The scores turned so that higher is better in every metric."""
    return -values if metric == "euclidean" else values


def exact_scores(
    metric: Metric, matrix: NDArray[np.float32], query: NDArray[np.float32], more: NDArray[np.float64] | float = 0.0
) -> NDArray[np.float32]:
    """Pinecone's score of each row against the query, each computed alone in float64, then rounded to float32.

    matrix: float32 [n, dimension]; query: float32 [dimension]; returns float32 [n]. cosine: -1..1, higher is better;
    dotproduct: higher is better; euclidean: the squared distance, lower is better. A cosine with a zero vector is 0,
    and what float32 cannot hold is its largest number. more: added to a dot product, float64 [n].

    A row's score then depends on the row and the query only, not on where the row lies in a matrix: equal vectors
    get equal scores, so that ties can be broken by id, the same way every time.
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
    """Late interaction (ColBERT, Khattab and Zaharia 2020), as a mean so that long queries are comparable.

    query: float32 [q, dimension], document: float32 [d, dimension], rows of unit length. For every query token the
    best cosine over the document's tokens, averaged, moved from -1..1 to 0..1; higher is better; 0 without tokens.
    weights: float64 [q] above 0, what each query token counts in the average; None: all the same.
    """
    if not len(query) or not len(document):
        return 0.0
    best = (query @ document.T).max(axis=1)
    return float(np.clip((1.0 + np.average(best.astype(np.float64), weights=weights)) / 2.0, 0.0, 1.0))


def shortest(values: NDArray[np.float32]) -> list[float]:
    """The floats whose texts are the shortest that read back as these float32 [n]: 0.4, not 0.4000000059604645."""
    found: list[float] = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
    return found
