"""Reading records: plain functions on a connection, inside the caller's snapshot."""

from collections.abc import Callable, Mapping
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
from pinyon.search import retrieval
from pinyon.search.ranking import higher_is_better, shortest
from pinyon.storage.sqlite.filters.column_store import ColumnStore
from pinyon.storage.sqlite.filters.filter_cache import FilterCache
from pinyon.storage.sqlite.filters.matching import matching_rows, needs_no_reads
from pinyon.storage.sqlite.ivf.ivf_index import IvfIndex
from pinyon.storage.sqlite.records.selection import namespace as namespace_number
from pinyon.storage.sqlite.records.selection import prefix_range, where
from pinyon.storage.sqlite.row_sets import Records, RowSet
from pinyon.storage.sqlite.schema import changes, tables
from pinyon.storage.sqlite.text import lexical, sparse_index
from pinyon.storage.sqlite.vectors import vector_scan
from pinyon.storage.sqlite.vectors.vector_cache import Key, VectorCache
from pinyon.storage.sqlite.vectors.vector_rows import vector_of
from pinyon.storage.sqlite.vectors.vector_source import NeedsReaderThread, VectorSource

PAGE = 100
"""Records that are read in little time."""
ROWS_AT_ONCE = 512
"""Records that match_terms reads at a time."""

MOST_CHANGED, MOST_CHANGED_SHARE = 1_000, 0.02
"""Rows, and share of the rows, that an inverted file may be behind: each is read and scored."""

Vector = NDArray[np.float32]
decode = msgspec.json.Decoder(dict).decode
Scored = tuple[Records, NDArray[np.float32]]


class Memory(msgspec.Struct, frozen=True):
    """What is held in memory beside the tables. inverted: the inverted file of an index's handle and a namespace.

    recall: share of the nearest that approximate answers must have on average.
    """

    vectors: VectorCache
    filters: FilterCache
    columns: ColumnStore
    inverted: Callable[[Handle, int], IvfIndex | None]
    recall: float = 0.98


def query(
    connection: apsw.Connection,
    namespace: str,
    plan: QueryPlan,
    memory: Memory,
    handle: Handle,
    at: int | None = None,
) -> QueryAnswer | None:
    """The records nearest to the plan's vector or record: filter first, then rank, ties by id.

    at: give up, with None, if the last write has another number, or what is filtered or compared would have to be read.
    """
    spec, embedded_by, lsn = tables.state(connection)
    if at not in (None, lsn):
        return None
    found = connection.execute(
        "SELECT ns, bytes, record_count, version, foreign_vectors FROM namespaces WHERE name = ?", (namespace,)
    ).get
    if found is None:
        return QueryAnswer([], lsn, 0)
    ns, size, count, version, foreign = found
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
    if at is not None and not _in_memory(memory, plan, (handle, ns), version):
        return None
    keep = None
    if plan.filter is not None:
        columns = None if spec.sparse else memory.columns
        keep = matching_rows(connection, plan.filter, (handle, ns), version, count, memory.filters, columns)
    text = plan.statistics_text
    statistics = None if text is None else lexical.statistics(connection, spec, ns, text)
    inverted = None if plan.exact else memory.inverted(handle, ns)
    changed = None if inverted is None else changes.since(connection, ns, inverted.version)
    if changed is None or len(changed) > max(MOST_CHANGED, MOST_CHANGED_SHARE * count):
        if inverted is not None and at is not None:
            return None
        inverted = changed = None
    source = VectorSource(
        connection,
        ns,
        spec.dimension,
        count,
        version,
        memory.vectors,
        handle,
        inverted,
        changed,
        memory.recall,
        on_event_loop=at is not None,
    )
    kind = retrieval.kind(plan, vector is not None)
    if kind == "lexical":
        matches = _lexical(source, spec, plan, keep)
    elif kind == "hybrid":
        assert vector is not None
        matches = _hybrid(source, spec, vector, plan, keep)
    else:
        shared = None
        if sparse is not None:
            shared = sparse_index.dots(connection, ns, sparse, count if plan.by_rarity else None)
        try:
            scored = _scored(source, spec, vector, shared, plan, keep)
        except NeedsReaderThread:
            return None
        matches = _matches(connection, spec, scored, plan)
    return QueryAnswer(matches, lsn, size, statistics, embedded_by, inverted is not None, foreign)


def is_plain(plan: QueryPlan) -> bool:
    """Whether a search is for a page of the records nearest to a vector or a record, and nothing else but a filter."""
    others = plan.sparse, plan.words, plan.text, plan.statistics_text
    return others.count(None) == len(others) and plan.top_k <= PAGE and not plan.include_values


def _in_memory(memory: Memory, plan: QueryPlan, key: Key, version: int) -> bool:
    """Whether the rows that a plain search filters by and the vectors that it compares are in memory."""
    if plan.filter is not None and not needs_no_reads(plan.filter, key, version, memory.filters, memory.columns):
        return False
    cached = memory.vectors.latest(key)
    if cached is None:
        return False
    # An inverted file brings few rows. Of those that have changed since, it does not matter that they must be read.
    return cached.version == version or (memory.inverted(*key) is not None and not plan.exact)


