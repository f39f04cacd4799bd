"""The mathematics of ranking: scores of vectors and words, and how scores are combined. Pure."""

from math import log
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from pinyon.domain import Metric

K1, B = 1.2, 0.75
"""BM25's parameters: how soon repeated terms saturate, and how strongly long texts are discounted."""


def bm25(counts: NDArray[np.float64], lengths: NDArray[np.float64], average: float) -> NDArray[np.float64]:
    """BM25's weight of a term in each text, without its idf: float64 [n], at most K1 + 1.

    counts: float64 [n], how often each text has the term. lengths: float64 [n], number of terms of each text. average:
    mean length of all texts. Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009).
    """
    return counts * (K1 + 1) / (counts + K1 * (1 - B + B * lengths / max(average, 1e-9)))


class ShareFormula(msgspec.Struct, frozen=True):
    """How the share of a query's information that a text carries is computed: as BM25, with these parameters.

    The share is BM25, divided by the BM25 of a text that has every term of the query without end: 0..1. k1: as in
    BM25; a smaller one is closer to asking whether a text has the term at all. added: terms that are added to every
    length, so that single sentences are not ranked by how short they are.
    """

    k1: float
    added: float

    def weights(self, counts: NDArray[np.float64], lengths: NDArray[np.float64], average: float) -> NDArray[np.float64]:
        """The share of a term's information that each text has, float64 [n] in 0..1. Arguments as bm25() takes them."""
        lengths, average = self.discounted(lengths, average)
        return counts / (counts + self.k1 * (1 - B + B * lengths / max(average, 1e-9)))

    def discounted(self, lengths: NDArray[np.float64], average: float) -> tuple[NDArray[np.float64], float]:
        """The lengths that are discounted, float64 [n], and their average.

        A text that is longer than LONGEST_DISCOUNTED times the average is discounted as if it had that length. A rare
        word of the query is as informative in a chapter as in a note.
        """
        return np.minimum(lengths, LONGEST_DISCOUNTED * average) + self.added, average + self.added


LONGEST_DISCOUNTED = 2.0
"""Texts longer than this many times the average are discounted as if they were this long."""
IN_MIX = ShareFormula(0.6, 30.0)
"""Beside the similarity of a text: whether it has the query's terms matters more than how often."""
ALONE = ShareFormula(K1, 0.0)
"""Without another side: the order of BM25."""


LARGEST = float(np.finfo(np.float32).max)
"""The largest float32."""
POSITIVE_ZERO = np.float32(0)
"""Added to a score, it makes 0 of -0: whether a score that rounds to 0 was negative depends on the order of a sum."""


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
                return np.asarray(np.minimum(np.maximum(exact, -1.0), 1.0), np.float32) + POSITIVE_ZERO
        return np.asarray(np.minimum(np.maximum(exact, -LARGEST), LARGEST), np.float32) + POSITIVE_ZERO


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
    return mean_of_best(query @ document.T, weights)


def mean_of_best(products: NDArray[np.float32], weights: NDArray[np.float64] | None) -> float:
    """The last step of max_sim(). products: float32 [q, d], d above 0: of the tokens of query and document."""
    best = products.max(axis=1).astype(np.float64)
    # np.average and np.clip compute the same, and take longer than the product.
    mean = best.mean() if weights is None else (best * weights).sum() / weights.sum()
    return float(min(max((1.0 + mean) / 2.0, 0.0), 1.0))


def shortest(values: NDArray[np.float32]) -> list[float]:
    """Python floats with the shortest text for each float32: 0.4, not 0.4000000059604645. values: float32 [n]."""
    floats: list[float] = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
    return floats
