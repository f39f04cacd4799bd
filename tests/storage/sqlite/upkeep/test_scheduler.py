"""Upkeep: what is kept in memory of a namespace goes with the namespace, and with its index."""

import logging
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import IndexSpec, QueryPlan, Record
from pinyon.errors import NotFound
from pinyon.filters import parse
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.options import Tuning
from pinyon.storage.sqlite.upkeep.namespace_state import read_state

pytestmark = pytest.mark.anyio

VECTORS = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)


async def with_everything_in_memory(folder: Path) -> SqliteEngine:
    """An engine with two namespaces that have an inverted file, columns, cached vectors and filters."""
    engine = await SqliteEngine.open_folder(
        folder,
        2,
        0,
        approximate_from=100,
        cache_bytes=2**20,
        filter_cache_bytes=2**20,
        column_bytes=2**20,
        tuning=Tuning(columns_from=1, quiet_s=0),
    )
    await engine.create_index(IndexSpec("docs", 8, "cosine"))
    for namespace in ("a", "b"):
        await engine.upsert("docs", namespace, [Record(f"r{n}", v, {"n": n}) for n, v in enumerate(VECTORS)])
        await engine.upkeep_done()
        for condition in (None, {"n": {"$lt": 200}}):
            for exact in (True, True, False):
                plan = QueryPlan(5, VECTORS[0], filter=None if condition is None else parse(condition), exact=exact)
                await engine.query("docs", namespace, plan)
        await engine.upkeep_done()
    return engine


def namespaces_in_memory(engine: SqliteEngine) -> list[set[int]]:
    """The numbers of the namespaces that each map in memory knows."""
    memory, ivf = engine.caches, engine.upkeep.ivf
    keys = [set(ivf.entries), memory.columns.namespaces(), memory.vectors.namespaces(), memory.filters.namespaces()]
    return [{ns for _, ns in each} for each in keys]


async def test_memory_of_a_namespace_is_freed_when_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await with_everything_in_memory(tmp_path)
    assert namespaces_in_memory(engine) == [{1, 2}] * 4
    await engine.delete_namespace("docs", "a")
    await engine.upkeep_done()
    assert namespaces_in_memory(engine) == [{2}] * 4
    await engine.close()


async def test_memory_of_a_namespace_is_freed_when_it_is_made_again_before_upkeep_comes_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await with_everything_in_memory(tmp_path)
    await engine.delete_namespace("docs", "a")
    await engine.upsert("docs", "a", [Record("new", VECTORS[0], {})])
    await engine.upkeep_done()
    assert all(1 not in numbers for numbers in namespaces_in_memory(engine))
    await engine.close()


async def test_memory_of_an_index_is_freed_when_it_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await with_everything_in_memory(tmp_path)
    await engine.delete_index("docs")
    assert namespaces_in_memory(engine) == [set()] * 4
    await engine.close()


async def test_columns_of_an_index_that_is_deleted_meanwhile_are_freed_without_a_logged_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await with_everything_in_memory(tmp_path)
    opened, columns = engine._opened["docs"], engine.caches.columns
    state = await read_state(opened.database, opened.index.handle, "a")
    assert state is not None and state.key in columns.namespaces()
    await opened.database.close()
    with pytest.raises(NotFound):
        await engine.upkeep.columns.maintain(opened.database, state)
    assert state.key not in columns.namespaces()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    await engine.close()
