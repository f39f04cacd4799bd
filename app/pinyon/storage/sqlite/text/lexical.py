"""The lexical index of an index file, in FTS5: which texts have which terms. Plain functions on a connection.

FTS5 stores and merges the inverted lists, in the transaction that writes the record. Each token starts with the number
of its namespace. So the length of a token's list is the number of texts of that namespace that have the term, and
texts of other namespaces cost nothing. Scores come from ranking.bm25() with the counts of the namespace, because
FTS5's own bm25() counts the whole table.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import apsw
import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import IndexSpec, Metadata, TermStatistics
from pinyon.search.ranking import K1, bm25, discounted, idf
from pinyon.search.terms import query_terms, terms
from pinyon.storage.sqlite.row_sets import Records, RowSet

ANALYSIS = 1
"""Version of terms.py. Raise it when texts get other terms than before, so that older files are indexed again."""


class Document(msgspec.Struct, frozen=True, gc=False):
    """A record whose text may be indexed. row: its row number."""

    row: int
    metadata: Metadata


class DocumentTerms(msgspec.Struct, frozen=True, gc=False):
    """The terms of a record's text, in their order and with repetitions. row: the record's row number."""

    row: int
    terms: list[str]


class TextCounts(msgspec.Struct, frozen=True, gc=False):
    """How many texts a namespace has, and how many words these have in all."""

    texts: int
    words: int


class InvertedList(msgspec.Struct, frozen=True):
    """The records that have a token. records: int64 [n], sorted. counts: float64 [n], how often each has it."""

    records: Records
    counts: NDArray[np.float64]


class QueryTerm(msgspec.Struct, frozen=True):
    """A term of a query. weight: how often the query has it, times its inverse document frequency."""

    documents: InvertedList
    weight: float


class LexicalScores(msgspec.Struct, frozen=True):
    """Scores of the texts that have any term of the query.

    records: int64 [n], sorted. scores: float64 [n], BM25. shares: float64 [n] in 0..1, how much of the query's
    information each text carries, as ranking.fused() takes it.
    """

    records: Records
    scores: NDArray[np.float64]
    shares: NDArray[np.float64]


def text_of(spec: IndexSpec, metadata: Metadata) -> str | None:
    """The text of a record that is embedded and indexed.

    Returns None if the record has no text, if the index does not embed texts, or if its vectors are sparse.
    """
    if spec.embed is None or spec.sparse:
        return None
    text = metadata.get(spec.embed.text_field)
    return text if isinstance(text, str) else None


def add(connection: apsw.Connection, spec: IndexSpec, ns: int, documents: Iterable[Document]) -> None:
    """Index the texts of records."""
    texts = _analyzed(spec, documents)
    connection.executemany(
        "INSERT INTO lexical (rowid, terms) VALUES (?, ?)",
        [(text.row, " ".join(_token(ns, term) for term in text.terms)) for text in texts],
    )
    connection.executemany(
        "UPDATE records SET words = ? WHERE record = ?", [(len(text.terms), text.row) for text in texts]
    )
    _add_to_counts(connection, ns, len(texts), sum(len(text.terms) for text in texts))


def tokens_of(spec: IndexSpec, ns: int, metadata: Metadata) -> list[str] | None:
    """The tokens of a record in FTS5, or None if it has no text."""
    for text in _analyzed(spec, [Document(0, metadata)]):
        return [_token(ns, term) for term in text.terms]
    return None


def remove(connection: apsw.Connection, spec: IndexSpec, ns: int, documents: Iterable[Document]) -> None:
    """Remove the texts of records from the index."""
    texts = _analyzed(spec, documents)
    rows = [(text.row,) for text in texts]
    connection.executemany("DELETE FROM lexical WHERE rowid = ?", rows)
    connection.executemany("UPDATE records SET words = 0 WHERE record = ?", rows)
    _add_to_counts(connection, ns, -len(texts), -sum(len(text.terms) for text in texts))


def remove_all(connection: apsw.Connection, ns: int) -> None:
    """Remove every text of a namespace. Call before its records are deleted."""
    connection.execute("DELETE FROM lexical WHERE rowid IN (SELECT record FROM records WHERE ns = ?)", (ns,))
    connection.execute("UPDATE namespaces SET words = 0, texts = 0 WHERE ns = ?", (ns,))


def is_behind(connection: apsw.Connection, spec: IndexSpec) -> bool:
    """Whether texts were indexed by an earlier version of the analysis."""
    behind = int(connection.execute("SELECT analysis FROM state").get or 0) < ANALYSIS
    return behind and spec.embed is not None and not spec.sparse


def rebuild(connection: apsw.Connection, spec: IndexSpec, progress: Callable[[int], None] = lambda texts: None) -> None:
    """Index every record of the file again, because the text field, the language or the analysis has changed.

    progress: called now and then with the number of records that are done.
    """
    done = 0
    connection.execute("UPDATE state SET analysis = ?", (ANALYSIS,))
    connection.execute("INSERT INTO lexical (lexical) VALUES ('delete-all')")
    connection.execute("UPDATE records SET words = 0")
    connection.execute("UPDATE namespaces SET words = 0, texts = 0")
    if spec.embed is None or spec.sparse:
        return
    namespaces: list[Any] = connection.execute("SELECT ns FROM namespaces").fetchall()
    for (ns,) in namespaces:
        last = 0
        while rows := connection.execute(
            "SELECT record, metadata FROM records WHERE ns = ? AND record > ? ORDER BY record LIMIT 1000", (ns, last)
        ).fetchall():
            batch: list[Any] = rows
            add(connection, spec, ns, [Document(row, msgspec.json.decode(metadata)) for row, metadata in batch])
            last, done = batch[-1][0], done + len(batch)
            progress(done)


def search(connection: apsw.Connection, spec: IndexSpec, ns: int, text: str, matching: RowSet | None) -> LexicalScores:
    """Score the texts of a namespace that share terms with a query.

    matching: the rows that match the filter, or None without a filter.
    """
    language = spec.embed.analysis if spec.embed else "none"
    counts = _text_counts(connection, ns)
    weighted_terms: list[QueryTerm] = []
    highest = 0.0  # what BM25 approaches for a text that repeats every term of the query without end
    for term, repetitions in sorted(Counter(query_terms(text, language)).items()):
        documents = _inverted_list(connection, _token(ns, term))
        weight = repetitions * idf(counts.texts, len(documents.records))
        highest += weight * (K1 + 1)
        weighted_terms.append(QueryTerm(documents, weight))
    records = np.empty(0, np.int64)
    if weighted_terms:
        records = np.unique(np.concatenate([term.documents.records for term in weighted_terms]))
    if matching is not None:
        records = records[matching.contains(records)]
    scores, shares = np.zeros(len(records)), np.zeros(len(records))
    if not len(records):
        return LexicalScores(records, scores, shares)
    lengths, average = _lengths(connection, records), counts.words / counts.texts
    discounted_lengths = discounted(lengths, average)
    for query_term in weighted_terms:
        documents = query_term.documents
        _, places, list_places = np.intersect1d(records, documents.records, assume_unique=True, return_indices=True)
        if len(places):
            term_counts = documents.counts[list_places]
            scores[places] += query_term.weight * bm25(term_counts, lengths[places], average)
            shares[places] += query_term.weight * bm25(term_counts, discounted_lengths[places], average)
    return LexicalScores(records, scores, shares / highest)


def statistics(connection: apsw.Connection, spec: IndexSpec, ns: int, text: str) -> TermStatistics | None:
    """Count the texts of the namespace that have each term of the text. Returns None if the namespace has no texts."""
    if spec.embed is None or spec.sparse:
        return None
    counts = _text_counts(connection, ns)
    document_frequencies = {
        term: connection.execute(
            "SELECT count(DISTINCT doc) FROM lexical_instances WHERE term = ?", (_token(ns, term),)
        ).get
        for term in sorted(set(query_terms(text, spec.embed.analysis)))
    }
    if not counts.texts:
        return None
    return TermStatistics(counts.texts, counts.words / counts.texts, document_frequencies, spec.embed.analysis)


def _analyzed(spec: IndexSpec, documents: Iterable[Document]) -> list[DocumentTerms]:
    """The terms of each record that has a text."""
    if spec.embed is None or spec.sparse:
        return []
    texts = [(document.row, text_of(spec, document.metadata)) for document in documents]
    return [DocumentTerms(row, terms(text, spec.embed.analysis)) for row, text in texts if text is not None]


def _text_counts(connection: apsw.Connection, ns: int) -> TextCounts:
    row: Any = connection.execute("SELECT texts, words FROM namespaces WHERE ns = ?", (ns,)).get
    return TextCounts(*row)


def _add_to_counts(connection: apsw.Connection, ns: int, texts: int, words: int) -> None:
    """Add to the counts of a namespace. Negative numbers subtract."""
    if texts:
        connection.execute(
            "UPDATE namespaces SET texts = texts + ?, words = words + ? WHERE ns = ?", (texts, words, ns)
        )


def _inverted_list(connection: apsw.Connection, token: str) -> InvertedList:
    # SQLite returns one long text of numbers several times as fast as one row for each number.
    numbers = connection.execute("SELECT group_concat(doc, ' ') FROM lexical_instances WHERE term = ?", (token,)).get
    if numbers is None:
        return InvertedList(np.empty(0, np.int64), np.empty(0, np.float64))
    records, counts = np.unique(np.fromstring(numbers, dtype=np.int64, sep=" "), return_counts=True)
    return InvertedList(records, counts.astype(np.float64))


def _lengths(connection: apsw.Connection, records: Records) -> NDArray[np.float64]:
    """How many terms each record has, float64 [n]. records: int64 [n], sorted."""
    lengths: Any = connection.execute(
        "SELECT group_concat(words, ' ') FROM"
        " (SELECT words FROM records WHERE record IN (SELECT value FROM carray(?)) ORDER BY record)",
        (apsw.carray(np.ascontiguousarray(records)),),
    ).get
    return np.fromstring(lengths, dtype=np.float64, sep=" ")


@lru_cache(maxsize=200_000)
def _hashed(term: str) -> str:
    return hashlib.blake2b(term.encode(), digest_size=6).hexdigest()


def _token(ns: int, term: str) -> str:
    """A term of a namespace as FTS5 stores it: only letters and digits, whatever script the term is in."""
    return f"{ns:x}x{_hashed(term)}"
