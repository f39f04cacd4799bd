"""Filters remembered: the same rows as without, and never those of another filter or another version."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import IndexSpec, QueryPlan, Record, Selection, UpdatePlan
from pinyon.filters import parse
from pinyon.storage.sqlite.engine import SqliteEngine

VALUES: list[object] = [True, 1, 1.0, "1", False, 0, "true", ["1"], 2]


async def opened(folder: Path, filter_cache_bytes: int) -> SqliteEngine:
    engine = await SqliteEngine.open_folder(folder, 1, 0, filter_cache_bytes=filter_cache_bytes)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))
    vector = np.float32([1, 0])
    await engine.upsert("docs", "a", [Record(f"r{n}", vector, {"v": v}) for n, v in enumerate(VALUES)])  # type: ignore[dict-item]
    await engine.upsert("docs", "b", [Record("other", vector, {"v": True})])
    return engine


async def kept(engine: SqliteEngine, condition: dict[str, object], namespace: str = "a") -> set[str]:
    plan = QueryPlan(100, vector=np.float32([1, 0]), filter=parse(condition))
    return {match.id for match in (await engine.query("docs", namespace, plan)).matches}


@pytest.mark.parametrize("size", [0, 100, 2**20])
def test_filters_that_python_calls_equal_are_different_filters(tmp_path: Path, size: int) -> None:
    async def check() -> None:
        engine = await opened(tmp_path, size)
        for _ in range(2):
            assert await kept(engine, {"v": True}) == {"r0"}
            assert await kept(engine, {"v": 1}) == {"r1", "r2"}
            assert await kept(engine, {"v": "1"}) == {"r3", "r7"}
            assert await kept(engine, {"v": False}) == {"r4"}
            assert await kept(engine, {"v": 0}) == {"r5"}
            assert await kept(engine, {"$and": [{"v": {"$gt": 0}}, {"v": {"$lt": 2}}]}) == {"r1", "r2"}
            assert await kept(engine, {"$or": [{"v": {"$gt": 0}}, {"v": {"$lt": 2}}]}) == {"r1", "r2", "r5", "r8"}
            assert await kept(engine, {"v": True}, "b") == {"other"}
        await engine.close()

    asyncio.run(check())


def test_a_write_is_seen_by_the_same_filter(tmp_path: Path) -> None:
    async def check() -> None:
        engine = await opened(tmp_path, 2**20)
        assert await kept(engine, {"v": 2}) == {"r8"}
        await engine.update("docs", "a", UpdatePlan(Selection(ids=["r0"]), metadata={"v": 2}))
        assert await kept(engine, {"v": 2}) == {"r0", "r8"}
        await engine.delete("docs", "a", Selection(ids=["r8"]))
        assert await kept(engine, {"v": 2}) == {"r0"}
        await engine.delete_index("docs")
        await engine.create_index(IndexSpec("docs", 2, "cosine"))
        await engine.upsert("docs", "a", [Record("new", np.float32([1, 0]), {"v": 2})])
        assert await kept(engine, {"v": 2}) == {"new"}
        await engine.close()

    asyncio.run(check())
