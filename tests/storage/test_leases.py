"""Leases of jobs, and notes that are stored only with a lease."""

from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import IndexSpec, Lease, Note, PagePlan, Record
from pinyon.errors import LeaseLost

from tests.storage.engines import EngineKind, every_engine

pytestmark = pytest.mark.anyio
MINE, YOURS = Lease("import/1", "me"), Lease("import/1", "you")


@every_engine
async def test_one_owner_at_a_time_has_the_lease(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    assert await engine.take_lease(MINE, 3600)
    assert not await engine.take_lease(YOURS, 3600)
    assert await engine.take_lease(Lease("import/2", "you"), 3600), "another job has another lease"
    await engine.release_lease(YOURS)
    assert not await engine.take_lease(YOURS, 3600), "nobody releases the lease of another"
    assert await engine.take_lease(MINE, 0), "the owner renews it: it ends now"
    assert await engine.take_lease(YOURS, 3600)
    assert not await engine.take_lease(MINE, 3600)
    await engine.release_lease(YOURS)
    assert await engine.take_lease(MINE, 3600)
    await engine.close()


@every_engine
async def test_leases_that_expired_are_those_of_jobs_that_nobody_does(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.take_lease(MINE, 0)
    await engine.take_lease(Lease("import/2", "me"), 3600)
    await engine.take_lease(Lease("import/3", "me"), 3600)
    await engine.release_lease(Lease("import/3", "me"))
    await engine.take_lease(Lease("other/4", "me"), 0)
    assert await engine.expired_leases("import/") == ["import/1"]
    await engine.take_lease(YOURS, 3600)
    assert await engine.expired_leases("import/") == []
    await engine.close()


@every_engine
async def test_nothing_is_stored_with_a_lease_that_was_lost(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))
    records = [Record("a", np.array([1, 0], np.float32), {})]
    note = Note("job", "half", MINE)
    with pytest.raises(LeaseLost):
        await engine.put_note("docs", note)
    await engine.take_lease(MINE, 3600)
    await engine.put_note("docs", note)
    assert await engine.upsert("docs", "", records, note=Note("job", "done", MINE)) == 1
    await engine.take_lease(MINE, 0)
    await engine.take_lease(YOURS, 3600)
    with pytest.raises(LeaseLost):
        await engine.upsert("docs", "", [Record("b", np.array([0, 1], np.float32), {})], note=note)
    page = await engine.page("docs", "", PagePlan(10))
    assert [record.id for record in page.records] == ["a"]
    assert [(each.key, each.text) for each in await engine.notes("docs")] == [("job", "done")]
    await engine.close()
