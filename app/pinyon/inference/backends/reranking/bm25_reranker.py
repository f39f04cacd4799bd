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
from pinyon.search.ranking import ALONE, IN_MIX, B, ShareFormula, idf
from pinyon.search.text.analysis import AUTO, AnalysedText, analysed, certain_languages, query_languages, query_terms
from pinyon.search.text.terms import terms

LONGEST_TERM = 64
"""Characters that are read of a document for each allowed term. The rest of a very long one is not even split."""
STEP_CHARACTERS = 50_000
"""Characters of documents that one step splits into terms: about 30 ms."""


def shares(
    query: str,
    documents: Sequence[str],
    statistics: TermStatistics | None,
    max_terms: int | None = None,
    formula: ShareFormula = IN_MIX,
) -> Steps[NDArray[np.float64]]:
    """How much of the query's information the words of each document carry, float64 [n] from 0 to 1.

    This is BM25, divided by the score of a document that has every term of the query often, as in fusion.Sides.
    statistics: of the namespace of the documents; None takes them from the documents themselves.
    """
    analysis = statistics.analysis if statistics else AUTO
    # A document of uncertain language is taken for one in that of the query, or of most documents of the request.
    languages = Counter(statistics.languages[:1]) if statistics else certain_languages(documents)
    most_characters = None if max_terms is None else LONGEST_TERM * max_terms
    texts: list[AnalysedText] = []
    characters = 0
    for document in documents:
        texts += analysed([document[:most_characters]], analysis, languages)
        characters += len(document)
        if characters >= STEP_CHARACTERS:
            characters = 0
            yield
    if statistics is None:
        statistics = _statistics(query, texts)
    asked = query_terms(query, analysis, statistics.languages)
    rarity = [term.weight * idf(statistics.texts, statistics.having.get(term.forms, 0)) for term in asked]
    most = sum(rarity) * (formula.k1 + 1)
    if most <= 0 or not any(text.terms for text in texts):
        return np.zeros(len(documents))
    # For rank-bm25, each term of the query has a number as its name, and stands for all its forms.
    names: dict[str, list[str]] = {}
    for number, term in enumerate(asked):
        for form in term.forms:
            names.setdefault(form, []).append(str(number))
    named = [[name for term in text.terms[:max_terms] for name in names.get(term, ())] for text in texts]
    words = [min(text.words, max_terms or text.words) or 1 for text in texts]
    lengths, average = formula.discounted(np.array(words, np.float64), max(statistics.average, 1e-9))
    rarity_by_name = {str(number): value for number, value in enumerate(rarity)}
    return bm25_scores(list(rarity_by_name), named, lengths, average, rarity_by_name, formula.k1, B) / most


def _statistics(query: str, texts: Sequence[AnalysedText]) -> TermStatistics:
    """The statistics of documents that come with a request."""
    of_texts = Counter(text.language.name for text in texts if text.language)
    languages = query_languages(query, AUTO, of_texts)
    distinct = [set(text.terms) for text in texts]
    having = {
        term.forms: sum(not terms.isdisjoint(term.forms) for terms in distinct)
        for term in query_terms(query, AUTO, languages)
    }
    return TermStatistics(len(texts), fmean(text.words for text in texts), having, AUTO, languages)


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
        by_words = yield from shares(query, documents, self._statistics, self._max_terms, ALONE)
        return by_words.astype(np.float32)
