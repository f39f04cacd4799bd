"""Finds the nearest vectors: exactly by a scan, or approximately by pgvector's HNSW. Scores are always exact.

Plain functions on a connection.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Metric
from pinyon.filters import Condition
from pinyon.search.ranking import exact_scores
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.connection.packed import vectors as unpacked
from pinyon.storage.postgres.filters.filter_sql import SQL, compile_filter, compile_test
from pinyon.storage.postgres.filters.joins import filtering
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.postgres.vectors.bounds import Query
from pinyon.storage.postgres.vectors.hnsw import HnswIndex, searched
from pinyon.storage.shared.ranking import Scored
from pinyon.storage.shared.row_sets import Records
from pinyon.storage.shared.top_k import best

MARGIN = 32
"""Rows that are read beyond the wanted ones, so that one scan usually shows that no other row can be better."""
SAMPLE = 200
"""Records on which a filter is tried, to know about how many match."""
FRACTIONS: list[float] = np.random.default_rng(0).random(SAMPLE).tolist()
Vector = NDArray[np.float32]
Additions = tuple[Records, NDArray[np.float64]]
"""Sorted row numbers, and what is added to the dot product of each."""


class VectorSource(msgspec.Struct, frozen=True):
    """The vectors of a namespace in one snapshot. count: how many. hnsw: its approximate index, if it is to be used."""

    connection: Connection
    ns: Namespace
    dimension: int
    count: int
    hnsw: HnswIndex | None = None


class Among(msgspec.Struct, frozen=True):
    """Which rows of the namespace count: those that match the filter, and are in `rows`. None: all."""

    filter: Condition | None = None
    rows: Records | None = None


async def nearest(
    source: VectorSource,
    metric: Metric,
    query: Vector,
    top_k: int,
    among: Among,
    more: Additions | None = None,
) -> Scored:
    """Row numbers and exact scores of the top_k best rows, and of every further row that ties with the last of them.

    query: float32 [dimension]. more: the sparse part of the dot products of some rows. Returns int64 [n] and float32
    [n], n >= min(top_k, rows), in no particular order. With an HNSW index some of the best may be missed.
    """
    prepared = Query.of(metric, query)
    if source.hnsw is not None and more is None and among.rows is None and source.hnsw.metric == metric:
        share = 1.0 if among.filter is None else await share_of(source, among.filter)
        followed = searched(top_k, share)
        if followed is not None:
            rows, vectors = await _by_hnsw(source, source.hnsw, prepared, top_k, followed, among.filter)
            if len(rows) >= min(top_k, source.count):
                return best(rows, exact_scores(metric, vectors, query), top_k, metric)
            await source.connection.execute(source.hnsw.undo())
    if among.filter is None:
        return await _by_scan(source, prepared, query, top_k, among, more)
    async with filtering(source.connection, source.ns):
        return await _by_scan(source, prepared, query, top_k, among, more)


async def share_of(source: VectorSource, condition: Condition) -> float:
    """About which share of the namespace's records match a filter, 0..1: that of SAMPLE records.

    The sample is the same for every search, so that equal searches have equal answers. Of a namespace with several
    buckets it is from the first: a hash of the id chose its records, so they are as good as any.
    """
    test, parameters = compile_test(condition, source.ns)
    ns = source.ns.number
    row = await (
        await source.connection.execute(
            f"WITH ends AS (SELECT min(record) AS low, max(record) AS high FROM records WHERE ns = {ns}),"
            " places AS (SELECT low + floor(fraction * (high - low + 1))::bigint AS place"
            " FROM ends, unnest(%s::float8[]) AS fraction)"
            f" SELECT avg(CASE WHEN {test} THEN 1.0 ELSE 0.0 END)::float8 FROM places CROSS JOIN LATERAL"
            f" (SELECT * FROM records WHERE ns = {ns} AND record >= place ORDER BY record LIMIT 1) AS records",
            [FRACTIONS, *parameters],
        )
    ).fetchone()
    return 0.0 if row is None or row[0] is None else float(row[0])


async def _by_hnsw(
    source: VectorSource, hnsw: HnswIndex, query: Query, top_k: int, followed: int, condition: Condition | None
) -> tuple[Records, Vector]:
    """The rows that an HNSW index finds nearest; too few if the filter keeps too little."""
    await source.connection.execute(hnsw.settings(followed))
    test, parameters = ("TRUE", []) if condition is None else compile_test(condition, source.ns)
    joined = "" if condition is None else "JOIN records USING (ns, record)"
    text = (
        f"SELECT vectors.record, embedding FROM vectors {joined} WHERE vectors.{source.ns.rows} AND {test}"
        f" ORDER BY {hnsw.distance} LIMIT %s"
    )
    return await _read(source, (text, [*parameters, query.text, top_k + MARGIN]))


async def _by_scan(
    source: VectorSource, query: Query, vector: Vector, top_k: int, among: Among, more: Additions | None
) -> Scored:
    """Compares every row. See bounds.py for why the best are among those that are read."""
    text, parameters = _scored_rows(source.ns, query, among, more)
    limit = top_k + MARGIN
    cursor = source.connection.cursor(binary=True)
    await cursor.execute(
        f"SELECT record, embedding, good FROM ({text}) AS scored ORDER BY good DESC LIMIT %s", [*parameters, limit]
    )
    read = await cursor.fetchall()
    rows = np.array([row for row, _, _ in read], np.int64)
    vectors = unpacked([blob for _, blob, _ in read], source.dimension)
    scored = best(rows, _exact(query.metric, vectors, vector, rows, more), top_k, query.metric)
    if len(read) < limit:
        return scored
    worst = float(scored[1].max() if query.metric == "euclidean" else scored[1].min())
    least = query.least(worst)
    if read[-1][2] < least:
        return scored
    everything = f"SELECT record, embedding FROM ({text}) AS scored WHERE good >= %s"
    rows, vectors = await _read(source, (everything, [*parameters, least]))
    return best(rows, _exact(query.metric, vectors, vector, rows, more), top_k, query.metric)


def _scored_rows(ns: Namespace, query: Query, among: Among, more: Additions | None) -> SQL:
    """A query for record, embedding and good of every row that counts."""
    good, of_good = query.good
    tables, of_tables = "vectors", list[Any]()
    if more is not None and len(more[0]):
        tables += " LEFT JOIN unnest(%s::bigint[], %s::float8[]) AS more (record, product) USING (record)"
        of_tables = [more[0].tolist(), (more[1] / query.scale).tolist()]
        good = f"{good} + coalesce(product, 0)"
    tests, of_tests = [f"vectors.{ns.rows}"], list[Any]()
    if among.filter is not None:
        text, parameters = compile_filter(among.filter, ns)
        tests.append(f"{ns.key('vectors')} IN (SELECT {ns.keys} FROM records WHERE {ns.rows} AND {text})")
        of_tests += parameters
    if among.rows is not None:
        tests.append("vectors.record = ANY(%s)")
        of_tests.append(among.rows.tolist())
    text = f"SELECT vectors.record AS record, embedding, {good} AS good FROM {tables} WHERE {' AND '.join(tests)}"
    return text, [*of_good, *of_tables, *of_tests]


def _exact(
    metric: Metric, vectors: Vector, query: Vector, rows: Records, more: Additions | None
) -> NDArray[np.float32]:
    if more is None or not len(more[0]):
        return exact_scores(metric, vectors, query)
    places = np.minimum(np.searchsorted(more[0], rows), len(more[0]) - 1)
    return exact_scores(metric, vectors, query, np.where(more[0][places] == rows, more[1][places], 0.0))


async def _read(source: VectorSource, query: SQL) -> tuple[Records, Vector]:
    cursor = source.connection.cursor(binary=True)
    await cursor.execute(*query)
    read = await cursor.fetchall()
    return np.array([row for row, _ in read], np.int64), unpacked([blob for _, blob in read], source.dimension)


async def vector_of(connection: Connection, ns: Namespace, row: int, dimension: int) -> Vector:
    """The vector of a row, float32 [dimension], as it was stored."""
    return (await vectors_of(connection, ns, [row], dimension))[row]


async def vectors_of(connection: Connection, ns: Namespace, rows: list[int], dimension: int) -> dict[int, Vector]:
    """The vectors of rows, float32 [dimension] each, by row number."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(f"SELECT record, embedding FROM vectors WHERE {ns.rows} AND record = ANY(%s)", (rows,))
    read = await cursor.fetchall()
    vectors = unpacked([blob for _, blob in read], dimension)
    return {row: vector for (row, _), vector in zip(read, vectors, strict=True)}
