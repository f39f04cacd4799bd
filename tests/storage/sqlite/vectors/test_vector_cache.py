"""Vectors in memory: the same answers as without, also after writes, without reading everything again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pinyon.domain import Handle, IndexSpec, Metric, QueryPlan, Record, Selection
from pinyon.filters import parse
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.options import Tuning
from pinyon.storage.sqlite.vectors import vector_rows
from pinyon.storage.sqlite.vectors.vector_cache import CachedVectors, VectorCache, most_bytes

from tests.storage.sqlite.index_file import read

COUNT, DIMENSION = 2_500, 8
TUNING: dict[str, Any] = {"quiet_s": 0.0}
"""Of every engine here; see coded_dimension()."""
pytestmark = pytest.mark.anyio


def some(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)


async def opened(
    folder: Path, metric: Metric = "cosine", tuning: dict[str, int] | None = None, **options: int | None
) -> SqliteEngine:
    numbers = Tuning(**TUNING | (tuning or {}))
    told = {"approximate_from": 10_000, "cache_bytes": 2**24, "tuning": numbers, **options}
    engine = await SqliteEngine.open_folder(folder, 1, 0, **told)
    await engine.create_index(IndexSpec("docs", DIMENSION, metric))
    rows = [Record(f"r{n}", vector, {"n": n}) for n, vector in enumerate(some(COUNT, 1))]
    await engine.upsert("docs", "a", rows)
    await engine.upkeep_done()
    return engine


async def searched(engine: SqliteEngine, raw: dict[str, Any] | None = None, k: int = 20) -> list[tuple[str, float]]:
    plan = QueryPlan(k, vector=some(1, 2)[0], filter=None if raw is None else parse(raw))
    return [(match.id, match.score) for match in (await engine.query("docs", "a", plan)).matches]


def reads_of_everything(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on, an entry for each time that all vectors of a namespace are read."""
    reads: list[int] = []
    real: Callable[..., Any] = vector_rows.iter_chunks

    def chunks(*arguments: Any, **more: Any) -> Any:
        reads.append(1)
        return real(*arguments, **more)

    monkeypatch.setattr(vector_rows, "iter_chunks", chunks)
    return reads


def followed(folder: Path) -> int:
    """Writes that are noted down; -1 if none are to be."""
    sql = "SELECT CASE WHEN followed IS NULL THEN -1 ELSE (SELECT count(*) FROM changes) END FROM namespaces"
    count: int = read(folder, "docs", sql)
    return count


@pytest.fixture(autouse=True, params=[DIMENSION, DIMENSION + 1], ids=["coded", "not coded"])
def coded_dimension(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TUNING, "coded_dimension", request.param)


async def warm(engine: SqliteEngine) -> None:
    """Vectors in memory, and writes noted down."""
    for turn in range(2):
        for _ in range(2):
            await searched(engine)
        await engine.upsert("docs", "a", [Record("other", some(1, 3 + turn)[0], {"n": -1})])
        await engine.upkeep_done()
    for _ in range(2):
        await searched(engine)


@pytest.mark.parametrize(
    ("metric", "approximate_from"),
    [("cosine", 10_000), ("dotproduct", None), ("euclidean", 10_000), ("cosine", 4_000)],
)
async def test_after_writes_the_others_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: Metric, approximate_from: int | None
) -> None:
    engine = await opened(tmp_path / "with", metric, approximate_from=approximate_from)
    plain = await opened(tmp_path / "without", metric, cache_bytes=0)
    await warm(engine)
    await warm(plain)
    reads = reads_of_everything(monkeypatch)
    query = some(1, 2)[0]
    for turn in range(5):
        rows = [
            Record(f"new{turn}", query + turn, {"n": turn}),
            Record(f"r{turn}", -query, {"n": turn}),
            Record(f"r{100 + turn}", query * (turn + 1), {"n": 100 + turn}),
        ]
        for each in (engine, plain):
            await each.upsert("docs", "a", rows)
            await each.delete("docs", "a", Selection(ids=[f"r{200 + turn}"]))
        for raw in (None, {"n": {"$lt": 1_500}}, {"n": {"$lt": 50}}, {"n": {"$gte": 99}}):
            reads.clear()
            found = await searched(engine, raw)
            assert not reads
            assert found == await searched(plain, raw)
    await engine.close()
    await plain.close()


