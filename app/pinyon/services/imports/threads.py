"""Calls that wait for disks and networks, each on a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def on_thread(call: Callable[[], T]) -> asyncio.Future[T]:
    """Begin a call. Returns its future.

    A program that ends does not wait for the thread, as it would for those of a pool: a web server may never answer.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(answer: T | None, error: BaseException | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is None:
            future.set_result(answer)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        answer, error = None, None
        try:
            answer = call()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            loop.call_soon_threadsafe(finish, answer, error)

    threading.Thread(target=run, name="import", daemon=True).start()
    return future
