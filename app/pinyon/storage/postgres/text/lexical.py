"""The lexical index of an index: which texts have which terms. Plain functions on a connection.

The terms of a text are rows of `postings`, written in the transaction that writes the record. They are also in the
record itself, so that they can be removed without a new analysis. Scores come from shared/lexical.py.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Handle, IndexSpec, TermStatistics
from pinyon.search.text.analysis import AnalysedText, analysed, detects, query_languages, query_terms
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.connection.packed import copy_in, lists_by_term
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.shared.lexical import Asked, LexicalScores, TextCounts, asked_terms, text_of
from pinyon.storage.shared.posting_cache import NO_LENGTHS, InvertedList, Key, PostingCache, Tokens, Version
from pinyon.storage.shared.records import StoredRecord
from pinyon.storage.shared.row_sets import Records, RowSet

ANALYSIS = 1
"""Version of the text analysis. Raise it when texts get other terms than before: they are then indexed again."""
POSTING = np.dtype([("record", ">i8"), ("count", ">i4"), ("words", ">i4")])
COLUMNS = {"ns": "int8", "term": "int8", "record": "int8", "count": "int4", "words": "int4"}


class IndexedText(msgspec.Struct, frozen=True):
    """What the tables hold of a text. terms: int64, as often as the text has them. language: None if the index has one.

    certain: whether the text itself says its language. bucket: of the namespace, in which its postings are.
    """

    terms: list[int]
    words: int
    language: str | None
    certain: bool
    bucket: int

    @property
    def distinct(self) -> bytes:
        """The distinct terms, as the column `terms` of a record has them."""
        return np.unique(np.array(self.terms, np.int64)).tobytes()


async def indexed(
    connection: Connection, spec: IndexSpec, ns: Namespace, records: Sequence[StoredRecord]
) -> dict[int, IndexedText]:
    """What the tables shall hold of the texts of records, by row number; without records that have no text."""
    texts = {record.row: text for record in records if (text := text_of(spec, record.metadata)) is not None}
    buckets = {record.row: ns.bucket(record.id) for record in records}
    if spec.embed is None or not texts:
        return {}
    certain = await _languages(connection, ns.number, only_certain=True) if detects(spec.embed.analysis) else {}
    in_words = analysed(list(texts.values()), spec.embed.analysis, certain)
    return {row: _indexed(text, buckets[row]) for row, text in zip(texts, in_words, strict=True)}


def _indexed(text: AnalysedText, bucket: int) -> IndexedText:
    language = None if text.language is None else text.language.name
    certain = text.language is not None and text.language.certain
    return IndexedText([hashed(term) for term in text.terms], text.words, language, certain, bucket)


async def add(connection: Connection, ns: Namespace, texts: dict[int, IndexedText]) -> None:
    """Index texts of records, by row number."""
    if not texts:
        return
    rows = [
        (text.bucket, term, row, count, text.words)
        for row, text in texts.items()
        for term, count in Counter(text.terms).items()
    ]
    await copy_in(connection, "postings", COLUMNS, sorted(rows))
    await _count(connection, ns.number, list(texts.values()), 1)


async def remove(connection: Connection, ns: Namespace, rows: Sequence[int]) -> None:
    """Remove the texts of records that are still in the table `records`. rows: their row numbers."""
    cursor = await connection.execute(
        "SELECT record, terms, words, language, certain, ns FROM records"
        f" WHERE {ns.rows} AND record = ANY(%s) AND terms IS NOT NULL",
        (list(rows),),
    )
    stored = await cursor.fetchall()
    if not stored:
        return
    terms = [np.frombuffer(blob, np.int64).tolist() for _, blob, *_ in stored]
    numbers = [row for (row, *_), own in zip(stored, terms, strict=True) for _ in own]
    await connection.execute(
        "DELETE FROM postings USING unnest(%s::bigint[], %s::bigint[]) AS gone (term, record)"
        f" WHERE {ns.rows} AND postings.term = gone.term AND postings.record = gone.record",
        ([term for own in terms for term in own], numbers),
    )
    await _count(connection, ns.number, [IndexedText([], words, *rest) for _, _, words, *rest in stored], -1)


async def rebuild(connection: Connection, spec: IndexSpec) -> None:
    """Index every record again, because the text field, the language or the analysis has changed."""
    await connection.execute("UPDATE state SET analysis = %s", (ANALYSIS,))
    for statement in (
        "TRUNCATE postings, text_languages",
        "UPDATE records SET terms = NULL, words = 0, language = NULL, certain = false WHERE terms IS NOT NULL",
        "UPDATE namespaces SET texts = 0, words = 0",
    ):
        await connection.execute(statement)
    if spec.embed is None or spec.sparse:
        return
    namespaces = await (await connection.execute("SELECT ns, buckets FROM namespaces")).fetchall()
    for ns in itertools.starmap(Namespace, namespaces):
        last = 0
        while rows := await (
            await connection.execute(
                f"SELECT record, id, metadata FROM records WHERE {ns.rows} AND record > %s ORDER BY record LIMIT 1000",
                (last,),
            )
        ).fetchall():
            records = [StoredRecord(row, id, msgspec.json.decode(text), None, text, False) for row, id, text in rows]
            texts = await indexed(connection, spec, ns, records)
            await add(connection, ns, texts)
            await store(connection, ns, texts)
            last = rows[-1][0]


async def store(connection: Connection, ns: Namespace, texts: dict[int, IndexedText]) -> None:
    """Write into records that exist what is indexed of their texts, by row number."""
    values = list(texts.values())
    await connection.execute(
        "UPDATE records SET terms = new.terms, words = new.words, language = new.language, certain = new.certain"
        " FROM unnest(%s::bigint[], %s::bytea[], %s::int[], %s::text[], %s::boolean[])"
        f" AS new (record, terms, words, language, certain) WHERE {ns.rows} AND records.record = new.record",
        (
            list(texts),
            [text.distinct for text in values],
            [text.words for text in values],
            [text.language for text in values],
            [text.certain for text in values],
        ),
    )


class Postings:
    """The inverted lists of one namespace in one snapshot, from memory where they are cached."""

    def __init__(
        self, connection: Connection, ns: Namespace, index: Handle, version: Version, cache: PostingCache
    ) -> None:
        """version: of the namespace, as the snapshot sees it."""
        self.connection, self.ns = connection, ns
        self._key: Key = index, ns.number
        self._version, self._cache = version, cache

    async def lists(self, terms: Sequence[tuple[str, ...]]) -> list[InvertedList]:
        """For each term, by its forms, the records that have any of them. Reads what is missing in one query."""
        keys = [tuple(str(hashed(form)) for form in forms) for forms in terms]
        cached = {key: self._cache.cached_list(self._key, self._version, key) for key in keys}
        missing = sorted({int(token) for key, known in cached.items() if known is None for token in key})
        by_term = await self._read(missing) if missing else {}

        def made(key: Tokens) -> InvertedList:
            return _joined([by_term[int(token)] for token in key if int(token) in by_term])

        def of(key: Tokens) -> InvertedList:
            return self._cache.inverted_list(self._key, self._version, key, lambda: made(key))

        return [known if (known := cached[key]) is not None else of(key) for key in keys]

    async def _read(self, terms: list[int]) -> dict[int, NDArray[np.void]]:
        cursor = self.connection.cursor(binary=True)
        await cursor.execute(
            "SELECT term, string_agg(int8send(record) || int4send(count) || int4send(words), '' ORDER BY record)"
            f" FROM postings WHERE {self.ns.rows} AND term = ANY(%s) GROUP BY ns, term",
            (terms,),
        )
        return lists_by_term(await cursor.fetchall(), POSTING)


def _joined(lists: Sequence[NDArray[np.void]]) -> InvertedList:
    """The records that are in any of the lists; counts are added."""
    if not lists:
        return InvertedList(np.empty(0, np.int64), np.empty(0, np.float32), NO_LENGTHS)
    rows = lists[0] if len(lists) == 1 else np.concatenate(lists)
    records, first, place = np.unique(rows["record"].astype(np.int64), return_index=True, return_inverse=True)
    counts = np.bincount(place, weights=rows["count"].astype(np.float64))
    return InvertedList(records, counts.astype(np.float32), rows["words"][first].astype(np.float32))


async def search(postings: Postings, spec: IndexSpec, text: str, matching: RowSet | None) -> LexicalScores:
    """Score the texts of a namespace that share terms with a query.

    matching: the rows that match the filter, or None without a filter.
    """
    analysis = spec.embed.analysis if spec.embed else "none"
    counts = await _text_counts(postings.connection, postings.ns.number)
    languages = await _languages(postings.connection, postings.ns.number) if detects(analysis) else {}
    terms = asked_terms(text, analysis, languages)
    lists = await postings.lists([term.forms for term, _ in terms])
    asked = Asked.of(terms, lists, counts.texts)
    records = asked.records(matching)
    return asked.scores(records, _lengths(records, lists), counts)


def _lengths(records: Records, lists: Sequence[InvertedList]) -> NDArray[np.float64]:
    """How many words each record has, float64 [n]. lists: together they have all of the records."""
    lengths = np.zeros(len(records))
    for each in lists:
        if len(each.records) and len(records):
            places = np.minimum(np.searchsorted(records, each.records), len(records) - 1)
            is_in = records[places] == each.records
            lengths[places[is_in]] = each.lengths[is_in]
    return lengths


async def statistics(postings: Postings, spec: IndexSpec, text: str) -> TermStatistics | None:
    """Count the texts of the namespace that have each term of the text. Returns None if the namespace has no texts."""
    if spec.embed is None or spec.sparse:
        return None
    analysis = spec.embed.analysis
    counts = await _text_counts(postings.connection, postings.ns.number)
    if not counts.texts:
        return None
    known = await _languages(postings.connection, postings.ns.number) if detects(analysis) else {}
    languages = query_languages(text, analysis, known)
    forms = sorted({term.forms for term in query_terms(text, analysis, languages)})
    lists = await postings.lists(forms)
    frequencies = {each: len(found.records) for each, found in zip(forms, lists, strict=True)}
    return TermStatistics(counts.texts, counts.words / counts.texts, frequencies, analysis, languages)


async def _languages(connection: Connection, ns: int, only_certain: bool = False) -> dict[str, int]:
    """How many texts of a namespace are in each language. only_certain: those that say so themselves."""
    test = "AND certain" if only_certain else ""
    cursor = await connection.execute(
        f"SELECT language, sum(texts)::bigint FROM text_languages WHERE ns = {ns} {test} GROUP BY language"
        ' HAVING sum(texts) > 0 ORDER BY language COLLATE "C"'
    )
    return dict(await cursor.fetchall())


async def _text_counts(connection: Connection, ns: int) -> TextCounts:
    row = await (await connection.execute(f"SELECT texts, words FROM namespaces WHERE ns = {ns}")).fetchone()
    assert row is not None
    return TextCounts(*row)


async def _count(connection: Connection, ns: int, texts: Sequence[IndexedText], sign: int) -> None:
    """Add texts to the counts of their namespace. sign: 1, or -1 to subtract them."""
    await connection.execute(
        f"UPDATE namespaces SET texts = texts + %s, words = words + %s WHERE ns = {ns}",
        (sign * len(texts), sign * sum(text.words for text in texts)),
    )
    by_language = Counter((text.language, text.certain) for text in texts if text.language is not None)
    for (language, certain), number in sorted(by_language.items()):
        await connection.execute(
            "INSERT INTO text_languages (ns, language, certain, texts) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (ns, language, certain) DO UPDATE SET texts = text_languages.texts + excluded.texts",
            (ns, language, certain, sign * number),
        )


@lru_cache(maxsize=200_000)
def hashed(term: str) -> int:
    """The number of a term: 64 bits of a hash, so that no table of words is needed."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), signed=True)
