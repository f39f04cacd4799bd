"""Reads records. Plain functions on a connection, inside the caller's snapshot."""

from collections.abc import Callable, Mapping, Sequence
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
from pinyon.filters import And, Condition
from pinyon.search import fusion
from pinyon.search.ranking import shortest
from pinyon.storage.shared.centroids import are_kept
from pinyon.storage.shared.fingerprints import check_embedded_by
from pinyon.storage.shared.posting_cache import PostingCache
from pinyon.storage.shared.ranking import Scored
from pinyon.storage.shared.row_sets import RowSet
from pinyon.storage.shared.sparse import from_blob
from pinyon.storage.sqlite.filters.column_store import ColumnStore
from pinyon.storage.sqlite.filters.filter_cache import FilterCache
from pinyon.storage.sqlite.filters.matching import matching_rows, needs_no_reads
from pinyon.storage.sqlite.ivf.ivf_index import IvfIndex
from pinyon.storage.sqlite.records import grouping, scoring
from pinyon.storage.sqlite.records.selection import namespace as namespace_number
from pinyon.storage.sqlite.records.selection import prefix_range, where
from pinyon.storage.sqlite.schema import changes, tables, token_vectors, vector_sums
from pinyon.storage.sqlite.text import learned_vectors, lexical
from pinyon.storage.sqlite.vectors.vector_cache import Key, VectorCache
from pinyon.storage.sqlite.vectors.vector_rows import vector_of
from pinyon.storage.sqlite.vectors.vector_source import NeedsReaderThread, VectorSource

SMALL_TOP_K = 100
"""Largest top_k of a plain search. Reading so many records takes little time."""
MOST_CHANGED, MOST_CHANGED_SHARE = 1_000, 0.02
"""An inverted file is used while at most so many rows, or this share of all rows, have changed since it was made.

The larger limit counts. A search reads and scores each of these rows, which takes time.
"""

Vector = NDArray[np.float32]
decode = msgspec.json.Decoder(dict).decode


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
        check_embedded_by(embedded_by, plan.embedded_by)
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
        sparse = from_blob(row[1]) if spec.takes_sparse else None
    if inline_at is not None and not _in_memory(caches, plan, (handle, ns), version):
        return None
    matching, columns = None, None if spec.sparse else caches.columns
    if plan.filter is not None:
        matching = matching_rows(connection, plan.filter, (handle, ns), version, count, caches.filters, columns)
    text = plan.statistics_text
    centroid = None
    is_hybrid = plan.text is not None and vector is not None
    if count and are_kept(spec) and (text is not None or is_hybrid):
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
    chance = 0.0
    if is_hybrid and vector is not None and centroid is not None:
        chance = fusion.background(vector, centroid, plan.unrelated)
    postings = lexical.Postings(connection, (handle, ns), version, caches.postings)
    scorer = scoring.scorer(source, spec, plan, vector, sparse, matching, postings, chance)
    try:
        if plan.grouping is None:
            ranking = scorer.best(plan.top_k, matching)
            rows, scores = ranking.rows[: plan.top_k], ranking.scores[: plan.top_k]
            parts = None if ranking.parts is None else ranking.parts.of(rows)
        else:

            def rows_that_match(more: Condition) -> RowSet:
                condition = more if plan.filter is None else And((plan.filter, more))
                return matching_rows(connection, condition, (handle, ns), version, count, caches.filters, columns)

            ranking, parts = grouping.best(scorer, plan.top_k, plan.grouping, matching, rows_that_match)
            rows, scores = ranking.rows, ranking.scores
    except NeedsReaderThread:
        return None
    matches = _matches(source, spec, (rows, scores), plan, parts)
    statistics = None
    if text is not None:  # after the search, which has read the same words
        statistics = lexical.statistics(postings, spec, text)
    return QueryAnswer(matches, lsn, size, statistics, embedded_by, ivf_index is not None, foreign, centroid)


def is_plain(plan: QueryPlan) -> bool:
    """Whether a search is for few records nearest to a vector or a record, with or without a filter, and no more."""
    other_parts = plan.sparse, plan.words, plan.text, plan.statistics_text, plan.learned, plan.grouping
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


def _matches(
    source: VectorSource,
    spec: IndexSpec,
    scored: Scored,
    plan: QueryPlan,
    parts: Mapping[int, ScoreParts] | None = None,
) -> list[Match]:
    """Hits with ids and fields, in the order of the scored rows. parts: the parts of each score, by row number."""
    connection = source.connection
    records, scores = scored
    if not len(records):
        return []
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
    return None if spec.sparse else vector_of(connection, row), from_blob(blob)


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
    records = [_record(connection, spec, row) for row in rows]
    return Page(_complete(connection, rows, records) if plan.complete and rows else records, more, lsn)


def _complete(connection: apsw.Connection, rows: Sequence[tuple[Any, ...]], records: Sequence[Record]) -> list[Record]:
    """The records of these rows, one at least, with what is stored beside them."""
    numbers = np.array([row[0] for row in rows], np.int64)
    marks: Any = connection.execute(
        "SELECT record, truncated, foreign_vector FROM carray(?) CROSS JOIN records ON record = value",
        (apsw.carray(numbers),),
    )
    flags = {row: (bool(truncated), bool(foreign)) for row, truncated, foreign in marks}
    learned, codes = learned_vectors.read(connection, numbers), token_vectors.read(connection, numbers)
    return [
        msgspec.structs.replace(
            record,
            truncated=flags[row][0],
            foreign=flags[row][1],
            learned=from_blob(learned.get(row)),
            token_codes=codes.get(row),
        )
        for row, record in zip(numbers.tolist(), records, strict=True)
    ]


def _record(connection: apsw.Connection, spec: IndexSpec, row: tuple[Any, ...]) -> Record:
    number, id, metadata, blob = row
    vector, sparse = _values(connection, spec, number, blob)
    return Record(id, vector, decode(metadata), sparse, metadata_json=metadata.encode())
