"""What takes long with one index holds up no other; and an index may go while there is work queued for it."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pinyon.domain import Handle, IndexDetails, IndexSpec, QueryPlan, Record, Selection, UpdatePlan
from pinyon.errors import NotFound
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.ivf.ivf_index import Builder
from pinyon.storage.sqlite.options import Tuning
from pinyon.storage.sqlite.records import writing
from pinyon.storage.sqlite.upkeep import compaction
from pinyon.storage.sqlite.upkeep.scheduler import UpkeepScheduler

from tests.running import GIVEN_UP_S

pytestmark = pytest.mark.anyio
VECTORS = np.random.default_rng(3).standard_normal((400, 8)).astype(np.float32)


class Gate:
    """Holds whatever comes through it, on any thread, until it is opened."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()
        self.passed = 0

    def hold(self, *_: Any) -> None:
        self.passed += 1
        self._reached.set()
        assert self._opened.wait(3 * GIVEN_UP_S), "a test forgot its gate"

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def held(*arguments: Any, **more: Any) -> Any:
            self.hold()
            return function(*arguments, **more)

        return held

    def open(self) -> None:
        self._opened.set()

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, GIVEN_UP_S), "nothing came to the gate"


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def spec(name: str) -> IndexSpec:
    return IndexSpec(name, 8, "cosine")


def records(count: int = 20) -> list[Record]:
    return [Record(f"r{n}", VECTORS[n], {"n": n}) for n in range(count)]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    """With three indexes; whatever has 300 records gets an inverted file."""
    engine = await SqliteEngine.open_folder(
        tmp_path / "data", readers=2, mmap_bytes=0, approximate_from=300, tuning=Tuning(quiet_s=0)
    )
    for name in ("one", "two", "three"):
        await engine.create_index(spec(name))
        await engine.upsert(name, "a", records())
    yield engine
    await engine.close()


async def soon(answer: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(answer, GIVEN_UP_S)


async def everything_else_goes_on(engine: SqliteEngine) -> None:
    """Every operation that the other indexes know."""
    await soon(engine.upsert("two", "a", records(30)))
    assert len((await soon(engine.query("two", "a", QueryPlan(50, VECTORS[0])))).matches) == 30
    await soon(engine.update("two", "a", UpdatePlan(Selection(ids=["r0"]), metadata={"m": 1})))
    tagged = IndexDetails(tags={"a": "b"})
    await soon(engine.configure_index(msgspec.structs.replace(engine.index("two"), details=tagged)))
    await soon(engine.compact("two"))
    await soon(engine.create_index(spec("four")))
    await soon(engine.delete_index("three"))
    assert {"two", "four"} <= {index.name for index in engine.indexes()}


@asynccontextmanager
async def held(engine: SqliteEngine, what: Awaitable[Any], gate: Gate) -> AsyncIterator[None]:
    """While this is being done, and cannot go on."""
    task = asyncio.ensure_future(what)
    await gate.reached()
    try:
        yield
    finally:
        gate.open()
        await soon(asyncio.gather(task, return_exceptions=True))


async def test_an_index_that_is_compacted_holds_up_no_other(
    engine: SqliteEngine, tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink, path = compaction.shrink, str(tmp_path / "data" / "indexes" / "one.sqlite")

    def slowly(connection: Any) -> None:
        if connection.filename == path:
            gate.hold()
        shrink(connection)

    monkeypatch.setattr(compaction, "shrink", slowly)
    async with held(engine, engine.compact("one"), gate):
        await everything_else_goes_on(engine)


async def test_an_index_that_is_deleted_while_it_is_written_to_holds_up_no_other(
    engine: SqliteEngine, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert = writing.upsert

    def slowly(connection: Any, spec: IndexSpec, *more: Any, **named: Any) -> int:
        if spec.name == "one":
            gate.hold()
        return upsert(connection, spec, *more, **named)

    monkeypatch.setattr(writing, "upsert", slowly)
    async with held(engine, engine.upsert("one", "a", records()), gate):
        deleting = asyncio.ensure_future(engine.delete_index("one"))
        for _ in range(20):
            await asyncio.sleep(0)
        await everything_else_goes_on(engine)
    await soon(deleting)
    assert "one" not in {index.name for index in engine.indexes()}


async def test_an_index_whose_inverted_file_is_built_holds_up_no_other_and_is_not_interrupted(
    engine: SqliteEngine, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Builder, "train", gate.before(Builder.train))
    async with held(engine, engine.upsert("one", "large", records(400)), gate):
        await everything_else_goes_on(engine)
    await soon(engine.upkeep_done())
    assert gate.passed == 1, "what was built is not thrown away because another index went"
    assert (await engine.query("one", "large", QueryPlan(5, VECTORS[0]))).approximate


async def test_an_index_that_is_changed_as_a_whole_holds_up_no_other(
    engine: SqliteEngine, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinyon.storage.sqlite.records import reembedding

    monkeypatch.setattr(reembedding, "switch", gate.before(reembedding.switch))
    async with held(engine, engine.finish_reembedding("one"), gate):
        await everything_else_goes_on(engine)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Warnings and errors in the log so far."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_index_goes_silently_while_an_inverted_file_is_built_for_it(
    engine: SqliteEngine, gate: Gate, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(Builder, "train", gate.before(Builder.train))
    await engine.upsert("one", "large", records(400))
    await gate.reached()
    deleting = asyncio.ensure_future(engine.delete_index("one"))
    for _ in range(20):
        await asyncio.sleep(0)
    gate.open()
    await soon(deleting)
    await soon(engine.upkeep_done())
    assert said() == []


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 21, 34])
async def test_an_index_goes_silently_whatever_is_queued_for_it(
    engine: SqliteEngine, said: Callable[[], list[str]], steps: int
) -> None:
    async def write(n: int) -> None:
        await engine.upsert("one", f"ns{n % 3}", records(350))

    async def ask() -> None:
        await engine.query("one", "a", QueryPlan(5, VECTORS[0]))

    tasks = [asyncio.ensure_future(one) for n in range(12) for one in (write(n), ask())]
    for _ in range(steps):
        await asyncio.sleep(0)
    await soon(engine.delete_index("one"))
    done = await soon(asyncio.gather(*tasks, return_exceptions=True))
    assert {type(one) for one in done} <= {type(None), NotFound}
    await soon(engine.upkeep_done())
    assert said() == []
    await soon(engine.create_index(spec("one")))
    assert (await engine.query("one", "a", QueryPlan(5, VECTORS[0]))).matches == []


async def test_what_is_interrupted_for_an_index_that_goes_is_not_taken_up_again(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    begun, seen = asyncio.Event(), list[str]()
    maintain = UpkeepScheduler._maintain

    async def long(self: Any, database: Any, handle: Handle, *more: Any) -> None:
        seen.append(handle.name)
        if seen == ["one"]:
            begun.set()
            await asyncio.Event().wait()
        await maintain(self, database, handle, *more)

    monkeypatch.setattr(UpkeepScheduler, "_maintain", long)
    await engine.upkeep_done()
    seen.clear()
    await engine.upsert("one", "a", records())
    await soon(begun.wait())
    await soon(engine.delete_index("one"))
    await soon(engine.upkeep_done())
    assert seen == ["one"]
    assert said() == []
