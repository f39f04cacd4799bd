"""`bm25`: reranks by the words of query and document, without weights, by the formula of rank-bm25.

rank-bm25 takes its statistics from the documents that it scores. For a few hits these are wrong: the query selected
them, so most of them contain its words, and the words look common. A search therefore uses the statistics of the
namespace. Documents that come with a request use their own, with an idf that is never negative.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import TermStatistics, Truncate
from pinyon.errors import TextTooLong
from pinyon.inference.steps import Steps
from pinyon.patches.rank_bm25 import bm25_scores
from pinyon.search.ranking import K1, B, discounted, idf
from pinyon.search.terms import query_terms, terms

LONGEST_TERM = 64
"""Characters that are read of a document for each allowed term. The rest of a very long one is not even split."""
STEP_CHARACTERS = 50_000
"""Characters of documents that one step splits into terms: about 30 ms."""


def shares(
    query: str, documents: Sequence[str], statistics: TermStatistics | None, max_terms: int | None = None
) -> Steps[NDArray[np.float64]]:
    """How much of the query's information the words of each document carry, float64 [n] from 0 to 1.

    This is BM25, divided by the score of a document that has every term of the query often, as in ranking.fused().
    statistics: of the namespace of the documents; None takes them from the documents themselves, read as English.
    """
    language = statistics.language if statistics else "english"
    asked = query_terms(query, language)
    most_characters = None if max_terms is None else LONGEST_TERM * max_terms
    texts, characters = [], 0
    for document in documents:
        texts.append(terms(document[:most_characters], language)[:max_terms])
        characters += len(document)
        if characters >= STEP_CHARACTERS:
            characters = 0
            yield
    if statistics is None:
        having = Counter(term for text in texts for term in set(text))
        statistics = TermStatistics(len(texts), fmean(map(len, texts)), dict(having), language)
    rarity = {term: idf(statistics.texts, statistics.having.get(term, 0)) for term in asked}
    most = sum(rarity[term] for term in asked) * (K1 + 1)
    if most <= 0 or not any(texts):
        return np.zeros(len(documents))
    average_length = max(statistics.average, 1e-9)
    lengths = discounted(np.array([len(text) or 1 for text in texts], np.float64), average_length)
    return bm25_scores(asked, texts, lengths, average_length, rarity, K1, B) / most


class Bm25Reranker:
    """A Reranker by words.

    statistics: of the namespace of the documents, or None if they are not from one. name: of the model, for errors.
    max_terms: how many terms of a document are read.
    """

    def __init__(self, statistics: TermStatistics | None, name: str, max_terms: int) -> None:
        self._statistics, self._name, self._max_terms = statistics, name, max_terms

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> Steps[NDArray[np.float32]]:
        if truncate == "NONE":
            for position, text in enumerate(documents):
                if (count := len(terms(text))) > self._max_terms:
                    raise TextTooLong(position, count, self._max_terms, self._name)
        by_words = yield from shares(query, documents, self._statistics, self._max_terms)
        return by_words.astype(np.float32)
