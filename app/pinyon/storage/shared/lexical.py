"""Keyword search, without the tables: what the texts of a namespace are scored by. Pure.

An engine looks up the terms of the query, then the inverted list of each term, then the lengths of the candidates.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import IndexSpec, Metadata
from pinyon.search.ranking import IN_MIX, bm25, idf
from pinyon.search.text.analysis import QueryTerm, query_languages, query_terms
from pinyon.storage.shared.posting_cache import InvertedList
from pinyon.storage.shared.row_sets import Records, RowSet, union


class TextCounts(msgspec.Struct, frozen=True, gc=False):
    """How many texts a namespace has, and how many words these have in all."""

    texts: int
    words: int


class WeightedTerm(msgspec.Struct, frozen=True):
    """A term of a query. weight: how much it counts in the query, times its inverse document frequency."""

    documents: InvertedList
    weight: float


class LexicalScores(msgspec.Struct, frozen=True):
    """Scores of the texts that have any term of the query.

    records: int64 [n], sorted. scores: float64 [n], BM25. shares: float64 [n] in 0..1, how much of the query's
    information each text carries, as fusion.Sides has it.
    """

    records: Records
    scores: NDArray[np.float64]
    shares: NDArray[np.float64]

    def among(self, rows: RowSet | None) -> "LexicalScores":
        """Those of some rows alone; None: all."""
        if rows is None:
            return self
        is_among = rows.contains(self.records)
        if is_among.all():
            return self
        return LexicalScores(self.records[is_among], self.scores[is_among], self.shares[is_among])


def text_of(spec: IndexSpec, metadata: Metadata) -> str | None:
    """The text of a record that is embedded and indexed.

    Returns None if the record has no text, if the index does not embed texts, or if its vectors are sparse.
    """
    if spec.embed is None or spec.sparse:
        return None
    text = metadata.get(spec.embed.text_field)
    return text if isinstance(text, str) else None


def asked_terms(text: str, analysis: str, languages: Mapping[str, int]) -> list[tuple[QueryTerm, int]]:
    """The distinct terms of a query with their repetitions, in the order in which scores are added.

    languages: how many texts the namespace has in each language.
    """
    asked = query_terms(text, analysis, query_languages(text, analysis, languages))
    return sorted(Counter(asked).items(), key=lambda item: item[0].forms)


class Asked(msgspec.Struct, frozen=True):
    """The terms of a query with their inverted lists. whole: the information of the query.

    A text that repeats every term without end approaches it.
    """

    terms: list[WeightedTerm]
    whole: float

    @classmethod
    def of(cls, asked: Sequence[tuple[QueryTerm, int]], lists: Sequence[InvertedList], texts: int) -> "Asked":
        """asked: as asked_terms() returns them. lists: that of each term. texts: how many the namespace has."""
        terms, whole = list[WeightedTerm](), 0.0
        for (term, repetitions), documents in zip(asked, lists, strict=True):
            weight = repetitions * term.weight * idf(texts, len(documents.records))
            whole += weight
            terms.append(WeightedTerm(documents, weight))
        return cls(terms, whole)

    def records(self, matching: RowSet | None) -> Records:
        """The records that have any term, int64 [n] and sorted. matching: those that match the filter; None: all."""
        records = union([term.documents.records for term in self.terms])
        return records if matching is None else records[matching.contains(records)]

    def scores(self, records: Records, lengths: NDArray[np.float64], counts: TextCounts) -> LexicalScores:
        """The scores of the records that records() returned. lengths: float64 [n], how many words each has."""
        scores, shares = np.zeros(len(records)), np.zeros(len(records))
        if not len(records):
            return LexicalScores(records, scores, shares)
        average = counts.words / counts.texts
        for term in self.terms:
            documents = term.documents
            places = np.searchsorted(records, documents.records)
            term_counts = documents.counts.astype(np.float64)
            is_in = records[np.minimum(places, len(records) - 1)] == documents.records
            if not is_in.all():  # some records of the list are not among those that match
                places, term_counts = places[is_in], term_counts[is_in]
            if len(places):
                scores[places] += term.weight * bm25(term_counts, lengths[places], average)
                shares[places] += term.weight * IN_MIX.weights(term_counts, lengths[places], average)
        return LexicalScores(records, scores, shares / self.whole)
