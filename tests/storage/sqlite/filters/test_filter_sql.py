"""Filters compiled to SQL keep exactly the records that matches() keeps."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon import filters
from pinyon.domain import IndexSpec, QueryPlan, Record
from pinyon.filters import MAX_CONDITIONS, MAX_DEPTH
from pinyon.storage.sqlite.engine import SqliteEngine

from tests.examples import examples

FIELDS = st.sampled_from(["a", "b", "ü", "a.b", "", "x' OR 1"])
LONG = "long " * 20
STRINGS = st.sampled_from(["", "x", "1", "true", "ünïcode", "\x00", LONG, LONG + "!"])
NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -0.0, 1.0, 1e300, 2**53, 2019]))
SCALARS = st.one_of(STRINGS, NUMBERS, st.booleans())
METADATA = st.dictionaries(FIELDS, st.one_of(SCALARS, st.lists(STRINGS, max_size=3)), max_size=4)


def operators() -> st.SearchStrategy[dict[str, Any]]:
    one = st.one_of(
        st.tuples(st.sampled_from(["$eq", "$ne"]), SCALARS),
        st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS),
        st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=4)),
        st.tuples(st.just("$exists"), st.booleans()),
    )
    return st.lists(one, min_size=1, max_size=2).map(dict)


LEAVES = st.dictionaries(FIELDS, st.one_of(SCALARS, operators()), min_size=1, max_size=2)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda word, parts: {word: parts}, st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3)
        ),
        st.builds(lambda part: {"$not": part}, inner),
        st.builds(lambda field, ops: {field: {"$not": ops}}, FIELDS, operators()),
    ),
    max_leaves=6,
)


async def kept(engine: SqliteEngine, raw: dict[str, Any]) -> set[str]:
    plan = QueryPlan(10_000, vector=np.ones(1, np.float32), filter=filters.parse(raw))
    return {match.id for match in (await engine.query("docs", "a", plan)).matches}


@settings(max_examples=examples(150))
@given(
    held=st.lists(METADATA, min_size=1, max_size=8),
    later=st.lists(METADATA, max_size=4),
    raws=st.lists(FILTERS, min_size=1, max_size=8),
)
def test_sql_keeps_what_matches_keeps(
    held: list[dict[str, Any]], later: list[dict[str, Any]], raws: list[dict[str, Any]]
) -> None:
    async def compare() -> None:
        with tempfile.TemporaryDirectory() as folder:
            engine = await SqliteEngine.open_folder(Path(folder), 1, 0)
            await engine.create_index(IndexSpec("docs", 1, "dotproduct"))
            there: dict[str, dict[str, Any]] = {}
            for batch in (held, later):  # the second batch overwrites some of the first
                rows = {f"r{n}": metadata for n, metadata in enumerate(batch)}
                records = [Record(id, np.ones(1, np.float32), metadata) for id, metadata in rows.items()]
                if records:
                    await engine.upsert("docs", "a", records)
                there |= rows
            await engine.upsert("docs", "b", [Record("elsewhere", np.ones(1, np.float32), held[0])])
            for raw in raws:
                condition = filters.parse(raw)
                assert condition is not None
                wanted = {id for id, metadata in there.items() if filters.matches(condition, metadata)}
                assert await kept(engine, raw) == wanted, raw
            await engine.close()

    asyncio.run(compare())


@pytest.mark.anyio
async def test_the_largest_filters_run(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(IndexSpec("docs", 1, "dotproduct"))
    await engine.upsert(
        "docs", "a", [Record(f"r{n}", np.ones(1, np.float32), {"n": n, "s": str(n)}) for n in range(50)]
    )
    deep: dict[str, Any] = {"n": {"$gte": 0}}
    for level in range(MAX_DEPTH - 1):
        deep = {"$and": [deep, {"n": {"$ne": 100 + level}}]} if level % 2 else {"$or": [deep, {"s": "none"}]}
    everything = {f"r{n}" for n in range(50)}
    assert await kept(engine, deep) == everything
    assert await kept(engine, {"$or": [{"n": n} for n in range(MAX_CONDITIONS)]}) == everything
    assert await kept(engine, {"$and": [{"n": {"$ne": -n - 1}} for n in range(MAX_CONDITIONS)]}) == everything
    assert await kept(engine, {"s": {"$in": [str(n) for n in range(10_000)]}}) == everything
    assert await kept(engine, {"n": {"$nin": list(range(10_000))}}) == set()
    await engine.close()
