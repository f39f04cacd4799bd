"""Compaction in PostgreSQL: the room of deleted records is used again, and nothing else changes."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import IndexSpec, QueryPlan, Record, Selection

from tests.postgres import consistency
from tests.postgres.shared_server import open_postgres

pytestmark = pytest.mark.anyio
RECORDS = [Record(f"r{n:03}", np.float32([n, 1]), {"n": n}) for n in range(400)]


async def test_room_is_used_again_while_searches_and_writes_go_on(tmp_path: Path) -> None:
    engine = await open_postgres(tmp_path)
    await engine.create_index(IndexSpec("docs", 2, "euclidean"))
    await engine.upsert("docs", "a", RECORDS)
    await engine.delete("docs", "a", Selection(ids=[record.id for record in RECORDS[:300]]))
    plan = QueryPlan(5, np.float32([300, 1]))
    before = (await engine.query("docs", "a", plan)).matches

    (large, _), answer, _ = await asyncio.gather(
        engine.compact("docs"), engine.query("docs", "a", plan), engine.upsert("docs", "b", RECORDS[:1])
    )
    assert answer.matches == before == (await engine.query("docs", "a", plan)).matches
    await engine.upsert("docs", "a", RECORDS[:300])
    _, after = await engine.compact("docs")
    assert after < 1.5 * large, "new records take the room of the deleted ones"
    await engine.close()
    assert consistency.problems(tmp_path, "docs") == []
