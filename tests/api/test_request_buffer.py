"""Requests are read whole, and what handles them is ended when their callers hang up, and only then."""

import asyncio
from typing import Any

import pytest
from pinyon.api.request_buffer import WATCH_AFTER_S, RequestBuffer

pytestmark = pytest.mark.anyio

SCOPE = {"type": "http", "method": "POST", "path": "/", "headers": []}
GONE = {"type": "http.disconnect"}


class Connection:
    """What a server gives an application: messages that arrive, and what was sent."""

    def __init__(self, *arrived: dict[str, Any]) -> None:
        self.queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for message in arrived:
            self.queue.put_nowait(message)
        self.sent: list[Any] = []

    async def send(self, message: Any) -> None:
        self.sent.append(message)


def body(part: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": part, "more_body": more}


async def run(app: Any, connection: Connection, watch_after_s: float = WATCH_AFTER_S) -> None:
    await RequestBuffer(app, lambda _: 100, watch_after_s=watch_after_s)(SCOPE, connection.queue.get, connection.send)


async def test_a_body_in_parts_arrives_as_one(anyio_backend: str) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())

    await run(app, Connection(body(b"ab", more=True), body(b"c")))
    assert seen == [body(b"abc")]


async def test_a_caller_that_hangs_up_ends_what_handles_the_request(anyio_backend: str) -> None:
    connection, ended = Connection(body(b"")), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connection.queue.put_nowait(GONE)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(run(app, connection))
    await asyncio.wait_for(task, 60)
    assert ended.is_set()
    assert not task.cancelled() and task.cancelling() == 0, "whatever comes after goes on"


@pytest.mark.parametrize("watch_after_s", [0, WATCH_AFTER_S])
async def test_a_caller_that_hangs_up_at_the_end_ends_nothing(anyio_backend: str, watch_after_s: float) -> None:
    """A server says so after every answer, too."""
    connection = Connection(body(b""))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(5):  # until it is looked whether the caller is there, where that is at once
            await asyncio.sleep(0)
        await send("answer")
        connection.queue.put_nowait(GONE)

    async def outside() -> str:
        await run(app, connection, watch_after_s)
        for _ in range(5):
            await asyncio.sleep(0)
        return "went on"

    assert await asyncio.create_task(outside()) == "went on"
    assert connection.sent == ["answer"]


async def test_a_handler_may_wait_for_the_end_of_the_connection(anyio_backend: str) -> None:
    connection, seen = Connection(body(b"")), list[Any]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        connection.queue.put_nowait(GONE)
        try:
            await receive()
        except asyncio.CancelledError:
            seen.append("ended")
            raise

    await run(app, connection)
    assert seen == ["ended"]


async def test_somebody_else_who_ends_it_is_not_overheard(anyio_backend: str) -> None:
    connection = Connection(body(b""))
    begun = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    for hangs_up in (False, True):
        task = asyncio.create_task(run(app, connection))
        await begun.wait()
        if hangs_up:
            connection.queue.put_nowait(GONE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        begun.clear()
        connection.queue.put_nowait(body(b""))


async def test_errors_of_a_handler_are_its_own(anyio_backend: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await run(app, Connection(body(b"")))
