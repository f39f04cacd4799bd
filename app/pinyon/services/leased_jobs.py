"""Jobs of indexes, each done by one process at a time. When that process ends, another one takes the job over."""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from uuid import uuid4

from pinyon.domain import Handle, Lease
from pinyon.errors import NotFound, PinyonError, Unavailable
from pinyon.services.leases import LEASE_S, work_with_lease
from pinyon.storage.engine import Engine

TRIED_EVERY_S = 2.0
"""How often a process asks for the lease of a job that another one has."""
LOOKED_EVERY_S = 5.0
"""How often a process looks for jobs that nobody does any more."""

log = logging.getLogger("pinyon.jobs")


class LeasedJobs:
    """One kind of job, of which every index has at most one. Call from the event-loop thread only.

    kind: names the leases. work: does what is to be done for an index, while this process has the lease; it is
    cancelled when the lease is lost. is_wanted: whether there is anything to do for an index.
    """

    def __init__(
        self,
        engine: Engine,
        kind: str,
        work: Callable[[Handle, Lease], Coroutine[Any, Any, None]],
        is_wanted: Callable[[Handle], Awaitable[bool]],
    ) -> None:
        self._engine, self._prefix, self._work, self._is_wanted = engine, f"{kind}/", work, is_wanted
        self._owner = uuid4().hex
        self._tasks: dict[Handle, asyncio.Task[None]] = {}
        self._working: set[Handle] = set()
        self._again: set[Handle] = set()
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Go on with the jobs of all indexes that are not finished, and take over those of processes that end."""
        for index in self._engine.indexes():
            try:
                if await self._is_wanted(index.handle):
                    self.start(index.handle)
            except PinyonError as error:  # the other indexes are not affected
                log.error("the %s of index %s cannot go on: %s", self._prefix[:-1], index.name, error.message)
        self._looking = asyncio.create_task(self._look_on(), context=contextvars.Context())

    async def close(self) -> None:
        """Stop all jobs. Another process may take them over at once, and this one's next start goes on with them."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*(self.stop(handle) for handle in list(self._tasks)))

    async def announce(self, index: Handle) -> None:
        """Call it before a job is stored, so that it is done even if this process ends before it is begun."""
        await self._engine.take_lease(self._lease(index), LEASE_S)

    def start(self, index: Handle) -> None:
        """Do the job of an index as soon as this process has the lease; once more, if it is at it."""
        self._again.add(index)
        if index not in self._tasks or self._tasks[index].done():
            # In an empty context, because the job must not depend on what the caller's API key allows.
            task = asyncio.create_task(self._run(index), context=contextvars.Context())
            self._tasks[index] = task
            task.add_done_callback(lambda _: self._tasks.pop(index) if self._tasks.get(index) is task else None)

    async def stop(self, index: Handle) -> None:
        """Stop the job of an index in this process."""
        task = self._tasks.pop(index, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def is_working(self, index: Handle) -> bool:
        """Whether this process does the job of an index now."""
        return index in self._working

    def _lease(self, index: Handle) -> Lease:
        return Lease(self._prefix + index.id, self._owner)

    async def _run(self, index: Handle) -> None:
        """Do the job, or see that another process has done it."""
        while True:
            self._again.discard(index)
            try:
                if await self._engine.take_lease(self._lease(index), LEASE_S):
                    is_done = await self._work_with_lease(index)
                else:
                    is_done = not await self._is_wanted(index)
                if is_done and index not in self._again:
                    return
                if is_done:
                    continue
            except NotFound:  # the index was deleted
                return
            except Unavailable as error:  # the database does not answer, for example
                log.warning("the %s of index %s waits: %s", self._prefix[:-1], index.name, error.message)
            except PinyonError as error:
                log.error("the %s of index %s stops: %s", self._prefix[:-1], index.name, error.message)
                return
            except Exception:
                log.exception("the %s of index %s stops", self._prefix[:-1], index.name)
                return
            await asyncio.sleep(TRIED_EVERY_S)

    async def _work_with_lease(self, index: Handle) -> bool:
        """Do the job of an index. Returns False if the lease was lost."""
        lease = self._lease(index)
        self._working.add(index)
        try:
            return await work_with_lease(self._engine, lease, self._work(index, lease))
        finally:
            self._working.discard(index)

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOKED_EVERY_S)
            try:
                await self.take_over()
            except PinyonError as error:  # the next look may succeed
                log.info("leases cannot be read: %s", error.message)
            except Exception:
                log.exception("leases cannot be read")

    async def take_over(self) -> None:
        """Start the jobs whose process ended, and forget the leases of those that are not wanted any more."""
        indexes = {index.handle.id: index.handle for index in self._engine.indexes()}
        for name in await self._engine.expired_leases(self._prefix):
            index = indexes.get(name.removeprefix(self._prefix))
            if index in self._tasks:
                continue
            try:
                if index is not None and await self._is_wanted(index):
                    log.info("this process goes on with the %s of index %s", self._prefix[:-1], index.name)
                    self.start(index)
                elif await self._engine.take_lease(lease := Lease(name, self._owner), LEASE_S):
                    await self._engine.release_lease(lease)
            except PinyonError as error:  # the others are not affected
                log.info("whether %s is to be done is not known: %s", name, error.message)
