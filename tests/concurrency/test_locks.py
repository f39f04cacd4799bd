"""Locks by name."""

import asyncio
import gc

import pytest
from pinyon.concurrency.locks import NamedLocks

pytestmark = pytest.mark.anyio


async def test_who_wants_one_name_waits_and_who_wants_another_does_not() -> None:
    locks, order = NamedLocks(), list[str]()

    async def second() -> None:
        async with locks.of("a"):
            order.append("second")

    async with locks.of("a"):
        waiting = asyncio.ensure_future(second())
        await asyncio.sleep(0)
        async with locks.of("b"):
            order.append("another")
        order.append("first")
    await waiting
    assert order == ["another", "first", "second"]


async def test_a_lock_that_nobody_holds_is_freed() -> None:
    locks = NamedLocks()
    async with locks.of("a"):
        assert len(locks) == 1
    gc.collect()
    assert len(locks) == 0


async def test_all_released_waits_for_holders_and_for_who_waits() -> None:
    locks, release, order = NamedLocks(), asyncio.Event(), list[str]()

    async def hold(name: str) -> None:
        async with locks.of("a"):
            await release.wait()
            order.append(name)

    holders = [asyncio.ensure_future(hold(name)) for name in ("first", "second")]
    await asyncio.sleep(0)
    ending = asyncio.ensure_future(locks.all_released())
    await asyncio.sleep(0)
    assert not ending.done()
    release.set()
    await ending
    assert order == ["first", "second"]
    await asyncio.gather(*holders)
