"""The scan against numpy over a plain matrix, and against sqlite-vec's own MATCH."""

import asyncio
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from numpy.typing import NDArray
from pinyon import filters
from pinyon.domain import IndexSpec, Metric, QueryPlan, Record
from pinyon.search.ranking import exact_scores, higher_is_better
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.options import Tuning

ROWS, DIMENSION = 12_000, 24
METRICS: list[Metric] = ["cosine", "dotproduct", "euclidean"]
IN_BLOCKS = Tuning(coded_rows=5_000, coded_dimension=DIMENSION)
"""Several blocks of byte codes, the last one not full."""
IDS = [f"id{n:05}" for n in np.random.default_rng(5).permutation(ROWS)]


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    """Clusters, many exact duplicates, lengths from 0.1 to 10."""
    rng = np.random.default_rng(6)
    centres = rng.standard_normal((40, DIMENSION))
    rows = centres[rng.integers(40, size=ROWS)] + 0.3 * rng.standard_normal((ROWS, DIMENSION))
    rows *= rng.uniform(0.1, 10, size=(ROWS, 1))
    rows[rng.integers(ROWS, size=3000)] = rows[7]
    return rows.astype(np.float32)


@pytest.fixture(scope="module", params=METRICS)
def folder(request: pytest.FixtureRequest, vectors: NDArray[np.float32], tmp_path_factory: Any) -> tuple[Path, Metric]:
    path: Path = tmp_path_factory.mktemp(request.param)

    async def fill() -> None:
        engine = await SqliteEngine.open_folder(path, 1, 2**28)
        await engine.create_index(IndexSpec("docs", DIMENSION, request.param))
        for start in range(0, ROWS, 1000):
            batch = [Record(IDS[n], vectors[n], {"n": n}) for n in range(start, start + 1000)]
            await engine.upsert("docs", "a", batch)
            await engine.upsert("docs", "b", [Record("other", vectors[7], {})])
        await engine.close()

    asyncio.run(fill())
    return path, request.param


def expected(vectors: NDArray[np.float32], metric: Metric, query: NDArray[np.float32], rows: list[int]) -> list[Any]:
    found = exact_scores(metric, vectors[rows], query)
    good = higher_is_better(metric, found)
    return sorted(((-g, IDS[row], s) for g, row, s in zip(good, rows, found, strict=True)), key=lambda x: x[:2])


@pytest.mark.parametrize("cache_bytes", [0, 2**28], ids=["file", "memory"])
@pytest.mark.parametrize("kept", [None, 0.001, 0.05, 0.5], ids=lambda share: f"kept={share}")
@pytest.mark.parametrize("top_k", [1, 10, 100, 4097, 10_000])
def test_the_scan_finds_what_numpy_finds_ties_included(
    folder: tuple[Path, Metric], vectors: NDArray[np.float32], top_k: int, kept: float | None, cache_bytes: int
) -> None:
    path, metric = folder
    rng = np.random.default_rng(top_k)
    rows = list(range(ROWS))
    condition = None
    if kept is not None:
        rows = sorted(rng.choice(ROWS, size=int(ROWS * kept), replace=False).tolist())
        condition = filters.parse({"n": {"$in": rows}})

    async def ask() -> None:
        engine = await SqliteEngine.open_folder(path, 1, 2**28, cache_bytes=cache_bytes, tuning=IN_BLOCKS)
        for query in (vectors[7], vectors[11] * 2, rng.standard_normal(DIMENSION).astype(np.float32)):
            answer = await engine.query("docs", "a", QueryPlan(top_k, vector=query, filter=condition))
            wanted = expected(vectors, metric, query, rows)[:top_k]
            assert [m.id for m in answer.matches] == [id for _, id, _ in wanted]
            np.testing.assert_array_equal(np.float32([m.score for m in answer.matches]), [s for *_, s in wanted])
        await engine.close()

    asyncio.run(ask())