def _scored(
    source: VectorSource,
    spec: IndexSpec,
    vector: Vector | None,
    shared: tuple[Records, NDArray[np.float64]] | None,
    plan: QueryPlan,
    keep: RowSet | None,
) -> Scored:
    """Row numbers and scores of the best, and of whatever ties with the last of them.

    shared: records that share terms with the query, and their sparse products.
    """
    if vector is not None:
        return vector_scan.nearest(source, spec.metric, vector, plan.top_k, keep, shared)
    if shared is None:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    records, products = shared
    if keep is not None:
        allowed = keep.contains(records)
        records, products = records[allowed], products[allowed]
    limit = np.finfo(np.float32).max
    scores = np.clip(products, -limit, limit).astype(np.float32)
    if plan.words is not None:
        return _best_with_words(source.connection, records, scores, plan.top_k, plan.words)
    return vector_scan.best(records, scores, plan.top_k)


def _lexical(source: VectorSource, spec: IndexSpec, plan: QueryPlan, keep: RowSet | None) -> list[Match]:
    """Hits by the words of the plan's text."""
    by_words = lexical.search(source.connection, spec, source.ns, plan.text or "", keep)
    best = vector_scan.best(by_words.records, by_words.scores.astype(np.float32), retrieval.depth(plan))
    return _matches(source.connection, spec, best, plan, higher=True)


def _hybrid(source: VectorSource, spec: IndexSpec, vector: Vector, plan: QueryPlan, keep: RowSet | None) -> list[Match]:
    """Hits by vector and by words: the best candidates of each side, each scored by both sides."""
    by_words = lexical.search(source.connection, spec, source.ns, plan.text or "", keep)
    depth = retrieval.depth(plan)
    best_words = vector_scan.best(by_words.records, by_words.scores.astype(np.float32), depth)[0]
    nearest = vector_scan.nearest(source, "cosine", vector, depth, keep)[0]
    candidates = np.union1d(best_words, nearest)
    if not len(candidates):
        return []
    rows, cosines = vector_scan.nearest(source, "cosine", vector, len(candidates), RowSet.of_rows(candidates))
    scores, parts = retrieval.fuse(rows, cosines, by_words.records, by_words.scores, by_words.shares)
    return _matches(source.connection, spec, (rows, scores), plan, higher=True, parts=parts)


def _best_with_words(
    connection: apsw.Connection, records: Records, scores: NDArray[np.float32], top_k: int, wanted: HasWords
) -> Scored:
    """As vector_scan.best(), of the records that have the words: read best first, and no further than is needed."""
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    for start in range(0, len(order), ROWS_AT_ONCE):
        places = order[start : start + ROWS_AT_ONCE]
        if len(kept) >= top_k and scores[places[0]] < scores[kept[top_k - 1]]:
            break
        rows: Any = connection.execute(
            "SELECT record, metadata FROM records WHERE record IN (SELECT value FROM carray(?))",
            (apsw.carray(np.ascontiguousarray(records[places])),),
        )
        texts: dict[int, str] = dict(rows)
        kept += [place for place in places.tolist() if _has_words(texts[int(records[place])], wanted)]
    chosen = np.array(kept, dtype=np.int64)
    return records[chosen], scores[chosen]


def _has_words(metadata: str, wanted: HasWords) -> bool:
    """The quick look at the JSON text spares most records the decoding."""
    lower = metadata.lower()
    return all(word in lower for word in wanted.words) and has_words(wanted, msgspec.json.decode(metadata))


def _matches(
    connection: apsw.Connection,
    spec: IndexSpec,
    scored: Scored,
    plan: QueryPlan,
    higher: bool = False,
    parts: Mapping[int, ScoreParts] | None = None,
) -> list[Match]:
    """Hits with ids and fields, best first and ties by id, cut to top_k.

    higher: higher scores are better whatever the index's metric is. parts: of each score, by row number.
    """
    records, scores = scored
    if not len(records):
        return []
    good = scores if higher else higher_is_better(spec.metric, scores)
    order = np.argsort(-good, kind="stable")
    records, scores = records[order], scores[order]
    same = scores[1:] == scores[:-1]
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        found: Any = connection.execute(
            "SELECT record, id FROM carray(?) CROSS JOIN records ON record = value", (apsw.carray(records[tied]),)
        )
        ids = dict(found)
        by_id = sorted(
            zip((-good[order[tied]]).tolist(), records[tied].tolist(), strict=True),
            key=lambda row: (row[0], ids[row[1]]),
        )
        records[tied] = [row for _, row in by_id]
    records, scores = records[: plan.top_k], scores[: plan.top_k]
    rows: Any = connection.execute(
        "SELECT record, id, metadata, sparse FROM carray(?) CROSS JOIN records ON record = value",
        (apsw.carray(np.sort(records)),),  # rows that are neighbours in the file are read one after another
    )
    stored = {row: (id, decode(metadata), blob) for row, id, metadata, blob in rows}
    matches = []
    for row, score in zip(records.tolist(), shortest(scores), strict=True):
        id, metadata, blob = stored[row]
        values = _values(connection, spec, row, blob) if plan.include_values else (None, None)
        matches.append(Match(id, score, metadata, *values, None if parts is None else parts[row]))
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
