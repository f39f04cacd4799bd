"""Reads records. Plain functions on a connection, inside the caller's snapshot."""

from collections.abc import Callable, Mapping
from math import isnan
from typing import Any

import apsw
import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import (
    Handle,
    IndexSpec,
    Match,
    Page,
    PagePlan,
    QueryAnswer,
    QueryPlan,
    Record,
    ScoreParts,
    SparseVector,
)
from pinyon.errors import InvalidArgument
from pinyon.filters import HasWords, has_words
from pinyon.search import fusion, retrieval
from pinyon.search.ranking import higher_is_better, shortest
from pinyon.storage.sqlite.filters.column_store import ColumnStore
from pinyon.storage.sqlite.filters.filter_cache import FilterCache
from pinyon.storage.sqlite.filters.matching import matching_rows, needs_no_reads
from pinyon.storage.sqlite.ivf.ivf_index import IvfIndex
from pinyon.storage.sqlite.records.selection import namespace as namespace_number
from pinyon.storage.sqlite.records.selection import prefix_range, where
from pinyon.storage.sqlite.row_sets import Records, RowSet
from pinyon.storage.sqlite.schema import changes, tables, token_vectors, vector_sums
from pinyon.storage.sqlite.text import learned_vectors, lexical, sparse_index
from pinyon.storage.sqlite.text.posting_cache import PostingCache
from pinyon.storage.sqlite.vectors import vector_scan
from pinyon.storage.sqlite.vectors.vector_cache import Key, VectorCache
from pinyon.storage.sqlite.vectors.vector_rows import vector_of
from pinyon.storage.sqlite.vectors.vector_source import NeedsReaderThread, VectorSource

SMALL_TOP_K = 100
"""Largest top_k of a plain search. Reading so many records takes little time."""
WORDS_BATCH = 512
"""Records that a search with match_terms reads at a time."""

MOST_CHANGED, MOST_CHANGED_SHARE = 1_000, 0.02
"""An inverted file is used while at most so many rows, or this share of all rows, have changed since it was made.

The larger limit counts. A search reads and scores each of these rows, which takes time.
"""

Vector = NDArray[np.float32]
decode = msgspec.json.Decoder(dict).decode
Scored = tuple[Records, NDArray[np.float32]]


class SearchCaches(msgspec.Struct, frozen=True):
    """What a search uses beside the tables.

    ivf_index: returns the inverted file of an index and of the number of a namespace, or None. recall: the share of the
    true nearest records that approximate answers should have on average.
    """

    vectors: VectorCache
    filters: FilterCache
    columns: ColumnStore
    postings: PostingCache
    ivf_index: Callable[[Handle, int], IvfIndex | None]
    recall: float = 0.98


def query(
    connection: apsw.Connection,
    namespace: str,
    plan: QueryPlan,
    caches: SearchCaches,
    handle: Handle,
    inline_at: int | None = None,
) -> QueryAnswer | None:
    """The best records for the plan's vector, record or text. Filters first, then ranks; ties are sorted by id.

    inline_at: the LSN at which the search runs on the event loop. Then it returns None if the last write has another
    LSN, or if rows to filter or vectors to compare are not in memory. Raises InvalidArgument if the vector does not
    have the dimension of the index.
    """
    spec, embedded_by, lsn = tables.state(connection)
    if inline_at not in (None, lsn):
        return None
    namespace_row = connection.execute(
        "SELECT ns, bytes, record_count, version, foreign_vectors FROM namespaces WHERE name = ?", (namespace,)
    ).get
    if namespace_row is None:
        return QueryAnswer([], lsn, 0)
    ns, size, count, version, foreign = namespace_row
    if plan.embedded_by is not None:
        tables.check_embedded_by(embedded_by, plan.embedded_by)
    vector, sparse = plan.vector, plan.sparse
    if vector is not None and len(vector) != spec.dimension:
        raise InvalidArgument(
            f"Vector dimension {len(vector)} does not match the dimension of the index {spec.dimension}"
        )
    if plan.id is not None:
        row = connection.execute("SELECT record, sparse FROM records WHERE ns = ? AND id = ?", (ns, plan.id)).get
        if row is None:
            return QueryAnswer([], lsn, size)
        vector = None if spec.sparse else vector_of(connection, row[0])
        sparse = sparse_index.from_blob(row[1]) if spec.takes_sparse else None
    if inline_at is not None and not _in_memory(caches, plan, (handle, ns), version):
        return None
    matching = None
    if plan.filter is not None:
        columns = None if spec.sparse else caches.columns
        matching = matching_rows(connection, plan.filter, (handle, ns), version, count, caches.filters, columns)
    text = plan.statistics_text
    centroid = None
    is_hybrid = plan.text is not None and vector is not None
    if count and vector_sums.are_kept(spec) and (text is not None or is_hybrid):
        centroid = vector_sums.centroid(connection, spec, ns, count)
    ivf_index = None if plan.exact else caches.ivf_index(handle, ns)
    changed = None if ivf_index is None else changes.since(connection, ns, ivf_index.version)
    if changed is None or len(changed) > max(MOST_CHANGED, MOST_CHANGED_SHARE * count):
        if ivf_index is not None and inline_at is not None:
            return None
        ivf_index = changed = None
    source = VectorSource(
        connection,
        ns,
        spec.dimension,
        count,
        version,
        caches.vectors,
        handle,
        ivf_index,
        changed,
        caches.recall,
        on_event_loop=inline_at is not None,
    )
    kind = retrieval.kind(plan, vector is not None)
    if kind == "lexical":
        matches = _lexical(source, spec, plan, matching, caches.postings)
    elif kind == "hybrid":
        assert vector is not None
        chance = 0.0 if centroid is None else fusion.background(vector, centroid, plan.unrelated)
        matches = _hybrid(source, spec, vector, plan, matching, caches.postings, chance)
    else:
        sparse_scores = None
        if sparse is not None:
            sparse_scores = sparse_index.dots(connection, ns, sparse, count if plan.by_rarity else None)
        try:
            scored = _scored(source, spec, vector, sparse_scores, plan, matching)
        except NeedsReaderThread:
            return None
        matches = _matches(source, spec, scored, plan)
    statistics = None
    if text is not None:  # after the search, which has read the same words
        statistics = lexical.statistics(_postings(source, caches.postings), spec, text)
    return QueryAnswer(matches, lsn, size, statistics, embedded_by, ivf_index is not None, foreign, centroid)


