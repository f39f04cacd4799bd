"""Searches that take little time and read nothing from the disk run on the event-loop thread, with the same answers."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from pinyon.domain import IndexSpec, QueryPlan, Record
from pinyon.errors import InvalidArgument, NotFound
from pinyon.filters import parse
from pinyon.storage.sqlite.connection.inline_reads import InlineReads
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.options import Tuning
from pinyon.storage.sqlite.records import reading

pytestmark = pytest.mark.anyio

VECTORS = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
PLAIN = QueryPlan(5, vector=VECTORS[0])


async def filled(folder: Path, **options: Any) -> SqliteEngine:
    told = {"cache_bytes": 2**20, "inline_read_s": 60.0, **options}
    engine = await SqliteEngine.open_folder(folder, 2, 0, **told)
    await engine.create_index(IndexSpec("docs", 8, "cosine"))
    await engine.upsert("docs", "a", [Record(f"r{n}", vector, {"n": n}) for n, vector in enumerate(VECTORS)])
    return engine


class Where:
    """On which threads searches run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here: list[bool] = []
        query = reading.query

        def noted(*arguments: Any) -> Any:
            answer = query(*arguments)
            if answer is not None:
                self.here.append(threading.current_thread() is threading.main_thread())
            return answer

        monkeypatch.setattr(reading, "query", noted)


async def test_a_search_like_a_quick_one_is_run_at_once_until_something_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, engine = Where(monkeypatch), await filled(tmp_path)
    answers = [await engine.query("docs", "a", PLAIN) for _ in range(4)]
    # Asked once more, vectors are kept in memory, which those that are run at once need.
    assert where.here == [False, False, True, True]
    assert answers[0] == answers[1] == answers[2] == answers[3]
    await engine.upsert("docs", "a", [Record("new", VECTORS[0], {})])
    after = await engine.query("docs", "a", PLAIN)
    assert {match.id for match in after.matches[:2]} == {"new", "r0"}
    assert where.here[4:] == [False]
    await engine.close()


@pytest.mark.parametrize(
    "plan",
    [
        QueryPlan(5, vector=VECTORS[0], filter=parse({"n": {"$lt": 100}})),
        QueryPlan(101, vector=VECTORS[0]),
        QueryPlan(5, vector=VECTORS[0], include_values=True),
    ],
    ids=["a new filter", "many hits", "with vectors"],
)
async def test_whatever_may_take_longer_is_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: QueryPlan
) -> None:
    where, engine = Where(monkeypatch), await filled(tmp_path)
    for _ in range(3):
        await engine.query("docs", "a", PLAIN)
    assert where.here.pop()
    await engine.query("docs", "a", plan)
    assert where.here == [False, False, False]
    await engine.close()


async def test_so_are_searches_by_id_and_with_a_filter_that_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, engine = Where(monkeypatch), await filled(tmp_path, filter_cache_bytes=2**20)
    for _ in range(3):
        await engine.query("docs", "a", PLAIN)
    answer = await engine.query("docs", "a", QueryPlan(1, id="r3"))
    assert answer.matches[0].id == "r3"
    del where.here[:3]
    for least, here in ((100, False), (100, True), (200, False), (100, True), (200, True)):
        plan = QueryPlan(3, vector=VECTORS[0], filter=parse({"n": {"$gte": least}}))
        answer = await engine.query("docs", "a", plan)
        assert all(match.metadata["n"] >= least for match in answer.matches)  # type: ignore[operator]
        assert where.here.pop() == here
    assert where.here == [True]
    await engine.close()


async def test_so_are_new_filters_on_fields_that_are_held_by_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Where(monkeypatch)
    engine = await filled(tmp_path, column_bytes=2**20, tuning=Tuning(columns_from=1, quiet_s=0))
    for least, here in ((10, False), (20, False), (30, True), (40, True)):
        plan = QueryPlan(3, vector=VECTORS[0], filter=parse({"n": {"$gte": least}}))
        answer = await engine.query("docs", "a", plan)
        await engine.upkeep_done()
        assert all(match.metadata["n"] >= least for match in answer.matches)  # type: ignore[operator]
        assert where.here.pop() == here
    answer = await engine.query("docs", "a", QueryPlan(3, vector=VECTORS[0], filter=parse({"other": 1})))
    assert answer.matches == [] and not where.here.pop()
    await engine.close()


