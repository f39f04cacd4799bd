"""Room on the disk comes back, and nothing else changes."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import IndexSpec, QueryPlan, Record, Selection, SparseVector
from pinyon.storage.engine import Engine
from pinyon.storage.sqlite.engine import SqliteEngine

from tests.storage.conftest import Open
from tests.storage.consistency import problems

pytestmark = pytest.mark.anyio
RANDOM = np.random.default_rng(5)
VECTORS = RANDOM.standard_normal((3_000, 64)).astype(np.float32)


async def filled(engine: Engine) -> list[str]:
    """Records in two namespaces, nine of ten deleted again at random; ids of those that are left in the first."""
    await engine.create_index(IndexSpec("docs", 64, "euclidean"))
    for namespace in ("a", "b"):
        for first in range(0, len(VECTORS), 500):
            batch = [Record(f"r{n}", VECTORS[n], {"n": n}) for n in range(first, first + 500)]
            await engine.upsert("docs", namespace, batch)
    kept = sorted(RANDOM.choice(len(VECTORS), 300, replace=False).tolist())
    gone = [f"r{n}" for n in range(len(VECTORS)) if n not in set(kept)]
    for first in range(0, len(gone), 500):
        await engine.delete("docs", "a", Selection(ids=gone[first : first + 500]))
    return [f"r{n}" for n in kept]


async def test_deleted_space_comes_back_and_searches_find_the_same(open_engine: Open, tmp_path: Path) -> None:
    engine = await open_engine()
    kept = await filled(engine)
    plan = QueryPlan(20, np.zeros(64, np.float32))
    before = [await engine.query("docs", namespace, plan) for namespace in "ab"]
    large, small = await engine.compact("docs")
    assert small < 0.65 * large
    assert [await engine.query("docs", namespace, plan) for namespace in "ab"] == before
    # Twice, with deletions between: sqlite-vec finds its chunks by row numbers that VACUUM may change.
    await engine.delete("docs", "b", Selection(ids=[f"r{n}" for n in range(0, 3_000, 2)]))
    await engine.delete("docs", "b", Selection(ids=[f"r{n}" for n in range(1, 901, 2)]))
    await engine.compact("docs")
    await engine.upsert("docs", "a", [Record("new", np.zeros(64, np.float32), {"n": -1})])
    found = await engine.query("docs", "a", QueryPlan(1_000, np.zeros(64, np.float32)))
    assert found.matches[0].id == "new"
    assert {match.id for match in found.matches} == {"new", *kept}
    assert all(
        match.score == pytest.approx(float(np.sum(VECTORS[int(match.id[1:])] ** 2)), rel=1e-5)
        for match in found.matches[1:]
    )
    await engine.close()
    assert problems(tmp_path / "data" / "indexes" / "docs.sqlite") == []


async def test_writes_and_searches_beside_it_all_succeed(open_engine: Open, tmp_path: Path) -> None:
    engine = await open_engine()
    kept = await filled(engine)

    async def write(n: int) -> None:
        await engine.upsert("docs", "a", [Record(f"w{n}", VECTORS[n], {})])

    async def search() -> None:
        found = await engine.query("docs", "a", QueryPlan(1_000, VECTORS[0]))
        assert {match.id for match in found.matches} >= set(kept)

    await asyncio.gather(engine.compact("docs"), *(write(n) for n in range(50)), *(search() for _ in range(20)))
    assert (await engine.namespace("docs", "a")).record_count == len(kept) + 50
    await engine.close()
    assert problems(tmp_path / "data" / "indexes" / "docs.sqlite") == []


async def test_an_index_without_dense_vectors_can_be_compacted_too(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(IndexSpec("docs", 0, "dotproduct"))
    sparse = SparseVector(np.array([1], np.uint32), np.ones(1, np.float32))
    await engine.upsert("docs", "a", [Record("x", None, {}, sparse)])
    await engine.compact("docs")
    found = await engine.query("docs", "a", QueryPlan(3, sparse=sparse))
    assert [match.id for match in found.matches] == ["x"]
    await engine.close()
