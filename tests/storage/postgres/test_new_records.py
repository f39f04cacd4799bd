"""Filters among records that PostgreSQL has not counted yet (ANALYZE)."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import FacetPlan, IndexSpec, PagePlan, QueryPlan, Record, Selection, UpdatePlan
from pinyon.filters import parse
from pinyon.storage.postgres.filters import joins

from tests.postgres.shared_server import open_postgres, schema_of, shared
from tests.running import GIVEN_UP_S

pytestmark = pytest.mark.anyio
COUNT = 2_000


def records(count: int) -> list[Record]:
    return [Record(f"{n}", np.ones(2, np.float32), {"n": n}) for n in range(count)]


async def until_counted_as_changed(table: str) -> None:
    """PostgreSQL's statistics follow a few seconds after the writes."""
    changed = f"SELECT pg_stat_get_mod_since_analyze('{table}'::regclass)"
    async with asyncio.timeout(GIVEN_UP_S):
        while shared().execute(changed)[0][0] < COUNT:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("small", [joins.SMALL, pytest.param(0, marks=pytest.mark.slow)], ids=["small", "large"])
async def test_a_filter_among_records_that_were_stored_a_moment_ago_does_not_compare_them_all_with_each_other(
    tmp_path: Path, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joins, "SMALL", small)
    engine = await open_postgres(tmp_path)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))
    await engine.upsert("docs", "old", records(3))
    tables = f"{schema_of(tmp_path)}_1"
    for name in ("records", "numbers", "vectors"):
        shared().execute(f"ALTER TABLE {tables}.{name} SET (autovacuum_enabled = off)")
        shared().execute(f"ANALYZE {tables}.{name}")
    await engine.upsert("docs", "new", records(COUNT))
    if not small:
        await until_counted_as_changed(f"{tables}.records")
    condition = parse({"n": {"$gte": 100, "$lt": COUNT}})
    selection = Selection(filter=condition)
    plan = QueryPlan(10, vector=np.ones(2, np.float32), filter=condition)
    assert len((await engine.query("docs", "new", plan)).matches) == 10  # took longer than the statement timeout
    assert (await engine.page("docs", "new", PagePlan(5, selection=selection))).more
    assert (await engine.facets("docs", "new", FacetPlan("n", 10, condition))).records == COUNT - 100
    assert (await engine.update("docs", "new", UpdatePlan(selection, metadata={"m": 1})))[0] == COUNT - 100
    await engine.delete("docs", "new", selection)
    assert len((await engine.page("docs", "new", PagePlan(1_000))).records) == 100
    await engine.close()
