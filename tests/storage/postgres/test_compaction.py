"""Compaction in PostgreSQL: nothing that is stored changes. When room is used again is up to the server."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import IndexSpec, QueryPlan, Record, Selection

from tests.postgres import consistency
from tests.postgres.shared_server import open_postgres

pytestmark = pytest.mark.anyio
RECORDS = [Record(f"r{n:03}", np.float32([n, 1]), {"n": n}) for n in range(400)]


async def test_searches_and_writes_go_on_beside_it(tmp_path: Path) -> None:
    engine = await open_postgres(tmp_path)
    await engine.create_index(IndexSpec("docs", 2, "euclidean"))
    await engine.upsert("docs", "a", RECORDS)
    await engine.delete("docs", "a", Selection(ids=[record.id for record in RECORDS[:300]]))
    plan = QueryPlan(5, np.float32([300, 1]))
    before = (await engine.query("docs", "a", plan)).matches

    (before_bytes, after_bytes), answer, _ = await asyncio.gather(
        engine.compact("docs"), engine.query("docs", "a", plan), engine.upsert("docs", "b", RECORDS[:1])
    )
    assert answer.matches == before == (await engine.query("docs", "a", plan)).matches
    assert before_bytes > 0 and after_bytes > 0
    await engine.upsert("docs", "a", RECORDS[:300])
    await engine.compact("docs")
    assert (await engine.namespace("docs", "a")).record_count == 400
    await engine.close()
    assert consistency.problems(tmp_path, "docs") == []
