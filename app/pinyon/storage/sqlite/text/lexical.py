"""The lexical index of a file: which texts have which terms, in FTS5; plain functions on a connection.

FTS5 keeps and merges the inverted lists, in the record's own transaction. Terms carry their namespace's number, so that
a list holds one namespace only: how many of its texts have a term is the length of the list, and others cost nothing.
Scores are ours (ranking.bm25), with the namespace's own counts; FTS5's bm25() counts the whole table.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import apsw
import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import IndexSpec, Metadata, TermStatistics
from pinyon.search.ranking import K1, bm25, discounted, idf
from pinyon.search.terms import query_terms, terms
from pinyon.storage.sqlite.row_sets import RowSet

Records = NDArray[np.int64]
Text = tuple[int, str]
"""Row number of a record, and its text."""


class Scored(msgspec.Struct, frozen=True):
    """records: sorted int64 [n] of the texts with any of the query's terms. scores: float64 [n], BM25.

    shares: float64 [n] in 0..1, of the query's information that each text carries, as ranking.fused() takes them.
    """

    records: Records
    scores: NDArray[np.float64]
    shares: NDArray[np.float64]


def text_of(spec: IndexSpec, metadata: Metadata) -> str | None:
    """The text that a record of the index is found by, or None."""
    if spec.embed is None or spec.sparse:
        return None
    text = metadata.get(spec.embed.text_field)
    return text if isinstance(text, str) else None


def add(connection: apsw.Connection, spec: IndexSpec, ns: int, rows: Iterable[tuple[int, Metadata]]) -> None:
    """Index the texts of records."""
    found = _terms(spec, rows)
    connection.executemany(
        "INSERT INTO lexical (rowid, terms) VALUES (?, ?)",
        [(row, " ".join(_token(ns, term) for term in held)) for row, held in found],
    )
    connection.executemany("UPDATE records SET words = ? WHERE record = ?", [(len(held), row) for row, held in found])
    _count(connection, ns, len(found), sum(len(held) for _, held in found))


def tokens_of(spec: IndexSpec, ns: int, metadata: Metadata) -> list[str] | None:
    """The tokens of a record in FTS5, or None if it has no text."""
    for _, held in _terms(spec, [(0, metadata)]):
        return [_token(ns, term) for term in held]
    return None


def remove(connection: apsw.Connection, spec: IndexSpec, ns: int, rows: Iterable[tuple[int, Metadata]]) -> None:
    """Remove the texts of records from the index."""
    found = _terms(spec, rows)
    connection.executemany("DELETE FROM lexical WHERE rowid = ?", [(row,) for row, _ in found])
    connection.executemany("UPDATE records SET words = 0 WHERE record = ?", [(row,) for row, _ in found])
    _count(connection, ns, -len(found), -sum(len(held) for _, held in found))


def remove_all(connection: apsw.Connection, ns: int) -> None:
    """Remove every text of a namespace. Call before its records are deleted."""
    connection.execute("DELETE FROM lexical WHERE rowid IN (SELECT record FROM records WHERE ns = ?)", (ns,))
    connection.execute("UPDATE namespaces SET words = 0, texts = 0 WHERE ns = ?", (ns,))


ANALYSIS = 1
"""Version of terms.py. It is raised when texts get other terms than before, so that older files are indexed again."""


def is_behind(connection: apsw.Connection, spec: IndexSpec) -> bool:
    """Whether texts were indexed by an earlier version of the analysis."""
    behind = int(connection.execute("SELECT analysis FROM state").get or 0) < ANALYSIS
    return behind and spec.embed is not None and not spec.sparse


def rebuild(connection: apsw.Connection, spec: IndexSpec, progress: Callable[[int], None] = lambda texts: None) -> None:
    """Take in every record of the file anew: another field, language or analysis is what it is found by.

    progress: told now and then how many texts there are already.
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
            held: list[Any] = rows
            add(connection, spec, ns, [(row, msgspec.json.decode(metadata)) for row, metadata in held])
            last, done = held[-1][0], done + len(held)
            progress(done)


