"""Fields held by column: the same records as without, whatever has changed, and nothing kept that nobody needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon import filters
from pinyon.domain import IndexSpec, Metadata, QueryPlan, Record, Selection, SparseVector, UpdatePlan
from pinyon.storage.shared.postings import postings
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.filters import matching
from pinyon.storage.sqlite.filters.columns import Columns, column
from pinyon.storage.sqlite.options import Tuning
from pinyon.storage.sqlite.records import reading
from pinyon.storage.sqlite.upkeep.column_upkeep import ColumnUpkeep

from tests.examples import examples
from tests.storage.sqlite.filters.test_filter_sql import FILTERS, METADATA
from tests.storage.sqlite.index_file import read, with_file

VECTOR = np.float32([1, 0])
SIZE = 2**20
pytestmark = pytest.mark.anyio


def columns_of(rows: dict[int, Metadata]) -> Columns:
    """Every field of some records."""
    found: dict[str, list[Any]] = {}
    for row, metadata in rows.items():
        for field, kind, value in postings(metadata):
            found.setdefault(field, []).append((int(kind), value, row))
    alive = np.zeros(max(rows, default=-1) + 1, dtype=bool)
    alive[list(rows)] = True
    return Columns(1, alive, {field: column(sorted(some), {}) for field, some in found.items()})


ROWS = st.dictionaries(st.integers(1, 12), METADATA, max_size=8)


@settings(max_examples=examples(300))
@given(first=ROWS, then=ROWS, gone=st.sets(st.integers(1, 12)), raws=st.lists(FILTERS, min_size=1, max_size=6))
def test_columns_keep_what_matches_keeps_before_and_after_changes(
    first: dict[int, Metadata], then: dict[int, Metadata], gone: set[int], raws: list[Any]
) -> None:
    empty = {field: column([], {}) for field in ("a", "b", "ü", "a.b", "", "x' OR 1")}
    before = columns_of(first)
    before = Columns(1, before.alive, {**empty, **before.by_field})
    changed = np.array(sorted(gone | then.keys()), np.int64)
    after = before.replaced(changed, sorted(then.items()), 2)
    left = {row: metadata for row, metadata in first.items() if row not in gone} | then
    assert after.version == 2
    for raw in raws:
        condition = filters.parse(raw)
        assert condition is not None
        for columns, rows in ((before, first), (after, left)):
            wanted = sorted(row for row, metadata in rows.items() if filters.matches(condition, metadata))
            assert columns.matching_rows(condition).rows.tolist() == wanted, raw


BOUNDS = st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.integers(-2, 6), min_size=1)


@settings(max_examples=examples(200))
@given(values=st.lists(st.integers(-1, 5) | st.text(max_size=1), max_size=60), bounds=BOUNDS, further=BOUNDS)
def test_a_range_keeps_what_is_within_all_of_its_bounds(
    values: list[Any], bounds: dict[str, int], further: dict[str, int]
) -> None:
    rows: dict[int, Metadata] = {row: {"n": value, "m": row % 3} for row, value in enumerate(values, 1)}
    columns = columns_of({**rows, 61: {"n": 9, "m": 1}, 5_000: {}})
    for raw in ({"n": bounds}, {"n": bounds, "m": further}, {"$and": [{"n": bounds}, {"n": further}]}):
        condition = filters.parse(raw)
        assert condition is not None
        wanted = [row for row, metadata in rows.items() if filters.matches(condition, metadata)]
        assert [row for row in columns.matching_rows(condition).rows.tolist() if row < 61] == wanted, raw


def test_few_rows_of_many_come_in_order_and_once() -> None:
    columns = columns_of({row: {"tags": ["a", "b"], "n": -row} for row in range(1, 1_000)})
    condition = filters.parse({"tags": {"$in": ["a", "b"]}})
    assert condition is not None
    assert columns.matching_rows(condition).rows.tolist() == list(range(1, 1_000))
    condition = filters.parse({"n": {"$lt": -990}})
    assert condition is not None
    assert columns.matching_rows(condition).rows.tolist() == list(range(991, 1_000))


Opener = Callable[..., Any]


@pytest.fixture
async def opened(tmp_path: Path) -> Any:
    """Opens an engine that holds columns of every namespace; closes the one before. tuning: fields of Tuning."""
    engines: list[SqliteEngine] = []

    async def open_engine(tuning: dict[str, Any] | None = None, **options: Any) -> SqliteEngine:
        if engines:
            await engines.pop().close()
        numbers = Tuning(**{"columns_from": 1, "quiet_s": 0.0, **(tuning or {})})
        told = {"approximate_from": 1, "column_bytes": SIZE, "tuning": numbers, **options}
        engines.append(await SqliteEngine.open_folder(tmp_path, 2, 0, **told))
        return engines[0]

    yield open_engine
    if engines:
        await engines.pop().close()


async def filled(opened: Opener, tuning: dict[str, Any] | None = None, **options: Any) -> SqliteEngine:
    engine: SqliteEngine = await opened(tuning, **options)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))
    await engine.upsert("docs", "a", [Record(f"r{n}", VECTOR, {"n": n, "s": f"s{n % 3}"}) for n in range(30)])
    return engine


def of_only_namespace(engine: SqliteEngine) -> Columns | None:
    keys = list(engine.caches.columns.namespaces())
    assert len(keys) <= 1
    return engine.caches.columns.get(keys[0]) if keys else None


async def kept(engine: SqliteEngine, raw: dict[str, Any], namespace: str = "a") -> set[str]:
    plan = QueryPlan(100, vector=VECTOR, filter=filters.parse(raw))
    return {match.id for match in (await engine.query("docs", namespace, plan)).matches}


def reads_of_postings(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """From now on, a filter each that was answered from the postings."""
    reads: list[object] = []
    real = matching.rows_from_postings

    def rows_from_postings(connection: Any, condition: filters.Condition, ns: int) -> Any:
        reads.append(condition)
        return real(connection, condition, ns)

    monkeypatch.setattr(matching, "rows_from_postings", rows_from_postings)
    return reads


async def test_a_field_that_was_asked_for_has_a_column_soon(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await filled(opened)
    assert await kept(engine, {"n": {"$lt": 2}}) == {"r0", "r1"}
    await engine.upkeep_done()
    reads = reads_of_postings(monkeypatch)
    assert await kept(engine, {"n": {"$gte": 28}}) == {"r28", "r29"}
    assert not reads
    assert await kept(engine, {"n": 1, "s": "s1"}) == {"r1"}
    assert len(reads) == 1
    await engine.upkeep_done()
    assert await kept(engine, {"n": {"$lt": 5}, "s": "s1"}) == {"r1", "r4"}
    assert len(reads) == 1


async def test_every_write_is_seen_by_the_next_filter_before_columns_have_followed(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await filled(opened)
    await kept(engine, {"n": 0, "s": "s0"})
    await engine.upkeep_done()
    reads = reads_of_postings(monkeypatch)
    monkeypatch.setattr(engine.upkeep, "schedule", lambda *_: None)
    await engine.update("docs", "a", UpdatePlan(Selection(ids=["r0"]), metadata={"n": 77}))
    assert await kept(engine, {"n": 0}) == set()
    assert await kept(engine, {"n": 77}) == {"r0"}
    await engine.upsert("docs", "a", [Record("new", VECTOR, {"n": 77}), Record("r1", VECTOR, {})])
    assert await kept(engine, {"n": 77}) == {"r0", "new"}
    assert await kept(engine, {"n": {"$exists": False}}) == {"r1"}
    await engine.delete("docs", "a", Selection(ids=["r0", "r2"]))
    assert await kept(engine, {"n": {"$not": {"$lt": 50}}}) == {"new", "r1"}
    assert await kept(engine, {"s": {"$ne": "s0"}, "n": {"$lt": 6}}) == {"r4", "r5"}
    assert not reads


async def test_many_changes_are_taken_in(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await filled(opened, {"columns_updated_rows": 3, "columns_changed": 3})
    await kept(engine, {"n": 0})
    await engine.upkeep_done()
    reads = reads_of_postings(monkeypatch)
    for turn in range(3):
        records = [Record(f"r{n}", VECTOR, {"n": 100 * turn + n}) for n in range(10)]
        await engine.upsert("docs", "a", records)
        await engine.delete("docs", "a", Selection(ids=[f"r{20 + turn}"]))
        await engine.upkeep_done()
        assert await kept(engine, {"n": {"$gte": 100 * turn, "$lt": 100 * turn + 2}}) == {"r0", "r1"}
    assert len(await kept(engine, {"n": {"$not": {"$lt": -1}}})) == 27
    assert not reads


async def test_many_writes_of_few_records_are_taken_in(opened: Opener, tmp_path: Path) -> None:
    engine = await filled(opened, {"columns_updated_writes": 3})
    await kept(engine, {"n": 0})
    for turn in range(10):
        await engine.upkeep_done()
        await engine.update("docs", "a", UpdatePlan(Selection(ids=["r3"]), metadata={"n": turn}))
        columns = of_only_namespace(engine)
        assert columns is not None
        version = with_file(tmp_path, "docs", reading.tables.lsn)
        assert version - columns.version <= 3
        assert await kept(engine, {"n": {"$in": [turn, 77]}}) == {"r3", f"r{turn}"}


async def test_a_change_of_fields_is_none_of_vectors(opened: Opener, tmp_path: Path) -> None:
    engine = await filled(opened)
    await kept(engine, {"n": 0})
    await engine.upkeep_done()
    version = read(tmp_path, "docs", "SELECT max(version) FROM namespaces")
    await engine.update("docs", "a", UpdatePlan(Selection(ids=["r3"]), metadata={"n": 77}))

    def since(connection: Any) -> tuple[list[int], list[int]]:
        both = [reading.changes.since(connection, 1, version, of_vectors) for of_vectors in (True, False)]
        assert both[0] is not None and both[1] is not None
        return both[0].tolist(), both[1].tolist()

    assert with_file(tmp_path, "docs", since) == ([], [4])


async def test_a_field_too_large_to_be_held_is_not_tried_again_and_again(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await filled(opened, column_bytes=300)
    await kept(engine, {"s": "s1"})
    await engine.upkeep_done()
    assert not engine.caches.columns.wants(engine.index("docs").handle)
    monkeypatch.setattr(engine.upkeep, "schedule", None)  # would be called if it was wanted again
    assert len(await kept(engine, {"s": "s1"})) == 10


async def test_columns_used_longest_ago_make_room(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await filled(opened, column_bytes=5_000)
    await kept(engine, {"n": 3})  # 2,360 bytes
    await engine.upkeep_done()
    await kept(engine, {"s": "s1"})  # 2,990 bytes
    await engine.upkeep_done()
    reads = reads_of_postings(monkeypatch)
    assert len(await kept(engine, {"s": "s2"})) == 10
    assert not reads
    assert await kept(engine, {"n": 4}) == {"r4"}
    assert len(reads) == 1


async def test_small_namespaces_and_those_of_a_reader_or_without_memory_have_none(opened: Opener) -> None:
    await filled(opened)
    cases: list[tuple[int, dict[str, Any], bool]] = [
        (30, {}, True), (31, {}, False), (1, {"column_bytes": 0}, False), (1, {"read_only": True}, False),
        (1, {"approximate_from": None}, True),
    ]  # fmt: skip
    for least, options, wanted in cases:
        engine = await opened({"columns_from": least}, **options)
        assert await kept(engine, {"n": 3}) == {"r3"}
        await engine.upkeep_done()
        assert (of_only_namespace(engine) is not None) == wanted


async def test_columns_are_given_up_where_little_is_left(opened: Opener) -> None:
    engine = await filled(opened, {"columns_from": 20})
    await kept(engine, {"n": 3})
    for left in (15, 9):
        await engine.delete("docs", "a", Selection(ids=[f"r{n}" for n in range(left, 30)]))
        await engine.upkeep_done()
        assert (of_only_namespace(engine) is not None) == (left == 15)
        assert await kept(engine, {"n": {"$gte": 7}}) == {f"r{n}" for n in range(7, left)}


async def test_nothing_is_left_of_a_namespace_or_an_index_that_is_deleted(opened: Opener) -> None:
    engine = await filled(opened)
    columns = engine.caches.columns
    await kept(engine, {"n": 3})
    await engine.upkeep_done()
    assert of_only_namespace(engine)
    await engine.delete_namespace("docs", "a")
    await engine.upkeep_done()
    assert not columns.namespaces()
    await engine.upsert("docs", "a", [Record("other", VECTOR, {"n": 3})])
    assert await kept(engine, {"n": 3}) == {"other"}
    await engine.upkeep_done()
    assert await kept(engine, {"n": 3}) == {"other"}
    assert of_only_namespace(engine)
    await engine.delete_index("docs")
    assert not columns.namespaces()


async def test_changes_are_noted_down_no_longer_than_columns_need_them(opened: Opener, tmp_path: Path) -> None:
    engine = await filled(opened, {"log_spare_versions": 0})
    await kept(engine, {"n": 3})
    await engine.upkeep_done()
    for turn in range(5):
        records = [Record(f"t{turn}-{n}", VECTOR, {"n": n}) for n in range(300)]
        await engine.upsert("docs", "a", records)
        await engine.upkeep_done()
    noted = read(tmp_path, "docs", "SELECT count(*) FROM changes")
    assert noted <= 1
    assert len(await kept(engine, {"n": 3})) == 6
    await engine.delete("docs", "a", Selection())
    await engine.upkeep_done()
    noted = read(tmp_path, "docs", "SELECT count(*) FROM changes")
    assert noted == 0


async def test_a_field_is_read_in_parts(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await filled(opened, {"postings_per_read": 7})
    mixed: list[Any] = [True, 1, 1.0, "1", False, 0, "true", ["1", "2"], 2, []]
    await engine.upsert("docs", "a", [Record(f"m{n}", VECTOR, {"n": value}) for n, value in enumerate(mixed)])
    await kept(engine, {"n": 3})
    await engine.upkeep_done()
    reads = reads_of_postings(monkeypatch)
    assert await kept(engine, {"n": 1}) == {"r1", "m1", "m2"}
    assert await kept(engine, {"n": {"$in": ["1", True]}}) == {"m0", "m3", "m7"}
    assert await kept(engine, {"n": {"$lt": 2}}) == {"r0", "r1", "m1", "m2", "m5"}
    assert len(await kept(engine, {"n": {"$exists": True}})) == 40
    assert not reads


async def test_columns_that_have_seen_more_than_a_snapshot_do_not_answer_for_it(opened: Opener, tmp_path: Path) -> None:
    engine = await filled(opened)
    await kept(engine, {"n": 3})
    await engine.upkeep_done()
    (key,) = engine.caches.columns.namespaces()
    condition = filters.parse({"n": 3})
    assert condition is not None

    def rows(connection: Any, before: int) -> Any:
        version = reading.changes.version(connection, key[1])
        return engine.caches.columns.matching_rows(connection, condition, key, version - before, 30)

    assert with_file(tmp_path, "docs", lambda connection: rows(connection, 0)).rows.tolist() == [4]
    assert with_file(tmp_path, "docs", lambda connection: rows(connection, 1)) is None


async def test_columns_that_cannot_be_made_cost_nothing_else(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await filled(opened)

    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pinyon.storage.sqlite.upkeep.column_upkeep.column", broken)
    for _ in range(2):
        assert await kept(engine, {"n": 3}) == {"r3"}
        await engine.upkeep_done()
    assert caplog.text.count("no columns for namespace") == 1


async def test_records_that_come_while_a_field_is_read_are_seen(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await filled(opened)
    read = ColumnUpkeep._read

    async def meanwhile(*arguments: Any) -> Any:
        await engine.upsert("docs", "a", [Record("new", VECTOR, {"n": 5}), Record("r4", VECTOR, {"n": 5})])
        return await read(*arguments)

    monkeypatch.setattr(ColumnUpkeep, "_read", meanwhile)
    await kept(engine, {"n": 5})
    await engine.upkeep_done()
    reads = reads_of_postings(monkeypatch)
    assert await kept(engine, {"n": {"$gte": 4, "$lte": 5}}) == {"r4", "r5", "new"}
    assert await kept(engine, {"n": {"$not": {"$gt": 1}}}) == {"r0", "r1"}
    assert not reads


async def test_sparse_indexes_have_no_columns_and_want_none(opened: Opener) -> None:
    engine = await opened()
    await engine.create_index(IndexSpec("words", 0, "dotproduct"))
    sparse = SparseVector(np.uint32([1]), np.float32([2]))
    await engine.upsert("words", "a", [Record(f"r{n}", None, {"n": n}, sparse) for n in range(30)])
    plan = QueryPlan(5, sparse=sparse, filter=filters.parse({"n": {"$lt": 2}}))
    assert {match.id for match in (await engine.query("words", "a", plan)).matches} == {"r0", "r1"}
    assert not engine.caches.columns.wants(engine.index("words").handle)
