"""HNSW indexes of large namespaces: when they are built and dropped, that they are used, and what they find."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pinyon import filters
from pinyon.domain import IndexSpec, Metric, QueryPlan, Record, Selection
from pinyon.storage.postgres import upkeep
from pinyon.storage.postgres.engine import PostgresEngine
from pinyon.storage.postgres.schema.migrations import index_schema
from pinyon.storage.postgres.vectors import hnsw, nearest
from pinyon.storage.recall import RecallSampler
from psycopg import errors

from benchmarks import vectors as bench_vectors
from tests.postgres.shared_server import open_postgres, schema_of, shared

pytestmark = pytest.mark.anyio

FROM, DIMENSION = 300, 16
Vectors = NDArray[np.float32]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "QUIET_S", 0)
    monkeypatch.setattr(upkeep, "GROWTH_S", 0)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[PostgresEngine]:
    engine = await open_postgres(tmp_path, approximate_from=FROM)
    yield engine
    await engine.close()


def made(count: int, dimension: int = DIMENSION) -> Vectors:
    return np.random.default_rng(0).standard_normal((count, dimension)).astype(np.float32)


async def load(engine: PostgresEngine, vectors: Vectors, namespace: str = "a", begin: int = 0) -> None:
    if not engine.indexes():
        await engine.create_index(IndexSpec("docs", vectors.shape[1], "cosine"))
    await engine.upsert(
        "docs", namespace, [Record(f"r{place}", each, {"n": place}) for place, each in enumerate(vectors, begin)]
    )
    await engine.upkeep_done()


def schema(folder: Path) -> str:
    return index_schema(schema_of(folder), 1)


def indexes(folder: Path) -> dict[str, bool]:
    """The HNSW indexes of the only index, and whether each is complete."""
    rows = shared().execute(
        "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        f" WHERE indrelid = '{schema(folder)}.vectors'::regclass AND relname LIKE 'vectors_hnsw%'"
    )
    return dict(rows)


async def is_approximate(engine: PostgresEngine, query: Vectors, **plan: Any) -> bool:
    return (await engine.query("docs", "a", QueryPlan(10, vector=query, **plan))).approximate


async def test_a_namespace_gets_an_index_when_it_is_large_and_loses_it_when_it_is_small(
    engine: PostgresEngine, tmp_path: Path
) -> None:
    vectors = made(FROM)
    await load(engine, vectors[:-1])
    assert indexes(tmp_path) == {}
    assert not await is_approximate(engine, vectors[0])
    await load(engine, vectors[-1:], begin=FROM - 1)
    assert indexes(tmp_path) == {"vectors_hnsw_1": True}
    assert await is_approximate(engine, vectors[0])
    assert not await is_approximate(engine, vectors[0], exact=True)
    await engine.delete("docs", "a", Selection(filter=filters.parse({"n": {"$gte": FROM // 2 - 1}})))
    await engine.upkeep_done()
    assert indexes(tmp_path) == {}
    assert not await is_approximate(engine, vectors[0])


async def test_no_index_is_built_while_a_namespace_grows_fast(
    engine: PostgresEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = made(4 * FROM)
    await engine.create_index(IndexSpec("docs", DIMENSION, "cosine"))
    looks = engine.upkeep._growing
    seen: list[set[int]] = []

    def growing(known: Any, counts: dict[int, int]) -> set[int]:
        seen.append(looks(known, counts))
        return seen[-1]

    monkeypatch.setattr(engine.upkeep, "_growing", growing)
    records = [Record(f"r{place}", each, {}) for place, each in enumerate(vectors)]
    await engine.upsert("docs", "a", records)
    await engine.upkeep_done()  # looked at twice: first it had grown from nothing, then no more
    assert seen == [{1}, set()]
    assert indexes(tmp_path) == {"vectors_hnsw_1": True}


@pytest.mark.parametrize(
    ("before", "now", "fast"),
    [
        (0, 20_000, True),
        (20_000, 22_001, True),
        (20_000, 22_000, False),
        (1_000_000, 1_010_001, True),  # a load of a large namespace adds much, but only a small share
        (1_000_000, 1_010_000, False),
        (30_000, 20_000, False),
    ],
)
def test_a_namespace_grows_fast_by_its_share_or_by_its_records(before: int, now: int, fast: bool) -> None:
    assert upkeep.grows_fast(before, now) is fast


async def test_a_namespace_that_never_stops_growing_gets_its_index_in_the_end(
    engine: PostgresEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "grows_fast", lambda before, now: True)
    monkeypatch.setattr(upkeep, "MOST_LOOKS", 3)
    await load(engine, made(FROM))
    assert indexes(tmp_path) == {"vectors_hnsw_1": True}


async def test_an_index_is_built_by_one_process_if_several_have_no_memory_to_share(
    engine: PostgresEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, workers = hnsw.create, list[str]()

    async def first_fails(connection: Any, *arguments: Any) -> None:
        row = await (await connection.execute("SHOW max_parallel_maintenance_workers")).fetchone()
        workers.append(row[0])
        if len(workers) == 1:
            raise errors.DiskFull("could not resize shared memory segment")
        await create(connection, *arguments)

    monkeypatch.setattr(hnsw, "create", first_fails)
    await load(engine, made(FROM))
    assert workers == ["2", "0"]
    assert indexes(tmp_path) == {"vectors_hnsw_1": True}
    async with engine._database.session() as connection:  # the next build may have several again
        row = await (await connection.execute("SHOW max_parallel_maintenance_workers")).fetchone()
    assert row == ("2",)


async def test_each_large_namespace_has_its_own_index(engine: PostgresEngine, tmp_path: Path) -> None:
    vectors = made(FROM)
    for namespace, count in (("a", FROM), ("b", 10), ("c", FROM)):
        await load(engine, vectors[:count], namespace)
    assert set(indexes(tmp_path)) == {"vectors_hnsw_1", "vectors_hnsw_3"}
    await engine.delete_namespace("docs", "a")
    await load(engine, vectors[:1], "b")
    assert set(indexes(tmp_path)) == {"vectors_hnsw_3"}


async def test_what_is_written_after_the_build_is_found_and_what_is_deleted_is_not(engine: PostgresEngine) -> None:
    vectors = made(FROM)
    await load(engine, vectors)
    await engine.upsert("docs", "a", [Record("new", vectors[5] * 2, {"n": -1}), Record("r7", vectors[5], {"n": -1})])
    await engine.delete("docs", "a", Selection(ids=["r5"]))
    answer = await engine.query("docs", "a", QueryPlan(2, vector=vectors[5]))
    assert answer.approximate
    assert [match.id for match in answer.matches] == ["new", "r7"]  # a tie, by id


async def test_an_index_of_a_build_that_was_interrupted_is_built_again(tmp_path: Path) -> None:
    engine = await open_postgres(tmp_path, approximate_from=FROM)
    await load(engine, made(FROM))
    await engine.close()
    shared().execute(
        f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{schema(tmp_path)}.vectors_hnsw_1'::regclass"
    )  # what CREATE INDEX CONCURRENTLY leaves when it is killed
    assert indexes(tmp_path) == {"vectors_hnsw_1": False}
    engine = await open_postgres(tmp_path, approximate_from=FROM)
    assert engine._copy.at_hand("docs").hnsw == {}
    await engine.upkeep_done()
    assert indexes(tmp_path) == {"vectors_hnsw_1": True}
    assert await is_approximate(engine, made(1)[0])
    await engine.close()


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How the server reads for each search of vectors: the plans of the very statements, on their connections."""
    plans: list[str] = []
    read = nearest._read

    async def explained(source: nearest.VectorSource, query: tuple[str, list[Any]]) -> Any:
        text, parameters = query
        cursor = await source.connection.execute(f"EXPLAIN {text}", parameters)
        plans.append("\n".join(line for (line,) in await cursor.fetchall()))
        return await read(source, query)

    monkeypatch.setattr(nearest, "_read", explained)
    return plans