def search(connection: apsw.Connection, spec: IndexSpec, ns: int, text: str, keep: RowSet | None) -> Scored:
    """The texts of a namespace that share terms with a query. keep: the rows that a filter left, or None."""
    language = spec.embed.analysis if spec.embed else "none"
    counts_of_ns: Any = connection.execute("SELECT words, texts FROM namespaces WHERE ns = ?", (ns,)).get
    words, texts = counts_of_ns
    asked: dict[str, int] = {}
    for term in query_terms(text, language):
        asked[term] = asked.get(term, 0) + 1
    lists: list[tuple[Records, NDArray[np.float64], float]] = []
    most = 0.0
    for term in sorted(asked):
        records, counts = _list(connection, _token(ns, term))
        weight = asked[term] * idf(texts, len(records))
        most += weight * (K1 + 1)
        lists.append((records, counts, weight))
    every = np.unique(np.concatenate([records for records, _, _ in lists])) if lists else np.empty(0, np.int64)
    if keep is not None:
        every = every[keep.contains(every)]
    scores, shares = np.zeros(len(every)), np.zeros(len(every))
    if not len(every):
        return Scored(every, scores, shares)
    lengths, average = _lengths(connection, ns, every), words / texts
    shorter = discounted(lengths, average)
    for records, counts, weight in lists:
        there, of_every, of_list = np.intersect1d(every, records, assume_unique=True, return_indices=True)
        if len(there):
            scores[of_every] += weight * bm25(counts[of_list], lengths[of_every], average)
            shares[of_every] += weight * bm25(counts[of_list], shorter[of_every], average)
    return Scored(every, scores, shares / most)


def statistics(connection: apsw.Connection, spec: IndexSpec, ns: int, text: str) -> TermStatistics | None:
    """How many of the namespace's texts have each of a text's terms; None where records have no texts."""
    if spec.embed is None or spec.sparse:
        return None
    found: Any = connection.execute("SELECT words, texts FROM namespaces WHERE ns = ?", (ns,)).get
    words, texts = found
    having = {
        term: connection.execute(
            "SELECT count(DISTINCT doc) FROM lexical_instances WHERE term = ?", (_token(ns, term),)
        ).get
        for term in sorted(set(query_terms(text, spec.embed.analysis)))
    }
    return TermStatistics(texts, words / texts, having, spec.embed.analysis) if texts else None


def _terms(spec: IndexSpec, rows: Iterable[tuple[int, Metadata]]) -> list[tuple[int, list[str]]]:
    """The terms of each record that has a text."""
    if spec.embed is None or spec.sparse:
        return []
    texts = [(row, text_of(spec, metadata)) for row, metadata in rows]
    return [(row, terms(text, spec.embed.analysis)) for row, text in texts if text is not None]


def _count(connection: apsw.Connection, ns: int, texts: int, words: int) -> None:
    if texts:
        connection.execute(
            "UPDATE namespaces SET texts = texts + ?, words = words + ? WHERE ns = ?", (texts, words, ns)
        )


def _list(connection: apsw.Connection, token: str) -> tuple[Records, NDArray[np.float64]]:
    """The records that have a token, sorted, and how often each."""
    # One long text of numbers comes out of SQLite several times as fast as a row for each.
    numbers = connection.execute("SELECT group_concat(doc, ' ') FROM lexical_instances WHERE term = ?", (token,)).get
    if numbers is None:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    records, counts = np.unique(np.fromstring(numbers, dtype=np.int64, sep=" "), return_counts=True)
    return records, counts.astype(np.float64)


def _lengths(connection: apsw.Connection, ns: int, records: Sequence[int] | Records) -> NDArray[np.float64]:
    """How many terms each of the records has; sorted row numbers."""
    rows: Any = connection.execute(
        "SELECT group_concat(words, ' ') FROM"
        " (SELECT words FROM records WHERE record IN (SELECT value FROM carray(?)) ORDER BY record)",
        (apsw.carray(np.ascontiguousarray(records)),),
    ).get
    return np.fromstring(rows, dtype=np.float64, sep=" ")


@lru_cache(maxsize=200_000)
def _hashed(term: str) -> str:
    return hashlib.blake2b(term.encode(), digest_size=6).hexdigest()


def _token(ns: int, term: str) -> str:
    """A term of a namespace as FTS5 keeps it: letters and digits only, whatever script the term is in."""
    return f"{ns:x}x{_hashed(term)}"
