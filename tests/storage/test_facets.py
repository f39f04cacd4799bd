"""Counts of records by the values of a field, against counting them one by one."""

import asyncio
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon import filters
from pinyon.domain import Facet, FacetPlan, Facets, IndexSpec, Record, Selection
from pinyon.storage.engine import Engine
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.options import Tuning

from tests.examples import examples
from tests.storage.engines import ENGINES

LONG = "a string that is longer than the postings store as it is, so that they have its digest, " * 2
SCALARS = st.sampled_from([True, False, 0, 1, 1.5, -2, "1", "true", "", "é", LONG, LONG + "!"])
VALUES = st.one_of(SCALARS, st.lists(st.sampled_from(["x", "1", "é", LONG]), max_size=3))
METADATA = st.fixed_dictionaries({}, optional={"k": VALUES, "m": st.integers(0, 3)})
FILTERS = st.sampled_from([None, {"m": {"$gte": 2}}, {"k": {"$exists": True}}, {"m": 9}])
folders = itertools.count()


async def with_columns(folder: Path) -> Engine:
    """As an engine opens that answers filters from memory."""
    tuning = Tuning(columns_from=1, quiet_s=0.0)
    return await SqliteEngine.open_folder(folder, 1, 0, column_bytes=2**20, filter_cache_bytes=2**20, tuning=tuning)


OPEN = {**{name: kind.open for name, kind in ENGINES.items()}, "sqlite with columns": with_columns}


def counted(rows: dict[str, dict[str, Any]], raw_filter: dict[str, Any] | None) -> tuple[Counter[Any], int, int]:
    """By value and its type, how many records have it; how many match; and how many of those have no value."""
    condition = None if raw_filter is None else filters.parse(raw_filter, 100)
    chosen = [fields for fields in rows.values() if condition is None or filters.matches(condition, fields)]
    values: Counter[Any] = Counter()
    missing = 0
    for fields in chosen:
        value = fields.get("k", [])
        own = {
            (type(each) is bool, isinstance(each, str), each)
            for each in (value if isinstance(value, list) else [value])
        }
        values.update(own)
        missing += not own
    return values, len(chosen), missing


def assert_counts(
    answer: Facets, rows: dict[str, dict[str, Any]], raw_filter: dict[str, Any] | None, limit: int
) -> None:
    values, records, missing = counted(rows, raw_filter)
    assert (answer.distinct, answer.records, answer.missing) == (len(values), records, missing)
    assert [facet.count for facet in answer.facets] == sorted(values.values(), reverse=True)[:limit]
    for facet in answer.facets:
        assert values[type(facet.value) is bool, isinstance(facet.value, str), facet.value] == facet.count


@pytest.mark.parametrize("name", OPEN)
@settings(max_examples=examples(15))
@given(
    first=st.lists(METADATA, max_size=8),
    then=st.lists(METADATA, max_size=3),
    raw_filter=FILTERS,
    limit=st.sampled_from([1, 2, 50]),
)
def test_counts_are_exact_whatever_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    first: list[dict[str, Any]],
    then: list[dict[str, Any]],
    raw_filter: dict[str, Any] | None,
    limit: int,
) -> None:
    async def check() -> None:
        engine = await OPEN[name](tmp_path_factory.mktemp("facets"))
        await engine.create_index(IndexSpec("docs", 2, "cosine"))
        rows = {f"r{n}": fields for n, fields in enumerate(first)}
        plan = FacetPlan("k", limit, None if raw_filter is None else filters.parse(raw_filter, 100))
        if rows:
            await engine.upsert("docs", "a", [record(id, fields) for id, fields in rows.items()])
        for _ in range(2):
            assert_counts(await engine.facets("docs", "a", plan), rows, raw_filter, limit)
            if isinstance(engine, SqliteEngine):
                await engine.upkeep_done()  # the field has a column now
        changed = {f"r{2 * n}": fields for n, fields in enumerate(then)}
        if changed:
            await engine.upsert("docs", "a", [record(id, fields) for id, fields in changed.items()])
            await engine.delete("docs", "a", Selection(ids=["r1"]))
            rows = {id: fields for id, fields in {**rows, **changed}.items() if id != "r1"}
        assert_counts(await engine.facets("docs", "a", plan), rows, raw_filter, limit)
        await engine.close()

    asyncio.run(check())


def record(id: str, fields: dict[str, Any]) -> Record:
    return Record(id, np.ones(2, np.float32), fields)


@pytest.mark.parametrize("name", OPEN)
def test_equal_counts_have_an_order_and_values_their_types(tmp_path: Path, name: str) -> None:
    async def check() -> None:
        engine = await OPEN[name](tmp_path)
        await engine.create_index(IndexSpec("docs", 2, "cosine"))
        values = ["b", "a", 2, True, 1.5, "1", LONG]
        await engine.upsert("docs", "a", [record(f"r{n}", {"k": value}) for n, value in enumerate(values)])
        answer = await engine.facets("docs", "a", FacetPlan("k", 10))
        first = [Facet(value, 1) for value in (True, 1.5, 2)]
        assert answer.facets == [*first, Facet(LONG, 1), *(Facet(value, 1) for value in ("1", "a", "b"))]
        nothing = await engine.facets("docs", "none", FacetPlan("k", 10))
        assert (nothing.facets, nothing.distinct, nothing.records, nothing.missing) == ([], 0, 0, 0)
        await engine.close()

    asyncio.run(check())