@pytest.mark.parametrize("tuning", [{"inline_read_s": 0.0}, {"inline_read_s": 1e-9}, {"cache_bytes": 0}])
async def test_switched_off_or_slow_or_from_the_disk_all_are_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuning: dict[str, float]
) -> None:
    where, engine = Where(monkeypatch), await filled(tmp_path, **tuning)
    for _ in range(4):
        await engine.query("docs", "a", PLAIN)
    assert where.here == [False] * 4
    await engine.close()


async def test_a_file_that_is_busy_is_left_to_the_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await filled(tmp_path)
    for _ in range(3):
        await engine.query("docs", "a", PLAIN)
    query = reading.query

    def busy(*arguments: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            raise apsw.BusyError("locked")
        return query(*arguments)

    monkeypatch.setattr(reading, "query", busy)
    assert (await engine.query("docs", "a", PLAIN)).matches[0].id == "r0"
    await engine.close()


async def test_a_search_that_would_have_to_wait_for_the_disk_is_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, engine = Where(monkeypatch), await filled(tmp_path)
    refused: list[int] = []

    def not_in_memory(*_: Any) -> int:
        refused.append(1)
        raise BlockingIOError(errno.EAGAIN, "would wait")

    with monkeypatch.context() as patched:
        patched.setattr("os.preadv", not_in_memory)
        for _ in range(4):
            assert (await engine.query("docs", "a", PLAIN)).matches[0].id == "r0"
        assert where.here == [False] * 4
        assert refused
    assert (await engine.query("docs", "a", PLAIN)).matches[0].id == "r0"
    assert where.here[4:] == [True]
    await engine.close()


async def test_on_a_system_that_cannot_refuse_to_wait_all_are_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.RWF_NOWAIT")
    where, engine = Where(monkeypatch), await filled(tmp_path)
    for _ in range(4):
        await engine.query("docs", "a", PLAIN)
    assert where.here == [False] * 4
    await engine.close()


async def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    engine = await filled(tmp_path)
    for _ in range(4):
        await engine.query("docs", "a", PLAIN)
    await engine.delete_index("docs")
    await engine.close()
    assert set(os.listdir("/proc/self/fd")) <= before


async def test_errors_are_the_same_and_leave_nothing_behind(tmp_path: Path) -> None:
    engine = await filled(tmp_path)
    for _ in range(3):
        await engine.query("docs", "a", PLAIN)
    with pytest.raises(InvalidArgument, match="Vector dimension 3"):
        await engine.query("docs", "a", QueryPlan(5, vector=VECTORS[0][:3]))
    assert (await engine.query("docs", "a", PLAIN)).matches[0].id == "r0"
    database = engine._find("docs").database
    await engine.delete_index("docs")
    with pytest.raises(NotFound, match="Index docs not found"):
        database.read_inline(lambda connection: 1)
    await engine.close()


def test_a_slow_one_ends_it_and_so_do_too_many_namespaces() -> None:
    known = InlineReads(0.001, most_known=3)
    known.note(("i", "a", False), 7, 0.0009)
    assert [known.fast_lsn(key) for key in (("i", "a", False), ("i", "a", True), ("i", "b", False))] == [7, None, None]
    known.note(("i", "a", False), 7, 0.0011)
    assert known.fast_lsn(("i", "a", False)) is None
    for name in "abcd":
        known.note(("i", name, False), 1, 0.0)
    assert [known.fast_lsn(("i", name, False)) for name in "abcd"] == [None, None, None, 1]


async def searches(engine: SqliteEngine, count: int) -> None:
    first = await engine.query("docs", "a", PLAIN)
    for _ in range(count):
        assert await engine.query("docs", "a", PLAIN) == first


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.EAGAIN, errno.EIO])
async def test_a_file_that_cannot_be_read_without_waiting_costs_no_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fails(*_: Any) -> int:
        raise OSError(code, os.strerror(code))

    engine = await filled(tmp_path)
    await searches(engine, 1)
    monkeypatch.setattr("os.preadv", fails)
    before = len(os.listdir("/proc/self/fd"))
    await searches(engine, 50)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    await engine.close()


async def test_a_link_in_the_data_folder_is_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "indexes").symlink_to(elsewhere)
    engine = await filled(tmp_path / "data")
    before = len(os.listdir("/proc/self/fd"))
    await searches(engine, 5)
    await engine.close()
    assert len(os.listdir("/proc/self/fd")) < before