@pytest.mark.parametrize("condition", [None, {"n": {"$lt": 250}}, {"$not": {"n": 3}}], ids=str)
async def test_the_server_reads_by_the_index(
    engine: PostgresEngine, plans: list[str], condition: dict[str, Any] | None
) -> None:
    vectors = made(FROM)
    await load(engine, vectors)
    parsed = None if condition is None else filters.parse(condition)
    answer = await engine.query("docs", "a", QueryPlan(10, vector=vectors[5], filter=parsed))
    assert [match.id for match in answer.matches][:1] == ["r5"]
    assert len(answer.matches) == 10
    (plan,) = plans
    assert "Index Scan using vectors_hnsw_1" in plan


async def test_a_filter_that_keeps_little_compares_all_that_it_keeps(engine: PostgresEngine, plans: list[str]) -> None:
    vectors = made(FROM)
    await load(engine, vectors)
    few = filters.parse({"n": {"$in": [3, 50, 299]}})
    answer = await engine.query("docs", "a", QueryPlan(10, vector=vectors[5], filter=few))
    assert {match.id for match in answer.matches} == {"r3", "r50", "r299"}
    assert plans == []


def test_more_neighbours_are_followed_for_more_hits_and_for_filters_that_keep_less() -> None:
    assert hnsw.searched(10, 1.0) == 220
    assert hnsw.searched(100, 1.0) == 400
    assert hnsw.searched(10, 0.1) == 696
    assert hnsw.searched(100, 0.1) is None
    assert hnsw.searched(10, 0.0) is None


