"""Model calls from many requests, one after another on one thread; queries go before passages, for a while.

One call at a time already uses every core. The queue is bounded: when it is full the answer is "later", at once.
"""

import asyncio
import contextlib
import heapq
import itertools
import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pinyon import metrics
from pinyon.errors import Unavailable

T = TypeVar("T")
QUERY, PASSAGE = 0.0, 0.1
"""Lanes: seconds for which calls let those go first that came later. Not for ever, or passages would starve."""
STOP = math.inf
Job = tuple[float, int, Callable[[], None]]
"""When it is its turn, its number, and what to do."""


class Batcher:
    """The thread that computes. Must be closed."""

    def __init__(self, longest_queue: int) -> None:
        self._longest = longest_queue
        self._order = itertools.count()
        self._jobs: list[Job] = []
        self._lock = threading.Lock()
        self._there: queue.SimpleQueue[None] = queue.SimpleQueue()  # one for each job; its waiting is not in Python
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="models", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[..., T], *arguments: Any, lane: float = QUERY) -> T:
        """function(*arguments) on the model thread.

        Raises Unavailable when too many calls wait already, or the server is stopping. A call that was cancelled
        before it began is not computed.
        """
        self.check_room()
        loop, asked = asyncio.get_running_loop(), time.perf_counter()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if answer.cancelled():
                return
            if error is None:
                answer.set_result(result)  # type: ignore[arg-type]
            else:
                answer.set_exception(error)

        def job() -> None:
            if answer.cancelled():
                return
            metrics.observe("queue", time.perf_counter() - asked)
            result: T | None = None
            error: BaseException | None = None
            try:
                if self._stopping:
                    raise Unavailable("The server is stopping")
                result = function(*arguments)
            except MemoryError:
                error = Unavailable("There is not enough memory for this now; send less at once")
            except BaseException as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for the answer
                loop.call_soon_threadsafe(settle, result, error)

        self._put(time.monotonic() + lane, job)
        return await answer

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._jobs)

    def check_room(self, elsewhere: int = 0) -> None:
        """Raises Unavailable if too many calls wait, with those that wait elsewhere to be put here."""
        if len(self._jobs) + elsewhere >= self._longest:
            raise Unavailable(f"{self._longest} model calls are waiting already; try again shortly")

    def _put(self, turn: float, run: Callable[[], None]) -> None:
        with self._lock:
            heapq.heappush(self._jobs, (turn, next(self._order), run))
        self._there.put(None)

    def _work(self) -> None:
        while True:
            self._there.get()
            with self._lock:
                turn, _, job = heapq.heappop(self._jobs)
            if turn == STOP:
                return
            job()

    def refuse_waiting(self) -> None:
        """Answer every call that waits, now or later, with Unavailable; the one being computed goes on."""
        self._stopping = True

    def close(self, grace_s: float) -> None:
        """Refuse what waits, and end the thread; a call that is not done in time is left behind."""
        self.refuse_waiting()
        self._put(STOP, lambda: None)
        self._thread.join(grace_s)
