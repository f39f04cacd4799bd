"""The queue before the model thread."""

import asyncio
import threading

import pytest
from pinyon.errors import InvalidArgument, Unavailable
from pinyon.inference.model_executor import ModelExecutor, Priority, Request, StepsOf
from pinyon.inference.steps import Steps

pytestmark = pytest.mark.anyio


class Gate:
    """A job that waits to be let through."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        self.go.wait(60)
        return "through"


async def test_answers_and_errors_come_back() -> None:
    def refuse() -> None:
        raise InvalidArgument("no")

    executor = ModelExecutor(8)
    assert await executor.run(lambda a, b: a + b, 1, 2) == 3
    with pytest.raises(InvalidArgument, match="no"):
        await executor.run(refuse)
    executor.close(10)


async def test_queries_go_before_passages_that_wait() -> None:
    executor, gate, order = ModelExecutor(8), Gate(), []
    running = asyncio.create_task(executor.run(gate, priority="passage"))
    await asyncio.to_thread(gate.begun.wait)
    waiting = [asyncio.create_task(executor.run(order.append, n, priority="passage")) for n in ("p1", "p2")]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(executor.run(order.append, "q", priority="query")))
    await asyncio.sleep(0)
    gate.go.set()
    await asyncio.gather(running, *waiting)
    assert order == ["q", "p1", "p2"]
    executor.close(10)


class Work:
    """Requests whose steps take 50 ms each on a clock of their own, and the order in which they were computed."""

    def __init__(self, max_waiting: int = 8) -> None:
        self.now, self.order, self.gate = 100.0, list[str](), Gate()
        self.executor = ModelExecutor(max_waiting, clock=lambda: self.now)

    def steps(self, name: str, count: int) -> Steps[str]:
        for _ in range(count - 1):
            self.compute(name)
            yield
        self.compute(name)
        return name

    def compute(self, name: str) -> None:
        self.order.append(name)
        self.now += 0.05

    def start(self, name: str, count: int, priority: Priority = "passage") -> "asyncio.Task[str]":
        return asyncio.create_task(self.executor.run_steps(lambda: self.steps(name, count), priority))

    async def hold(self) -> "asyncio.Task[str]":
        """Occupy the thread until the gate is opened."""
        running = asyncio.create_task(self.executor.run(self.gate))
        await asyncio.to_thread(self.gate.begun.wait)
        return running

    async def finish(self, *tasks: "asyncio.Task[str]") -> list[str]:
        await asyncio.sleep(0)
        self.gate.go.set()
        answers = await asyncio.gather(*tasks)
        self.executor.close(10)
        return answers


async def test_requests_of_equal_priority_take_turns() -> None:
    work = Work()
    tasks = [await work.hold(), work.start("a", 3), work.start("b", 3)]
    assert await work.finish(*tasks) == ["through", "a", "b"]
    assert work.order == ["a", "b", "a", "b", "a", "b"]


async def test_a_short_request_goes_before_the_next_steps_of_long_ones() -> None:
    work = Work()
    begun, long = asyncio.Event(), list[asyncio.Task[str]]()
    loop = asyncio.get_running_loop()

    def steps(name: str) -> Steps[str]:
        for count in range(20):
            work.compute(name)
            if count == 5:
                loop.call_soon_threadsafe(begun.set)
                assert work.gate.go.wait(60)
            yield
        return name

    for name in ("long 1", "long 2", "long 3"):
        long.append(asyncio.create_task(work.executor.run_steps(lambda name=name: steps(name))))  # type: ignore[misc]
    await begun.wait()
    short = work.start("short", 1)
    await asyncio.sleep(0)
    before = len(work.order)
    await work.finish(short, *long)
    assert work.order[before] == "short", "the step that ran has ended, and no other went before"
    assert len(work.order) == 61


async def test_passages_have_their_share_while_queries_never_end() -> None:
    work = Work(100)
    tasks = [await work.hold(), work.start("p", 5), *(work.start("q", 1, "query") for _ in range(40))]
    await work.finish(*tasks)
    shares = [work.order[:at].count("p") for at in (20, 8, 2)]
    assert shares == [4, 1, 0], "about a quarter of the steps, after some queries"


async def test_work_of_a_search_that_is_not_quick_gets_the_priority_of_passages() -> None:
    now = 0.0

    def steps() -> Steps[None]:
        nonlocal now
        while True:
            now += 0.06
            yield

    work = StepsOf(Request[None](lambda: now), steps, "query", lambda: now)
    priorities = []
    for _ in range(4):
        priorities.append(work.priority)
        work.step()
    assert priorities == ["query", "query", "passage", "passage"]


async def test_the_time_that_passages_took_while_no_query_came_is_not_held_against_them_for_ever() -> None:
    work = Work(100)
    tasks = [await work.hold(), work.start("p", 40)]
    await work.finish(*tasks)
    assert work.order == ["p"] * 40


async def test_a_caller_that_leaves_stops_its_request_at_the_next_step() -> None:
    executor, computed, gate = ModelExecutor(8), list[int](), Gate()

    def steps() -> Steps[None]:
        for n in range(1000):
            computed.append(n)
            gate()
            yield
        return None

    task = asyncio.create_task(executor.run_steps(steps))
    await asyncio.to_thread(gate.begun.wait)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    gate.go.set()
    assert await executor.run(lambda: "next", priority="passage") == "next"
    assert computed == [0]
    executor.close(10)


async def test_an_error_in_a_later_step_ends_its_own_request_only() -> None:
    executor = ModelExecutor(8)

    def steps(fails: bool) -> Steps[str]:
        yield
        if fails:
            raise InvalidArgument("no")
        yield
        return "done"

    answers = await asyncio.gather(
        *(executor.run_steps(lambda fails=fails: steps(fails)) for fails in (True, False)),  # type: ignore[misc]
        return_exceptions=True,
    )
    assert isinstance(answers[0], InvalidArgument)
    assert answers[1] == "done"
    assert await executor.run(lambda: 3) == 3
    executor.close(10)


async def test_memory_that_is_missing_refuses_one_request() -> None:
    executor = ModelExecutor(8)

    def compute() -> None:
        raise MemoryError

    with pytest.raises(Unavailable, match="send less at once"):
        await executor.run(compute)
    assert await executor.run(lambda: 3) == 3
    executor.close(10)


async def test_a_full_queue_answers_later_at_once() -> None:
    executor, gate = ModelExecutor(1), Gate()
    running = asyncio.create_task(executor.run(gate))
    await asyncio.to_thread(gate.begun.wait)
    waiting = asyncio.create_task(executor.run(lambda: None))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="1 model calls are waiting"):
        await executor.run(lambda: None)
    gate.go.set()
    assert await running == "through"
    await waiting
    executor.close(10)


async def test_a_caller_that_went_away_is_not_computed_for() -> None:
    executor, gate, computed = ModelExecutor(8), Gate(), []
    running = asyncio.create_task(executor.run(gate))
    await asyncio.to_thread(gate.begun.wait)
    gone = asyncio.create_task(executor.run(computed.append, "gone"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    gate.go.set()
    await running
    await executor.run(computed.append, "here")
    assert computed == ["here"]
    executor.close(10)


async def test_at_the_end_what_waits_is_refused_and_what_runs_goes_on() -> None:
    executor, gate = ModelExecutor(8), Gate()
    running = asyncio.create_task(executor.run(gate))
    await asyncio.to_thread(gate.begun.wait)
    waiting = asyncio.create_task(executor.run(lambda: None))
    await asyncio.sleep(0)
    executor.refuse_waiting()
    gate.go.set()
    assert await running == "through"
    with pytest.raises(Unavailable, match="stopping"):
        await waiting
    executor.close(10)


async def test_the_end_does_not_wait_longer_than_it_was_told() -> None:
    executor, gate = ModelExecutor(8), Gate()
    running = asyncio.create_task(executor.run(gate))
    await asyncio.to_thread(gate.begun.wait)
    executor.close(0.01)
    gate.go.set()
    assert await running == "through"
