"""The threads that read: each answer goes to whoever asked, and nothing is read for those who went away."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest
from pinyon.storage.sqlite.connection.readers import Readers

pytestmark = pytest.mark.anyio


@pytest.fixture
def connect(tmp_path: Path) -> Callable[[], apsw.Connection]:
    path = str(tmp_path / "a.sqlite")
    connection = apsw.Connection(path)
    connection.execute("CREATE TABLE t (n); INSERT INTO t VALUES (7)")
    connection.close()
    return lambda: apsw.Connection(path)


@pytest.fixture
async def readers(connect: Callable[[], apsw.Connection]) -> AsyncIterator[Readers]:
    readers = Readers(connect, 2, "test of readers")
    yield readers
    readers.close()


def number(connection: apsw.Connection) -> int:
    return int(connection.execute("SELECT n FROM t").get)


async def test_everyone_gets_the_answer_to_what_was_asked(readers: Readers) -> None:
    answers = await asyncio.gather(*(readers.run(lambda connection, n=n: number(connection) + n) for n in range(50)))
    assert answers == [7 + n for n in range(50)]


async def test_a_failure_goes_to_whoever_asked_and_to_nobody_else(readers: Readers) -> None:
    failing = readers.run(lambda connection: connection.execute("SELECT * FROM nothing").get)
    assert await readers.run(number) == 7
    with pytest.raises(apsw.SQLError, match="nothing"):
        await failing
    assert await readers.run(number) == 7


async def test_each_function_sees_one_snapshot(readers: Readers, connect: Callable[[], apsw.Connection]) -> None:
    assert await readers.run(lambda connection: connection.in_transaction)


def threads() -> list[str]:
    """The names of the threads that read."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("test of readers")]


async def test_threads_are_started_when_there_is_something_for_them_to_do(readers: Readers) -> None:
    assert threads() == []
    for _ in range(5):
        await readers.run(number)
    assert len(threads()) == 1
    both = threading.Barrier(2, timeout=60)
    await asyncio.gather(*(readers.run(lambda _: both.wait()) for _ in range(2)))  # ends only if they run together
    await asyncio.gather(*(readers.run(number) for _ in range(20)))
    assert len(threads()) == 2


async def test_what_nobody_waits_for_any_more_is_not_run(connect: Callable[[], apsw.Connection]) -> None:
    readers, go_on, ran = Readers(connect, 1, "test of readers"), threading.Event(), list[str]()
    first = readers.run(lambda _: go_on.wait(60))
    dropped, kept = (readers.run(lambda _, name=name: ran.append(name)) for name in ("dropped", "kept"))
    dropped.cancel()
    go_on.set()
    await asyncio.gather(first, kept)
    assert ran == ["kept"]
    assert await readers.run(number) == 7
    readers.close()


async def test_a_file_that_cannot_be_opened_now_is_tried_again(connect: Callable[[], apsw.Connection]) -> None:
    fail = [True]

    def sometimes() -> apsw.Connection:
        if fail.pop() if fail else False:
            raise apsw.CantOpenError("not now")
        return connect()

    readers = Readers(sometimes, 1, "test of readers")
    with pytest.raises(apsw.CantOpenError):
        await readers.run(number)
    assert await readers.run(number) == 7
    readers.close()


async def test_closing_waits_for_what_was_asked_for(connect: Callable[[], apsw.Connection]) -> None:
    readers = Readers(connect, 2, "test of readers")
    asked = [readers.run(number) for _ in range(20)]
    await asyncio.to_thread(readers.close)
    assert await asyncio.gather(*asked) == [7] * 20
    assert threads() == []