@pytest.mark.parametrize(("dimension", "kind"), [(2_000, "vector"), (2_100, "halfvec"), (4_100, None)])
async def test_long_vectors_are_indexed_with_half_the_precision_and_longer_ones_not_at_all(
    tmp_path: Path, dimension: int, kind: str | None
) -> None:
    engine = await open_postgres(tmp_path, approximate_from=20)
    vectors = made(30, dimension)
    await load(engine, vectors)
    answer = await engine.query("docs", "a", QueryPlan(30, vector=vectors[5]))
    rows = shared().execute(
        f"SELECT indexdef FROM pg_indexes WHERE schemaname = '{schema(tmp_path)}' AND indexname = 'vectors_hnsw_1'"
    )
    assert answer.approximate == bool(rows) == (kind is not None)
    if kind is not None:
        assert f"{kind}_cosine_ops" in rows[0][0]
    exact = await engine.query("docs", "a", QueryPlan(30, vector=vectors[5], exact=True))
    assert [match.id for match in answer.matches] == [match.id for match in exact.matches]
    assert [match.score for match in answer.matches] == [match.score for match in exact.matches]
    await engine.close()


@pytest.mark.parametrize("metric", ["cosine", "dotproduct", "euclidean"])
async def test_scores_of_approximate_answers_are_exact(tmp_path: Path, metric: Metric) -> None:
    engine = await open_postgres(tmp_path, approximate_from=FROM)
    await engine.create_index(IndexSpec("docs", DIMENSION, metric))
    vectors = made(FROM) * np.linspace(0.5, 2, FROM, dtype=np.float32)[:, None]
    await load(engine, vectors)
    answer = await engine.query("docs", "a", QueryPlan(50, vector=vectors[5] * 3))
    exact = await engine.query("docs", "a", QueryPlan(FROM, vector=vectors[5] * 3, exact=True))
    scores = {match.id: match.score for match in exact.matches}
    assert answer.approximate
    assert [match.score for match in answer.matches] == [scores[match.id] for match in answer.matches]
    wanted = [match.id for match in exact.matches[:50]]
    assert len(set(wanted) & {match.id for match in answer.matches}) >= 49
    await engine.close()


async def test_answers_are_sampled_and_a_namespace_with_bad_ones_is_searched_exactly(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hnsw, "LEAST_SEARCHED", 1)
    monkeypatch.setattr(hnsw, "SEARCHED_PER_HIT", 0)
    monkeypatch.setattr(nearest, "MARGIN", 0)
    monkeypatch.setattr(hnsw, "MOST_SCANNED", 12)
    vectors = made(2_000)
    await load(engine, vectors)
    sampler = RecallSampler(engine, share=1.0, target=0.98)
    for turn in range(60):
        query = np.random.default_rng(turn).standard_normal(DIMENSION).astype(np.float32)
        answer = await sampler.query("docs", "a", QueryPlan(10, vector=query))
        await sampler.compared()
        if not answer.approximate:
            break
    (sample,) = sampler.samples()
    assert sample.queries >= 20
    assert sample.recall < 0.98
    assert not await is_approximate(engine, vectors[0])
    await sampler.close()


@pytest.mark.slow
async def test_recall_is_098_with_real_vectors_unfiltered_and_filtered(tmp_path: Path) -> None:
    count, k = 20_000, 10
    vectors, questions, real = bench_vectors.load(count)
    engine = await open_postgres(tmp_path, approximate_from=count, statement_timeout_s=600)
    await engine.create_index(IndexSpec("docs", vectors.shape[1], "cosine"))
    share = np.random.default_rng(0).permutation(count) / count
    for start in range(0, count, 1_000):
        places = range(start, start + 1_000)
        await engine.upsert("docs", "a", [Record(f"r{p}", vectors[p], {"share": float(share[p])}) for p in places])
    await engine.upkeep_done()
    scores = questions[:100] @ vectors.T
    for kept in (1.0, 0.5, 0.1, 0.01):
        condition = filters.parse({"share": {"$lt": kept}}) if kept < 1 else None
        among = np.where(share < kept, scores, -2)
        recalls = []
        for place, question in enumerate(questions[:100]):
            answer = await engine.query("docs", "a", QueryPlan(k, vector=question, filter=condition))
            wanted = set(np.argpartition(among[place], -k)[-k:].tolist())
            recalls.append(len(wanted & {int(match.id[1:]) for match in answer.matches}) / k)
        assert np.mean(recalls) >= 0.98, f"{kept:.0%} kept, {real} real vectors"
    await engine.close()
