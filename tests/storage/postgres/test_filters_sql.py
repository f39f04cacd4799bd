"""Filters that PostgreSQL would plan for longer than it takes to answer them."""

from pathlib import Path

import numpy as np
import pytest
from pinyon import filters
from pinyon.domain import IndexSpec, QueryPlan, Record
from pinyon.filters import MAX_CONDITIONS

from tests.postgres.shared_server import open_postgres

pytestmark = pytest.mark.anyio
RECORDS = [Record(f"r{n}", np.float32([n, 1]), {"n": n, "even": n % 2 == 0}) for n in range(20)]


async def test_as_many_comparisons_as_a_filter_may_have_are_answered(tmp_path: Path) -> None:
    engine = await open_postgres(tmp_path)
    await engine.create_index(IndexSpec("docs", 2, "euclidean"))
    await engine.upsert("docs", "a", [*RECORDS, Record("text", np.float32([0, 1]), {"n": "12", "even": True})])
    every = [{"n": {"$gte": 12 - limit}} for limit in range(MAX_CONDITIONS // 2)]
    nested = {"$and": [{"even": True}, {"n": {"$not": {"$gt": 16}}}, {"$and": every[:300]}, {"$and": every[300:]}]}
    plan = QueryPlan(50, np.float32([0, 1]), filter=filters.parse(nested))
    assert [match.id for match in (await engine.query("docs", "a", plan)).matches] == ["r12", "r14", "r16"]
    await engine.close()