def is_plain(plan: QueryPlan) -> bool:
    """Whether a search is for few records nearest to a vector or a record, with or without a filter, and no more."""
    other_parts = plan.sparse, plan.words, plan.text, plan.statistics_text, plan.learned
    return (
        other_parts.count(None) == len(other_parts)
        and plan.top_k <= SMALL_TOP_K
        and not (plan.include_values or plan.include_token_codes)
    )


def _in_memory(caches: SearchCaches, plan: QueryPlan, key: Key, version: int) -> bool:
    """Whether a plain search finds its filter's rows and the vectors that it compares in memory."""
    if plan.filter is not None and not needs_no_reads(plan.filter, key, version, caches.filters, caches.columns):
        return False
    cached = caches.vectors.latest(key)
    if cached is None:
        return False
    # With an inverted file few rows are compared. Only those that have changed since must be read, which is quick.
    return cached.version == version or (caches.ivf_index(*key) is not None and not plan.exact)


def _scored(
    source: VectorSource,
    spec: IndexSpec,
    vector: Vector | None,
    sparse_scores: tuple[Records, NDArray[np.float64]] | None,
    plan: QueryPlan,
    matching: RowSet | None,
) -> Scored:
    """Row numbers and scores of the best records, with all that tie with the last of them.

    sparse_scores: the records that share terms with the query, and their sparse products. matching: the rows that match
    the filter, or None without a filter.
    """
    if vector is not None:
        return vector_scan.nearest(source, spec.metric, vector, plan.top_k, matching, sparse_scores)
    if sparse_scores is None:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    records, products = sparse_scores
    if matching is not None:
        is_match = matching.contains(records)
        records, products = records[is_match], products[is_match]
    limit = np.finfo(np.float32).max
    scores = np.clip(products, -limit, limit).astype(np.float32)
    if plan.words is not None:
        return _best_with_words(source.connection, records, scores, plan.top_k, plan.words)
    return vector_scan.best(records, scores, plan.top_k)


def _postings(source: VectorSource, cache: PostingCache) -> lexical.Postings:
    return lexical.Postings(source.connection, (source.handle, source.ns), source.version, cache)


def _lexical(
    source: VectorSource, spec: IndexSpec, plan: QueryPlan, matching: RowSet | None, cache: PostingCache
) -> list[Match]:
    """Hits by the words of the plan's text."""
    by_words = lexical.search(_postings(source, cache), spec, plan.text or "", matching)
    best = vector_scan.best(by_words.records, by_words.scores.astype(np.float32), retrieval.depth(plan))
    return _matches(source, spec, best, plan, higher=True)


def _hybrid(
    source: VectorSource,
    spec: IndexSpec,
    vector: Vector,
    plan: QueryPlan,
    matching: RowSet | None,
    cache: PostingCache,
    background: float,
) -> list[Match]:
    """Hits by vector and by words. The candidates are the best of each side; both sides score every candidate.

    background: fusion.background().
    """
    by_words = lexical.search(_postings(source, cache), spec, plan.text or "", matching)
    depth = retrieval.depth(plan)
    best_words = vector_scan.best(by_words.records, by_words.scores.astype(np.float32), depth)[0]
    nearest = vector_scan.nearest(source, "cosine", vector, depth, matching)[0]
    candidates = np.union1d(best_words, nearest)
    if not len(candidates):
        return []
    rows, cosines = vector_scan.nearest(source, "cosine", vector, len(candidates), RowSet.of_rows(candidates))
    of_words = by_words.records, by_words.scores, by_words.shares
    learned = None
    if plan.learned is not None:
        learned = learned_vectors.scores(source.connection, source.ns, rows, plan.learned)
    scores, parts = retrieval.fuse(rows, cosines, background, *of_words, plan.similarity_weight, learned, plan.mix)
    return _matches(source, spec, (rows, scores), plan, higher=True, parts=parts)