async def test_when_much_has_changed_everything_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await opened(tmp_path)
    await warm(engine)
    reads = reads_of_everything(monkeypatch)
    await engine.upsert("docs", "a", [Record(f"r{n}", vector, {}) for n, vector in enumerate(some(200, 9))])
    for expected in (1, 2, 2):
        await searched(engine)
        assert len(reads) == expected
    await engine.close()


async def test_after_many_writes_of_few_records_everything_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await opened(tmp_path, tuning={"vectors_changed_writes": 5})
    await warm(engine)
    reads = reads_of_everything(monkeypatch)
    for turn in range(5):  # the vectors in memory are from before the last write of warm()
        assert not reads
        await engine.upsert("docs", "a", [Record("other", some(1, turn)[0], {})])
        await searched(engine)
    assert len(reads) == 1
    await engine.close()


async def test_changes_are_noted_down_only_while_vectors_are_in_memory(tmp_path: Path) -> None:
    engine = await opened(tmp_path, tuning={"log_spare_versions": 3})
    await engine.upkeep_done()
    assert followed(tmp_path) == -1
    await warm(engine)
    for turn in range(10):
        await engine.upsert("docs", "a", [Record("other", some(1, turn)[0], {})])
        await searched(engine)
        await searched(engine)
        await engine.upkeep_done()
    assert followed(tmp_path) >= 1
    engine.caches.vectors.keep_only(engine.index("docs").handle)
    await engine.upsert("docs", "a", [Record("other", some(1, 5)[0], {})])
    await engine.upkeep_done()
    assert followed(tmp_path) == -1
    await engine.close()


async def test_changes_are_not_noted_down_for_vectors_that_nobody_searches_any_more(tmp_path: Path) -> None:
    engine = await opened(tmp_path, tuning={"vectors_changed_writes": 5})
    await warm(engine)
    for turn in range(7):
        await engine.upsert("docs", "a", [Record("other", some(1, turn)[0], {})])
        await engine.upkeep_done()
    assert followed(tmp_path) == -1
    await warm(engine)
    assert followed(tmp_path) >= 0
    await engine.close()


async def test_a_namespace_may_be_kept_out_where_others_would_have_to_go() -> None:
    vectors = CachedVectors.of(1, np.arange(10), some(10, 1))
    cache = VectorCache(2 * vectors.nbytes - 1)
    one, other = (Handle("docs", "id"), 1), (Handle("docs", "id"), 2)
    cache.put(one, vectors)
    for key in (one, other):
        assert not cache.worth_keeping(key, 2, vectors.nbytes)
    assert cache.worth_keeping(one, 2, vectors.nbytes, may_replace=False)
    assert not cache.worth_keeping(other, 2, vectors.nbytes, may_replace=False)
    assert cache.worth_keeping(other, 2, vectors.nbytes)


@pytest.mark.parametrize("count", [1, 1_999, 2_000, 20_000])
@pytest.mark.parametrize("dimension", [1, 7, 64, 100, 384])
async def test_what_is_kept_takes_no_more_than_was_made_room_for(count: int, dimension: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((count, dimension)).astype(np.float32)
    cached = CachedVectors.of(1, np.arange(count), vectors)
    assert vectors.nbytes < cached.nbytes <= most_bytes(count, dimension)


@pytest.mark.parametrize("room", [0, 1])
async def test_a_namespace_is_kept_where_it_fits_and_not_read_for_nothing_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    engine = await opened(tmp_path, cache_bytes=most_bytes(COUNT, DIMENSION, Tuning(**TUNING)) - 1 + room)
    for _ in range(3):
        await searched(engine)
    reads = reads_of_everything(monkeypatch)
    await searched(engine)
    assert (engine.caches.vectors.nbytes > 0) == bool(room)
    assert len(reads) == 1 - room  # once, chunk by chunk, and not twice
    await engine.close()