@pytest.mark.parametrize("cache_bytes", [0, 2**28], ids=["file", "memory"])
def test_a_filter_may_keep_nothing_of_whole_stretches(
    folder: tuple[Path, Metric], vectors: NDArray[np.float32], cache_bytes: int
) -> None:
    path, metric = folder

    async def ask() -> None:
        engine = await SqliteEngine.open_folder(path, 1, 0, cache_bytes=cache_bytes, tuning=IN_BLOCKS)
        for raw in ({"n": {"$gte": ROWS - 2500}}, {"n": {"$lt": 2500}}, {"n": {"$in": [0, ROWS - 1]}}):
            condition = filters.parse(raw)
            assert condition is not None
            rows = [n for n in range(ROWS) if filters.matches(condition, {"n": n})]
            for _ in range(2):
                answer = await engine.query("docs", "a", QueryPlan(10, vector=vectors[7], filter=condition))
                wanted = expected(vectors, metric, vectors[7], rows)[:10]
                assert [m.id for m in answer.matches] == [id for _, id, _ in wanted]
        await engine.close()

    asyncio.run(ask())


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_50000_records_are_ranked_exactly(metric: Metric, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows, dimension = 50_000, 96
    centres = rng.standard_normal((300, dimension))
    matrix = (centres[rng.integers(300, size=rows)] + 0.4 * rng.standard_normal((rows, dimension))).astype(np.float32)
    matrix[rng.integers(rows, size=2_000)] = matrix[5]  # ties
    ids = [f"{n:05}" for n in rng.permutation(rows)]

    async def ask() -> None:
        engine = await SqliteEngine.open_folder(tmp_path, 1, 2**30)
        await engine.create_index(IndexSpec("docs", dimension, metric))
        for start in range(0, rows, 1000):
            batch = [Record(ids[n], matrix[n], {"g": n % 10}) for n in range(start, start + 1000)]
            await engine.upsert("docs", "a", batch)
        for n, top_k in enumerate((1, 10, 100, 1_000, 10_000) * 2):
            query = matrix[5] if n == 0 else (matrix[n] + 0.1 * rng.standard_normal(dimension)).astype(np.float32)
            for keep in (None, n % 10):
                kept = np.arange(rows) if keep is None else np.arange(keep, rows, 10)
                scores = exact_scores(metric, matrix[kept], query)
                good = higher_is_better(metric, scores)
                order = sorted(range(len(kept)), key=lambda i: (-good[i], ids[kept[i]]))[:top_k]
                condition = None if keep is None else filters.parse({"g": keep})
                answer = await engine.query("docs", "a", QueryPlan(top_k, vector=query, filter=condition))
                assert [m.id for m in answer.matches] == [ids[kept[i]] for i in order]
                np.testing.assert_array_equal(np.float32([m.score for m in answer.matches]), scores[order])
        await engine.close()

    asyncio.run(ask())


@pytest.mark.parametrize("folder", ["cosine", "euclidean"], indirect=True)  # MATCH has no dot product
def test_the_scan_agrees_with_match(folder: tuple[Path, Metric], vectors: NDArray[np.float32]) -> None:
    path, metric = folder
    connection = connect(path / "indexes" / "docs.sqlite", 0, "read")
    sql = "SELECT rowid, distance FROM vectors WHERE embedding MATCH ? AND k = 50 AND ns = 1 ORDER BY distance"

    async def ask() -> None:
        engine = await SqliteEngine.open_folder(path, 1, 2**28)
        rng = np.random.default_rng(9)
        for _ in range(20):
            query = rng.standard_normal(DIMENSION).astype(np.float32)
            found = connection.execute(sql, (query.tobytes(),)).fetchall()
            answer = await engine.query("docs", "a", QueryPlan(50, vector=query))
            theirs = [1 - d if metric == "cosine" else d * d for _, d in found]
            np.testing.assert_allclose([m.score for m in answer.matches], theirs, rtol=1e-3, atol=1e-5)
        await engine.close()

    asyncio.run(ask())
    connection.close()


def test_large_values_do_not_break_the_order(tmp_path: Path) -> None:
    rows = {"huge": 3e38, "large": 1e18, "small": 1e-30}

    async def ask() -> None:
        engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
        for metric in METRICS:
            await engine.create_index(IndexSpec(metric, 2, metric))
            await engine.upsert(metric, "a", [Record(id, np.array([v, 0], np.float32), {}) for id, v in rows.items()])
            order = {"cosine": sorted(rows), "dotproduct": list(rows), "euclidean": list(rows)[::-1]}[metric]
            for top_k in (1, 2, 3):
                plan = QueryPlan(top_k, vector=np.array([1, 0], np.float32))
                matches = (await engine.query(metric, "a", plan)).matches
                assert [m.id for m in matches] == order[:top_k]
                assert all(np.isfinite(m.score) for m in matches)
        await engine.close()

    asyncio.run(ask())


def test_tiny_vectors_are_found_by_their_direction(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((500, 8)).astype(np.float32)
    rows[300] *= np.float32(1e-30)

    async def ask() -> None:
        engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
        await engine.create_index(IndexSpec("docs", 8, "cosine"))
        await engine.upsert("docs", "a", [Record(f"r{n}", row, {}) for n, row in enumerate(rows)])
        for scale in (1, 1e-30, 1e30):
            plan = QueryPlan(1, vector=(rows[300].astype(np.float64) * 1e30 * scale).astype(np.float32))
            (match,) = (await engine.query("docs", "a", plan)).matches
            assert (match.id, match.score) == ("r300", 1.0)
        await engine.close()

    asyncio.run(ask())


def test_one_huge_vector_does_not_hide_a_better_direction(tmp_path: Path) -> None:
    async def ask() -> None:
        engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
        await engine.create_index(IndexSpec("docs", 2, "cosine"))
        rows = {"huge": [1e25, 0], "other": [0.9, 0.1]}
        await engine.upsert("docs", "a", [Record(id, np.array(v, np.float32), {}) for id, v in rows.items()])
        answer = await engine.query("docs", "a", QueryPlan(1, vector=np.array([1, 0], np.float32)))
        assert [m.id for m in answer.matches] == ["huge"]
        await engine.close()

    asyncio.run(ask())


def test_many_equal_vectors_are_ranked_by_id(tmp_path: Path) -> None:
    async def ask() -> None:
        engine = await SqliteEngine.open_folder(tmp_path, 1, 2**28)
        await engine.create_index(IndexSpec("docs", 8, "cosine"))
        row = np.arange(1, 9, dtype=np.float32)
        await engine.upsert("docs", "a", [Record(f"r{n:05}", row, {}) for n in range(20_000)])
        answer = await engine.query("docs", "a", QueryPlan(3, vector=row))
        assert [m.id for m in answer.matches] == ["r00000", "r00001", "r00002"]
        await engine.close()

    asyncio.run(ask())


def test_chunks_are_looked_up_through_an_index(tmp_path: Path) -> None:
    async def make() -> None:
        engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
        await engine.create_index(IndexSpec("docs", 2, "cosine"))
        await engine.close()

    asyncio.run(make())
    connection: apsw.Connection = connect(tmp_path / "indexes" / "docs.sqlite", 0, "read")
    plan = connection.execute(
        "EXPLAIN QUERY PLAN SELECT max(rowid) FROM vectors_chunks WHERE partition00 = 1"
    ).fetchall()
    assert "vectors_chunks_by_ns" in str(plan)
    connection.close()
