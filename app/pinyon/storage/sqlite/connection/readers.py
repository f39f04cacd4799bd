"""The threads that read from a file. Each has its own connection, which it opens when it first needs it.

A thread gives its result directly to the waiting event loop. That takes two thirds of the time that concurrent.futures
with asyncio.wrap_future takes.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import apsw

from pinyon.storage.sqlite.transaction import Transaction

T = TypeVar("T")
Job = tuple[Callable[[apsw.Connection], Any], "asyncio.Future[Any]"]
"""A function, and the future of its result."""


class Readers:
    """Runs functions, each on one snapshot. Call run() from one event loop only. Call close() at the end."""

    def __init__(self, connect: Callable[[], apsw.Connection], count: int, name: str) -> None:
        """count: the most threads. A thread is started only when all others are busy."""
        self._connect, self._count, self._name = connect, count, name
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def run(self, function: Callable[[apsw.Connection], T]) -> "asyncio.Future[T]":
        """Run the function on a thread. If the future is cancelled first, the function is not run."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._busy += 1
        if self._busy > len(self._threads) < self._count:
            self._threads.append(
                threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}", daemon=True)
            )
            self._threads[-1].start()
        self._jobs.put((function, answer))
        return answer

    def close(self) -> None:
        """Run all submitted functions, then end the threads and close their connections."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        connection: apsw.Connection | None = None
        while (job := self._jobs.get()) is not None:
            function, answer = job
            result: Any = None
            failure: BaseException | None = None
            if not answer.cancelled():
                try:
                    if connection is None:
                        connection = self._connect()
                    with Transaction(connection, "DEFERRED"):
                        result = function(connection)
                except BaseException as error:
                    failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
                answer.get_loop().call_soon_threadsafe(self._deliver, answer, result, failure)
            del job, function, answer, result, failure
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.close()

    def _deliver(self, answer: "asyncio.Future[T]", result: T, failure: BaseException | None) -> None:
        """Complete the future. Runs on the event-loop thread."""
        self._busy -= 1
        if answer.cancelled():
            return
        if failure is None:
            answer.set_result(result)
        else:
            answer.set_exception(failure)
