"""Waiting upserts become one write, and yet each is answered for itself."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import IndexSpec, PagePlan, Record, Selection
from pinyon.errors import InvalidArgument
from pinyon.storage.postgres.connection import write_groups

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


async def test_writes_of_many_records_do_not_share_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_groups, "MOST_ITEMS", 4)
    engine = await open_postgres(tmp_path)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))

    def upsert(write: int, records: int) -> "asyncio.Future[int]":
        return asyncio.ensure_future(
            engine.upsert("docs", "a", [Record(f"{write}-{n}", X, {}) for n in range(records)])
        )

    groups, whole = list[int](), write_groups.WriteGroups._run_group

    async def counted(self: write_groups.WriteGroups, group: list[write_groups.Job]) -> None:
        groups.append(sum(len(job.items) for job in group))
        await whole(self, group)

    monkeypatch.setattr(write_groups.WriteGroups, "_run_group", counted)
    await asyncio.gather(*(upsert(write, records) for write, records in enumerate([3, 3, 9, 1, 1, 2, 1])))
    assert groups == [3, 3, 9, 4, 1]
    assert await engine.count("docs", "a", Selection()) == 20
    await engine.close()
