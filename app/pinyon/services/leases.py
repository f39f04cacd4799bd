"""Work that one process at a time does, with a lease that is renewed meanwhile."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from pinyon.domain import Lease
from pinyon.errors import LeaseLost, PinyonError
from pinyon.storage.engine import Engine

LEASE_S = 15.0
"""A process that says nothing for so many seconds has lost its jobs."""
RENEWED_EVERY_S = 4.0

log = logging.getLogger("pinyon.jobs")


async def work_with_lease(engine: Engine, lease: Lease, work: Coroutine[Any, Any, None]) -> bool:
    """Do work with a lease that the caller has taken. Returns False if the lease was lost; then the work is cancelled.

    At the end the lease is released. If the work was not done, the lease expires instead, so that others find it.
    """
    working = asyncio.ensure_future(work)
    is_done = False
    try:
        async with renewed(engine, lease) as renewing:
            await asyncio.wait([working, renewing], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                with suppress(LeaseLost):
                    await working
                    is_done = True
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await _give_back(engine, lease, is_done)
    return is_done


@asynccontextmanager
async def renewed(engine: Engine, lease: Lease) -> "AsyncIterator[asyncio.Task[None]]":
    """Renew a lease during a block. Gives the task that does it, which ends if the lease is lost."""
    renewing = asyncio.create_task(_renew(engine, lease))
    try:
        yield renewing
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


async def _renew(engine: Engine, lease: Lease) -> None:
    while True:
        await asyncio.sleep(RENEWED_EVERY_S)
        try:
            if not await engine.take_lease(lease, LEASE_S):
                log.warning("the lease %s was lost", lease.name)
                return
        except PinyonError as error:  # the next time may be in time
            log.warning("the lease %s cannot be renewed: %s", lease.name, error.message)


async def _give_back(engine: Engine, lease: Lease, is_done: bool) -> None:
    try:
        if is_done:
            await engine.release_lease(lease)
        else:
            await engine.take_lease(lease, 0)
    except PinyonError as error:  # it expires
        log.info("the lease %s cannot be given back: %s", lease.name, error.message)
