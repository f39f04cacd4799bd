"""Reads records. Plain functions on a connection, inside the caller's snapshot."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from math import isnan
from typing import Any

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
from pinyon.search import fusion, retrieval
from pinyon.search.ranking import shortest
from pinyon.storage.postgres.catalogue import State
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.filters.joins import filtering
from pinyon.storage.postgres.records import grouping, scoring
from pinyon.storage.postgres.records.selection import begins_with, where
from pinyon.storage.postgres.records.selection import namespace as namespace_number
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.postgres.text import learned_vectors, lexical, sparse_index
from pinyon.storage.postgres.vectors import vector_sums
from pinyon.storage.postgres.vectors.hnsw import HnswIndex
from pinyon.storage.postgres.vectors.nearest import VectorSource, vector_of, vectors_of
from pinyon.storage.shared.centroids import are_kept
from pinyon.storage.shared.fingerprints import check_embedded_by
from pinyon.storage.shared.posting_cache import PostingCache
from pinyon.storage.shared.row_sets import Records
from pinyon.storage.shared.sparse import from_blob

FEW_HITS = 1_000
"""Up to so many hits, searches are approximate. For more, comparing all rows is about as fast, and misses none."""

Vector = NDArray[np.float32]
decode = msgspec.json.Decoder(dict).decode


class NamespaceRow(msgspec.Struct, frozen=True):
    """A row of the table `namespaces`, as a search needs it."""

    number: int
    buckets: int
    bytes: int
    record_count: int
    version: int
    foreign_vectors: int


class SearchMeans(msgspec.Struct, frozen=True):
    """What a search uses beside the tables. hnsw: by number, the namespaces that have a usable index, and its kind."""

    postings: PostingCache
    hnsw: Mapping[int, HnswIndex]


async def query(
    connection: Connection, state: State, handle: Handle, namespace: str, plan: QueryPlan, means: SearchMeans
) -> QueryAnswer:
    """The best records for the plan's vector, record or text. Filters first, then ranks; ties are sorted by id.

    Raises InvalidArgument if the vector does not have the dimension of the index, EmbeddingMismatch if the plan says
    what embedded the vector, and the records were by something else.
    """
    spec = state.spec
    row = await (
        await connection.execute(
            "SELECT ns, buckets, bytes, record_count, version, foreign_vectors FROM namespaces WHERE name = %s",
            (namespace,),
        )
    ).fetchone()
    if row is None:
        return QueryAnswer([], state.lsn, 0)
    space = NamespaceRow(*row)
    ns = Namespace(space.number, space.buckets)
    if plan.embedded_by is not None:
        check_embedded_by(state.embedded_by, plan.embedded_by)
    vector, sparse = plan.vector, plan.sparse
    if vector is not None and len(vector) != spec.dimension:
        raise InvalidArgument(
            f"Vector dimension {len(vector)} does not match the dimension of the index {spec.dimension}"
        )
    if plan.id is not None:
        stored = await (
            await connection.execute(
                f"SELECT record, sparse FROM records WHERE {ns.rows_of([plan.id])} AND id = %s", (plan.id,)
            )
        ).fetchone()
        if stored is None:
            return QueryAnswer([], state.lsn, space.bytes)
        vector = None if spec.sparse else await vector_of(connection, ns, stored[0], spec.dimension)
        sparse = from_blob(stored[1]) if spec.takes_sparse else None
    is_hybrid = plan.text is not None and vector is not None
    centroid = None
    if space.record_count and are_kept(spec) and (plan.statistics_text is not None or is_hybrid):
        centroid = await vector_sums.centroid(connection, ns.number, space.record_count)
    exact = plan.exact or plan.top_k > FEW_HITS or plan.grouping is not None
    hnsw = None if exact else means.hnsw.get(ns.number)
    source = VectorSource(connection, ns, spec.dimension, space.record_count, hnsw)
    chance = 0.0
    if is_hybrid and vector is not None and centroid is not None:
        chance = fusion.background(vector, centroid, plan.unrelated)
    postings = lexical.Postings(connection, ns, handle, (space.version, state.version), means.postings)
    scorer = scoring.Scorer(source, spec, plan, vector, background=chance)
    if scorer.kind in ("lexical", "hybrid"):
        by_words = await lexical.search(postings, spec, plan.text or "", None)
        scorer = msgspec.structs.replace(scorer, by_words=by_words)
    elif sparse is not None:
        rare_of = space.record_count if plan.by_rarity else None
        products = await sparse_index.dots(connection, ns, sparse, rare_of)
        scorer = msgspec.structs.replace(scorer, sparse_scores=products)
    if plan.grouping is None:
        ranking = await scorer.best(plan.top_k, plan.filter)
        rows, scores = ranking.rows[: plan.top_k], ranking.scores[: plan.top_k]
        parts = None if ranking.parts is None else ranking.parts.of(rows)
    else:
        ranking, parts = await grouping.best(scorer, plan.top_k, plan.grouping, plan.filter)
        rows, scores = ranking.rows, ranking.scores
    matches = await _matches(source, spec, rows, scores, plan, parts)
    statistics = None
    if plan.statistics_text is not None:  # after the search, which has read the same words
        statistics = await lexical.statistics(postings, spec, plan.statistics_text)
    is_approximate = hnsw is not None and retrieval.kind(plan, vector is not None) in ("dense", "hybrid")
    return QueryAnswer(
        matches,
        state.lsn,
        space.bytes,
        statistics,
        state.embedded_by,
        is_approximate,
        space.foreign_vectors,
        centroid,
    )


async def _matches(
    source: VectorSource,
    spec: IndexSpec,
    rows: Records,
    scores: NDArray[np.float32],
    plan: QueryPlan,
    parts: Mapping[int, ScoreParts] | None,
) -> list[Match]:
    """Hits with ids and fields, in the order of the scored rows. parts: the parts of each score, by row number."""
    if not len(rows):
        return []
    connection, ns, numbers = source.connection, source.ns, rows.tolist()
    cursor = await connection.execute(
        f"SELECT record, id, metadata, sparse FROM records WHERE {ns.rows} AND record = ANY(%s)", (numbers,)
    )
    stored = {row: rest for row, *rest in await cursor.fetchall()}
    learned: list[float | None] = [None] * len(numbers)
    if parts is not None:
        learned = [parts[row].learned for row in numbers]
    elif plan.learned is not None:
        values = await learned_vectors.scores(connection, ns, rows, plan.learned)
        learned = [None if isnan(value) else value for value in values.tolist()]
    codes: dict[int, bytes] = {}
    if plan.include_token_codes:
        codes = await _token_codes(connection, ns, numbers)
    vectors: dict[int, Vector] = {}
    if plan.include_values and not spec.sparse:
        vectors = await vectors_of(connection, ns, numbers, spec.dimension)
    matches = []
    for row, score, words in zip(numbers, shortest(scores), learned, strict=True):
        id, metadata, blob = stored[row]
        sparse = from_blob(blob) if plan.include_values else None
        of_row = None if parts is None else parts[row]
        matches.append(Match(id, score, decode(metadata), vectors.get(row), sparse, of_row, words, codes.get(row)))
    return matches


async def page(connection: Connection, spec: IndexSpec, lsn: int, namespace: str, plan: PagePlan) -> Page:
    """One page of records, in byte order of their ids."""
    ns = await namespace_number(connection, namespace)
    if ns is None:
        return Page([], False, lsn)
    text, parameters = where(plan.selection, ns)
    prefix, of_prefix = begins_with("id", plan.prefix)
    columns = "record, id" if plan.ids_only else "record, id, metadata, sparse"
    async with nullcontext() if plan.selection.filter is None else filtering(connection, ns):
        cursor = await connection.execute(
            f"SELECT {columns} FROM records WHERE {text} AND {prefix} AND id > %s ORDER BY id LIMIT %s",
            [*parameters, *of_prefix, plan.after, plan.limit + 1],
        )
        rows = await cursor.fetchall()
    more, rows = len(rows) > plan.limit, rows[: plan.limit]
    if plan.ids_only:
        return Page([Record(id, None, {}) for _, id in rows], more, lsn)
    vectors: Mapping[int, Vector] = {}
    if not spec.sparse:
        vectors = await vectors_of(connection, ns, [row for row, *_ in rows], spec.dimension)
    records = [_record(row, vectors) for row in rows]
    return Page(await _complete(connection, ns, rows, records) if plan.complete else records, more, lsn)


async def _complete(
    connection: Connection, ns: Namespace, rows: Sequence[tuple[Any, ...]], records: Sequence[Record]
) -> list[Record]:
    """The records of these rows with what is stored beside them."""
    numbers = [row for row, *_ in rows]
    cursor = await connection.execute(
        f"SELECT record, truncated, foreign_vector FROM records WHERE {ns.rows} AND record = ANY(%s)", (numbers,)
    )
    flags = {row: (truncated, foreign) for row, truncated, foreign in await cursor.fetchall()}
    learned = await learned_vectors.read(connection, ns, numbers)
    codes = await _token_codes(connection, ns, numbers)
    return [
        msgspec.structs.replace(
            record,
            truncated=flags[row][0],
            foreign=flags[row][1],
            learned=from_blob(learned.get(row)),
            token_codes=codes.get(row),
        )
        for row, record in zip(numbers, records, strict=True)
    ]


async def _token_codes(connection: Connection, ns: Namespace, rows: Sequence[int]) -> dict[int, bytes]:
    """The token vectors of these rows, by row; rows without them are left out."""
    cursor = await connection.execute(
        f"SELECT record, codes FROM token_vectors WHERE {ns.rows} AND record = ANY(%s)", (list(rows),)
    )
    return dict(await cursor.fetchall())


def _record(row: tuple[Any, ...], vectors: Mapping[int, Vector]) -> Record:
    number, id, metadata, blob = row
    sparse: SparseVector | None = from_blob(blob)
    return Record(id, vectors.get(number), decode(metadata), sparse, metadata_json=metadata.encode())
