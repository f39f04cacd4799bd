"""Runs model calls one after another on one thread. Calls for queries overtake calls for passages, for a while.

A single call already uses every core. The queue is bounded: when it is full, further calls are refused immediately.
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

import msgspec

from pinyon import metrics
from pinyon.errors import Unavailable

T = TypeVar("T")
QUERY = 0.0
"""Priority of calls that somebody waits for: they are due when they are made."""
PASSAGE = 0.1
"""Priority of other calls: they are due this many seconds later, and not last, so that they always get their turn."""


class Job(msgspec.Struct, frozen=True, order=True):
    """A call in the queue; the one that is due first runs first, and of two the one that was made first.

    due: on the monotonic clock, in seconds; infinity ends the thread. number: how many calls were made before it.
    """

    due: float
    number: int
    run: Callable[[], None] | None


class ModelExecutor:
    """The thread that computes models. Must be closed.

    max_waiting: calls that may wait. clock: seconds that count up, from any start.
    """

    def __init__(self, max_waiting: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_waiting, self._clock = max_waiting, clock
        self._numbers = itertools.count()
        self._jobs: list[Job] = []
        self._lock = threading.Lock()
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()  # one for each job; it waits without the GIL
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="models", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[..., T], *arguments: Any, priority: float = QUERY) -> T:
        """function(*arguments) on the model thread.

        Raises Unavailable when too many calls wait, or when the server is stopping. A call that is cancelled before
        it begins is not computed.
        """
        self.check_room()
        loop, asked = asyncio.get_running_loop(), time.perf_counter()
        future: asyncio.Future[T] = loop.create_future()

        def set_outcome(result: T | None, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]
            else:
                future.set_exception(error)

        def compute() -> None:
            if future.cancelled():
                return
            metrics.observe("queue", time.perf_counter() - asked)
            result: T | None = None
            error: BaseException | None = None
            try:
                if self._stopping:
                    raise Unavailable("The server is stopping")
                result = function(*arguments)
            except MemoryError:
                error = Unavailable("There is not enough memory for this request now; send less at once")
            except BaseException as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for the result
                loop.call_soon_threadsafe(set_outcome, result, error)

        self._put(self._clock() + priority, compute)
        return await future

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._jobs)

    def check_room(self, elsewhere: int = 0) -> None:
        """Raises Unavailable if too many calls wait, together with those that wait elsewhere to be put here."""
        if len(self._jobs) + elsewhere >= self._max_waiting:
            raise Unavailable(f"{self._max_waiting} model calls are waiting already; try again shortly")

    def _put(self, due: float, run: Callable[[], None] | None) -> None:
        with self._lock:
            heapq.heappush(self._jobs, Job(due, next(self._numbers), run))
        self._wakeups.put(None)

    def _work(self) -> None:
        while True:
            self._wakeups.get()
            with self._lock:
                job = heapq.heappop(self._jobs)
            if job.run is None:
                return
            job.run()

    def refuse_waiting(self) -> None:
        """Answer every call that waits, now or later, with Unavailable. The running call goes on."""
        self._stopping = True

    def close(self, grace_s: float) -> None:
        """Refuse the calls that wait and end the thread. Waits at most grace_s seconds for the running call."""
        self.refuse_waiting()
        self._put(math.inf, None)
        self._thread.join(grace_s)
