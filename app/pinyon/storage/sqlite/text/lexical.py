"""The lexical index of an index file, in FTS5: which texts have which terms. Plain functions on a connection.

FTS5 stores and merges the inverted lists, in the transaction that writes the record. Each token starts with the number
of its namespace. So the length of a token's list is the number of texts of that namespace that have the term, and
texts of other namespaces cost nothing. Scores come from ranking.bm25() with the counts of the namespace, because
FTS5's own bm25() counts the whole table.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import apsw
import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import IndexSpec, Metadata, TermStatistics
from pinyon.search.text.analysis import AnalysedText, analysed, analysed_as, detects, query_languages, query_terms
from pinyon.storage.shared.lexical import Asked, LexicalScores, TextCounts, asked_terms, text_of
from pinyon.storage.shared.posting_cache import InvertedList, Key, PostingCache, Tokens, Version
from pinyon.storage.shared.row_sets import Records, RowSet

ANALYSIS = 1
"""Version of the text analysis. Raise it when texts get other terms than before: older files are then indexed again."""


class Document(msgspec.Struct, frozen=True, gc=False):
    """A record whose text may be indexed. row: its row number."""

    row: int
    metadata: Metadata


def add(connection: apsw.Connection, spec: IndexSpec, ns: int, documents: Iterable[Document]) -> None:
    """Index the texts of records."""
    texts = _texts(spec, documents)
    if spec.embed is None or not texts:
        return
    certain = _certain_languages(connection, ns) if detects(spec.embed.analysis) else {}
    in_words = dict(zip(texts, analysed(list(texts.values()), spec.embed.analysis, certain), strict=True))
    connection.executemany(
        "INSERT INTO lexical (rowid, terms) VALUES (?, ?)",
        [(row, " ".join(_token(ns, term) for term in text.terms)) for row, text in in_words.items()],
    )
    connection.executemany(
        "UPDATE records SET words = ?, language = ?, certain = ? WHERE record = ?",
        [(text.words, *_language_columns(text), row) for row, text in in_words.items()],
    )
    _add_to_counts(connection, ns, list(in_words), 1)


class StoredText(msgspec.Struct, frozen=True):
    """What the tables should hold of a text. tokens: in FTS5. words, language, certain: in the table `records`."""

    tokens: list[str]
    words: int
    language: str | None
    certain: bool


def stored_text(spec: IndexSpec, ns: int, metadata: Metadata, language: str | None) -> StoredText | None:
    """What the tables should hold of a record's text, or None if it has no text.

    language: the one that is stored; it decides about texts of uncertain language.
    """
    text = text_of(spec, metadata)
    if text is None or spec.embed is None:
        return None
    if detects(spec.embed.analysis):
        in_words = analysed_as(text, language or "", spec.embed.analysis)
    else:
        (in_words,) = analysed([text], spec.embed.analysis)
    return StoredText([_token(ns, term) for term in in_words.terms], in_words.words, *_language_columns(in_words))


def remove(connection: apsw.Connection, spec: IndexSpec, ns: int, documents: Iterable[Document]) -> None:
    """Remove the texts of records from the index."""
    rows = list(_texts(spec, documents))
    _add_to_counts(connection, ns, rows, -1)
    connection.executemany("DELETE FROM lexical WHERE rowid = ?", [(row,) for row in rows])
    connection.executemany(f"{NO_WORDS} WHERE record = ?", [(row,) for row in rows])


NO_WORDS = "UPDATE records SET words = 0, language = NULL, certain = 0"


def remove_all(connection: apsw.Connection, ns: int) -> None:
    """Remove every text of a namespace. Call before its records are deleted."""
    connection.execute("DELETE FROM lexical WHERE rowid IN (SELECT record FROM records WHERE ns = ?)", (ns,))
    connection.execute("UPDATE namespaces SET words = 0, texts = 0 WHERE ns = ?", (ns,))
    connection.execute("DELETE FROM text_languages WHERE ns = ?", (ns,))


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
    connection.execute(NO_WORDS)
    connection.execute("UPDATE namespaces SET words = 0, texts = 0")
    connection.execute("DELETE FROM text_languages")
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


class Postings:
    """The inverted lists and lengths of one namespace in one snapshot, from memory where they are cached."""

    def __init__(self, connection: apsw.Connection, key: Key, version: int, cache: PostingCache) -> None:
        """key, version: of the namespace, as the snapshot sees it."""
        self.connection, self.ns, self._key, self._cache = connection, key[1], key, cache
        self._version: Version = version, int(connection.execute("SELECT version FROM state").get or 0)

    def of(self, forms: tuple[str, ...]) -> InvertedList:
        """The records that have any form of a term."""
        tokens = self._tokens(forms)
        return self._cache.inverted_list(
            self._key, self._version, tokens, lambda: _inverted_list(self.connection, tokens)
        )

    def frequency(self, forms: tuple[str, ...]) -> int:
        """The number of records that have any form of a term."""
        tokens = self._tokens(forms)
        cached = self._cache.cached_list(self._key, self._version, tokens)
        return _document_frequency(self.connection, tokens) if cached is None else len(cached.records)

    def lengths(self, records: Records, texts: int) -> NDArray[np.float64]:
        """How many words each record has, float64 [n]. records: int64 [n], sorted, at least one."""
        return self._cache.lengths(
            self._key, self._version, texts, records, lambda unknown: _lengths(self.connection, unknown)
        )

    def _tokens(self, forms: tuple[str, ...]) -> Tokens:
        return tuple(_token(self.ns, form) for form in forms)


def search(postings: Postings, spec: IndexSpec, text: str, matching: RowSet | None) -> LexicalScores:
    """Score the texts of a namespace that share terms with a query.

    matching: the rows that match the filter, or None without a filter.
    """
    connection, ns = postings.connection, postings.ns
    analysis = spec.embed.analysis if spec.embed else "none"
    counts = _text_counts(connection, ns)
    terms = asked_terms(text, analysis, _languages(connection, ns, analysis))
    asked = Asked.of(terms, [postings.of(term.forms) for term, _ in terms], counts.texts)
    records = asked.records(matching)
    lengths = postings.lengths(records, counts.texts) if len(records) else np.empty(0, np.float64)
    return asked.scores(records, lengths, counts)


def statistics(postings: Postings, spec: IndexSpec, text: str) -> TermStatistics | None:
    """Count the texts of the namespace that have each term of the text. Returns None if the namespace has no texts."""
    if spec.embed is None or spec.sparse:
        return None
    connection, ns = postings.connection, postings.ns
    counts, analysis = _text_counts(connection, ns), spec.embed.analysis
    if not counts.texts:
        return None
    languages = query_languages(text, analysis, _languages(connection, ns, analysis))
    document_frequencies = {
        forms: postings.frequency(forms)
        for forms in sorted({term.forms for term in query_terms(text, analysis, languages)})
    }
    return TermStatistics(counts.texts, counts.words / counts.texts, document_frequencies, analysis, languages)


def _texts(spec: IndexSpec, documents: Iterable[Document]) -> dict[int, str]:
    """The texts of the records that have one, by row number."""
    texts = ((document.row, text_of(spec, document.metadata)) for document in documents)
    return {row: text for row, text in texts if text is not None}


def _language_columns(text: AnalysedText) -> tuple[str | None, bool]:
    return (None, False) if text.language is None else (text.language.name, text.language.certain)


def _languages(connection: apsw.Connection, ns: int, analysis: str) -> dict[str, int]:
    """How many texts of a namespace are in each language; empty if the index has one language."""
    if not detects(analysis):
        return {}
    rows: Any = connection.execute(
        "SELECT language, sum(texts) FROM text_languages WHERE ns = ? GROUP BY language HAVING sum(texts) > 0", (ns,)
    )
    return dict(rows)


def _certain_languages(connection: apsw.Connection, ns: int) -> dict[str, int]:
    """How many texts of a namespace are certainly in each language."""
    rows: Any = connection.execute("SELECT language, texts FROM text_languages WHERE ns = ? AND certain", (ns,))
    return dict(rows)


def _text_counts(connection: apsw.Connection, ns: int) -> TextCounts:
    row: Any = connection.execute("SELECT texts, words FROM namespaces WHERE ns = ?", (ns,)).get
    return TextCounts(*row)


def _add_to_counts(connection: apsw.Connection, ns: int, rows: list[int], sign: int) -> None:
    """Add texts that are in the table `records` to the counts of their namespace. sign: 1, or -1 to subtract them."""
    if not rows:
        return
    groups: list[Any] = connection.execute(
        "SELECT language, certain, count(*), sum(words) FROM records WHERE record IN (SELECT value FROM carray(?))"
        " GROUP BY language, certain",
        (apsw.carray(np.array(rows, np.int64)),),
    ).fetchall()
    connection.execute(
        "UPDATE namespaces SET texts = texts + ?, words = words + ? WHERE ns = ?",
        (sign * len(rows), sign * sum(words for *_, words in groups), ns),
    )
    connection.executemany(
        "INSERT INTO text_languages (ns, language, certain, texts) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET texts = texts + excluded.texts",
        [(ns, language, certain, sign * texts) for language, certain, texts, _ in groups if language is not None],
    )


def _inverted_list(connection: apsw.Connection, tokens: Tokens) -> InvertedList:
    """The records that have any of the tokens."""
    # SQLite returns one long text of numbers several times as fast as one row for each number.
    sql = "SELECT group_concat(doc, ' ') FROM lexical_instances WHERE term = ?"
    lists = [numbers for token in tokens if (numbers := connection.execute(sql, (token,)).get) is not None]
    if not lists:
        return InvertedList(np.empty(0, np.int64), np.empty(0, np.float32))
    records, counts = np.unique(np.fromstring(" ".join(lists), dtype=np.int64, sep=" "), return_counts=True)
    return InvertedList(records, counts.astype(np.float32))


def _document_frequency(connection: apsw.Connection, tokens: Tokens) -> int:
    """The number of records that have any of the tokens."""
    if len(tokens) > 1:
        return len(_inverted_list(connection, tokens).records)
    return int(connection.execute("SELECT count(DISTINCT doc) FROM lexical_instances WHERE term = ?", tokens).get)


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