def _best_with_words(
    connection: apsw.Connection, records: Records, scores: NDArray[np.float32], top_k: int, wanted: HasWords
) -> Scored:
    """Like vector_scan.best(), but only with records that have the words.

    Reads the records best first, and stops when no further one can be among the best.
    """
    order = np.argsort(-scores, kind="stable")
    with_words: list[int] = []
    for start in range(0, len(order), WORDS_BATCH):
        places = order[start : start + WORDS_BATCH]
        if len(with_words) >= top_k and scores[places[0]] < scores[with_words[top_k - 1]]:
            break
        rows: Any = connection.execute(
            "SELECT record, metadata FROM records WHERE record IN (SELECT value FROM carray(?))",
            (apsw.carray(np.ascontiguousarray(records[places])),),
        )
        texts: dict[int, str] = dict(rows)
        with_words += [place for place in places.tolist() if _has_words(texts[int(records[place])], wanted)]
    chosen = np.array(with_words, dtype=np.int64)
    return records[chosen], scores[chosen]


def _has_words(metadata: str, wanted: HasWords) -> bool:
    """Whether metadata, in JSON, have the words. Looks at the text first, so that few records are decoded."""
    lower = metadata.lower()
    return all(word in lower for word in wanted.words) and has_words(wanted, msgspec.json.decode(metadata))


def _matches(
    source: VectorSource,
    spec: IndexSpec,
    scored: Scored,
    plan: QueryPlan,
    higher: bool = False,
    parts: Mapping[int, ScoreParts] | None = None,
) -> list[Match]:
    """The first top_k hits with ids and fields, best first; ties are sorted by id.

    higher: higher scores are better, whatever the metric of the index is. parts: the parts of each score, by row
    number.
    """
    connection = source.connection
    records, scores = scored
    if not len(records):
        return []
    good = scores if higher else higher_is_better(spec.metric, scores)
    order = np.argsort(-good, kind="stable")
    records, scores = records[order], scores[order]
    same = scores[1:] == scores[:-1]
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        id_rows: Any = connection.execute(
            "SELECT record, id FROM carray(?) CROSS JOIN records ON record = value", (apsw.carray(records[tied]),)
        )
        ids = dict(id_rows)
        by_id = sorted(
            zip((-good[order[tied]]).tolist(), records[tied].tolist(), strict=True),
            key=lambda row: (row[0], ids[row[1]]),
        )
        records[tied] = [row for _, row in by_id]
    records, scores = records[: plan.top_k], scores[: plan.top_k]
    rows: Any = connection.execute(
        "SELECT record, id, metadata, sparse FROM carray(?) CROSS JOIN records ON record = value",
        (apsw.carray(np.sort(records)),),  # sorted, because neighbours in the file are quicker to read in order
    )
    stored = {row: (id, decode(metadata), blob) for row, id, metadata, blob in rows}
    learned: list[float | None] = [None] * len(records)
    if parts is not None:
        learned = [parts[row].learned for row in records.tolist()]
    elif plan.learned is not None:
        values = learned_vectors.scores(connection, source.ns, records, plan.learned)
        learned = [None if isnan(value) else value for value in values.tolist()]
    codes = token_vectors.read(connection, records) if plan.include_token_codes else {}
    matches = []
    for row, score, words in zip(records.tolist(), shortest(scores), learned, strict=True):
        id, metadata, blob = stored[row]
        vectors = _values(connection, spec, row, blob) if plan.include_values else (None, None)
        of_row = None if parts is None else parts[row]
        matches.append(Match(id, score, metadata, *vectors, of_row, words, codes.get(row)))
    return matches


def _values(
    connection: apsw.Connection, spec: IndexSpec, row: int, blob: bytes | None
) -> tuple[Vector | None, SparseVector | None]:
    return None if spec.sparse else vector_of(connection, row), sparse_index.from_blob(blob)


def page(connection: apsw.Connection, spec: IndexSpec, namespace: str, plan: PagePlan) -> Page:
    """One page of records, in byte order of their ids."""
    lsn = tables.lsn(connection)
    ns = namespace_number(connection, namespace)
    if ns is None:
        return Page([], False, lsn)
    text, parameters = where(plan.selection, ns)
    first, end = prefix_range(plan.prefix)
    rows = connection.execute(
        f"SELECT record, id, metadata, sparse FROM records WHERE {text} AND id >= ? AND id < ? AND id > ?"
        " ORDER BY id LIMIT ?",
        [*parameters, first, end, plan.after, plan.limit + 1],
    ).fetchall()
    more, rows = len(rows) > plan.limit, rows[: plan.limit]
    if plan.ids_only:
        return Page([Record(str(id), None, {}) for _, id, _, _ in rows], more, lsn)
    return Page([_record(connection, spec, row) for row in rows], more, lsn)


def _record(connection: apsw.Connection, spec: IndexSpec, row: tuple[Any, ...]) -> Record:
    number, id, metadata, blob = row
    vector, sparse = _values(connection, spec, number, blob)
    return Record(id, vector, decode(metadata), sparse, metadata_json=metadata.encode())
