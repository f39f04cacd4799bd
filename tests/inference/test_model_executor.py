"""The queue before the model thread."""

import asyncio
import threading

import pytest
from pinyon.errors import InvalidArgument, Unavailable
from pinyon.inference.model_executor import PASSAGE, QUERY, ModelExecutor

pytestmark = pytest.mark.anyio


class Gate:
    """A job that waits to be let through."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        self.go.wait(10)
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
    running = asyncio.create_task(executor.run(gate, priority=PASSAGE))
    await asyncio.to_thread(gate.begun.wait)
    waiting = [asyncio.create_task(executor.run(order.append, n, priority=PASSAGE)) for n in ("p1", "p2")]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(executor.run(order.append, "q", priority=QUERY)))
    await asyncio.sleep(0)
    gate.go.set()
    await asyncio.gather(running, *waiting)
    assert order == ["q", "p1", "p2"]
    executor.close(10)


async def test_passages_do_not_wait_for_ever_while_queries_come() -> None:
    now = 100.0
    executor, gate, order = ModelExecutor(8, clock=lambda: now), Gate(), []
    waiting = [asyncio.create_task(executor.run(gate))]
    await asyncio.to_thread(gate.begun.wait)
    for name, priority in (("p", PASSAGE), ("q soon", QUERY), ("q later", QUERY)):
        waiting.append(asyncio.create_task(executor.run(order.append, name, priority=priority)))
        await asyncio.sleep(0)
        now += 0.06
    gate.go.set()
    await asyncio.gather(*waiting)
    assert order == ["q soon", "p", "q later"]
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
