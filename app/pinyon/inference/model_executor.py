"""The thread that computes models. It computes work in short steps, and chooses after each step whose turn it is.

A single step already uses every core. Searches go before passages and reranks, which keep a share of the time. Among
equals, those come first that have waited longest and that have computed least. So a short request never waits for the
end of a long one. The work of callers who have left is dropped before its next step.
"""

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, Literal, Protocol, TypeVar

from pinyon import metrics
from pinyon.errors import Unavailable
from pinyon.inference.steps import Steps

T = TypeVar("T")
Priority = Literal["query", "passage"]
"""Queries are what a search waits for; everything else has the priority of passages."""
SHARE = 1 / 4
"""The part of the time that work for passages gets at least, while queries wait too."""
MOST_OWED_S = 0.1
"""The time after which a debt to passages, or to queries, is settled."""
MOST_AS_QUERY_S = 0.1
"""Work of a search that has computed for so long is no longer quick. From then on it has the priority of passages."""
MOST_PENALTY_S = 2.0
"""A request that has computed for so long, or longer, comes so many seconds later than a new one."""

log = logging.getLogger("pinyon.models")


class Request(Generic[T]):
    """A request that waits for the model thread, and its future on the event loop, where it is made."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._loop = clock, asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self._loop.create_future()
        self._waits_since, self._computed_s, self._asked = clock(), 0.0, time.perf_counter()

    @property
    def done(self) -> bool:
        """Whether it was answered, or its caller has left."""
        return self.future.done()

    @property
    def due(self) -> float:
        """The request that is due first is the next of its priority. In seconds of the clock."""
        return self._waits_since + min(self._computed_s, MOST_PENALTY_S)

    @property
    def computed_s(self) -> float:
        """Seconds that its steps took."""
        return self._computed_s

    def begin(self) -> None:
        """Note that its first step begins."""
        if not self._computed_s:
            metrics.observe("queue", time.perf_counter() - self._asked)

    def took(self, seconds: float) -> None:
        """Note the end of a step that took so long for this request."""
        self._waits_since = self._clock()
        self._computed_s += max(seconds, 1e-9)

    def answer(self, result: T) -> None:
        """Give the caller a result. Any thread may call it."""
        self._call(lambda: self.future.set_result(result))

    def fail(self, error: BaseException) -> None:
        """Give the caller an error. Any thread may call it."""
        if isinstance(error, MemoryError):
            error = Unavailable("There is not enough memory for this request now; send less at once")
        self._call(lambda: self.future.set_exception(error))

    def _call(self, settle: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            self._loop.call_soon_threadsafe(lambda: None if self.future.done() else settle())


class Work(Protocol):
    """Requests that are computed together. The model thread calls every method; only `waiting` is read elsewhere."""

    @property
    def priority(self) -> Priority: ...

    @property
    def waiting(self) -> int:
        """How many requests wait for their next step."""
        ...

    def due(self) -> float | None:
        """When the first request is due, as Request.due; None if nobody waits."""
        ...

    def step(self) -> None:
        """Compute for at most about a step. Gives errors to the requests and raises none."""
        ...

    def fail(self, error: BaseException) -> None:
        """Give every request that waits this error."""
        ...


class StepsOf(Generic[T]):
    """The work of one request."""

    def __init__(
        self, request: Request[T], begin: Callable[[], Steps[T]], priority: Priority, clock: Callable[[], float]
    ) -> None:
        self._priority: Priority = priority
        self._request, self._begin, self._clock = request, begin, clock
        self._steps: Steps[T] | None = None
        self._running = self._ended = False

    @property
    def priority(self) -> Priority:
        return self._priority if self._request.computed_s < MOST_AS_QUERY_S else "passage"

    @property
    def waiting(self) -> int:
        return 0 if self._running or self._ended or self._request.done else 1

    def due(self) -> float | None:
        return None if self._ended or self._request.done else self._request.due

    def step(self) -> None:
        self._running = True
        begun = self._clock()
        self._request.begin()
        try:
            if self._steps is None:
                self._steps = self._begin()
            next(self._steps)
        except StopIteration as end:
            self._ended = True
            self._request.answer(end.value)
        except BaseException as error:
            self.fail(error)
        self._request.took(self._clock() - begun)
        self._running = False

    def fail(self, error: BaseException) -> None:
        self._ended = True
        self._request.fail(error)


class ModelExecutor:
    """The thread that computes models, and the requests that wait for it. Must be closed.

    max_waiting: requests that may wait. clock: seconds that count up, from any start.
    """

    def __init__(self, max_waiting: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self._max_waiting = clock, max_waiting
        self._work: list[Work] = []
        self._lock = threading.Lock()
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()  # the thread waits for it without the GIL
        self._owed_s = 0.0
        self._stopping = self._closed = False
        self._thread = threading.Thread(target=self._compute, name="models", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[..., T], *arguments: Any, priority: Priority = "query") -> T:
        """function(*arguments) on the model thread, in one step. Raises as run_steps()."""

        def steps() -> Steps[T]:
            yield from ()
            return function(*arguments)

        return await self.run_steps(steps, priority)

    async def run_steps(self, begin: Callable[[], Steps[T]], priority: Priority = "passage") -> T:
        """The result of the steps, which are made and computed on the model thread.

        priority: of its first MOST_AS_QUERY_S seconds; of the rest it is "passage". Raises Unavailable when too many
        requests wait, or when the server is stopping. If the caller is cancelled, no further step is computed.
        """
        self.check_room()
        request = Request[T](self.clock)
        self.submit(StepsOf(request, begin, priority, self.clock))
        return await request.future

    def submit(self, work: Work) -> None:
        """Compute this work from now on, as long as somebody waits for it. It may be submitted again at any time."""
        with self._lock:
            if work not in self._work:
                self._work.append(work)
        self._wakeups.put(None)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        with self._lock:
            return sum(work.waiting for work in self._work)

    def check_room(self) -> None:
        """Raises Unavailable if too many requests wait."""
        if self.waiting >= self._max_waiting:
            raise Unavailable(f"{self._max_waiting} model calls are waiting already; try again shortly")

    def _compute(self) -> None:
        while True:
            work = self._next()
            if work is None:
                if self._closed:
                    return
                self._wakeups.get()
                continue
            if self._stopping:
                work.fail(Unavailable("The server is stopping"))
                continue
            begun, priority = self.clock(), work.priority  # a step may change the priority of the next one
            try:
                work.step()
            except BaseException as error:
                log.exception("model work failed unexpectedly")
                work.fail(error)
            self._settle(priority, self.clock() - begun)

    def _next(self) -> Work | None:
        """The work whose turn it is; None if nobody waits."""
        with self._lock:
            dues = [(due, work) for work in self._work if (due := work.due()) is not None]
            self._work = [work for _, work in dues]
            queries = [row for row in dues if row[1].priority == "query"]
            passages = [row for row in dues if row[1].priority == "passage"]
            if not queries or not passages:
                turn = queries or passages
            else:
                turn = passages if self._owed_s >= MOST_OWED_S else queries
            return min(turn, key=lambda row: row[0])[1] if turn else None

    def _settle(self, priority: Priority, seconds: float) -> None:
        """Account for a step: passages are owed their share of the time that queries took."""
        if priority == "passage":
            owed = self._owed_s - seconds
        elif any(work.priority == "passage" for work in self._work):
            owed = self._owed_s + seconds * SHARE / (1 - SHARE)
        else:
            return
        self._owed_s = min(max(owed, 0.0), MOST_OWED_S)

    def refuse_waiting(self) -> None:
        """Answer every request that waits, now or later, with Unavailable. The running step is computed to its end."""
        self._stopping = True
        self._wakeups.put(None)

    def close(self, grace_s: float) -> None:
        """Refuse the requests that wait and end the thread. Waits at most grace_s seconds for the running step."""
        self._closed = True
        self.refuse_waiting()
        self._thread.join(grace_s)
