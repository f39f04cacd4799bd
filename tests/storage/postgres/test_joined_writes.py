"""Waiting upserts become one write, and yet each is answered for itself."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import IndexSpec, PagePlan, Record, Selection
from pinyon.errors import InvalidArgument

from tests.postgres.shared_server import open_postgres

pytestmark = pytest.mark.anyio

X = np.array([1, 0], np.float32)


async def test_upserts_that_wait_are_one_write_and_a_wrong_one_fails_alone(tmp_path: Path) -> None:
    engine = await open_postgres(tmp_path)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))
    first = await engine.upsert("docs", "a", [Record("r0", X, {})])
    lsns = await asyncio.gather(*(engine.upsert("docs", "a", [Record(f"r{n}", X, {"n": n})]) for n in range(20)))
    assert min(lsns) > first
    assert len(set(lsns)) <= 2  # the first may have begun before the others came
    assert await engine.count("docs", "a", Selection()) == 20

    def upsert(n: int) -> "asyncio.Future[int]":
        vector = np.ones(3 if n == 7 else 2, np.float32)
        return asyncio.ensure_future(engine.upsert("docs", "b", [Record("same", vector, {"n": n})]))

    outcomes = await asyncio.gather(*(upsert(n) for n in range(10)), return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, InvalidArgument)] == [7]
    (match,) = (await engine.page("docs", "b", PagePlan(10))).records
    assert match.metadata == {"n": 9}  # as if each had been written after the one before
    await engine.close()
