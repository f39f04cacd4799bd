"""Lets waiting writes to an index share a commit, because each commit waits for the disk."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from pinyon.storage.postgres.connection.database import Connection, Database
from pinyon.storage.postgres.connection.database_errors import translated

T = TypeVar("T")
Write = Callable[[Connection], Awaitable[Any]]


class Job(msgspec.Struct, frozen=True):
    """A write, and what its caller waits for."""

    write: Write
    done: "asyncio.Future[Any]"


class WriteGroups:
    """The writes of one process to one index. Call from the event-loop thread only.

    schema: of the index. most: how many writes may share a commit. A write in a group of several runs in a savepoint,
    so it can fail without the others. A caller gets its result only when the commit is on disk.
    """

    def __init__(self, database: Database, schema: str, most: int, name: str) -> None:
        self._database, self._schema, self._most, self._name = database, schema, most, name
        self._waiting: deque[Job] = deque()
        self._task: asyncio.Task[None] | None = None

    async def run(self, write: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a write in a transaction. It is rolled back if it raises. A write that has begun is not cancelled."""
        job = Job(write, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        result: T = await job.done
        return result

    async def idle(self) -> None:
        """Wait until no write waits or runs."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            group = [job for job in group if not job.done.cancelled()]
            if group:
                await self._run_group(group)

    async def _run_group(self, group: list[Job]) -> None:
        outcomes: list[Any] = []
        try:
            with translated(f"Index {self._name}"):
                async with self._database.transaction(self._schema, "write") as connection:
                    for job in group:
                        outcomes.append(await self._run_job(job, connection, alone=len(group) == 1))
        except Exception as error:  # the transaction failed: nothing of the group is stored
            outcomes = [error] * len(group)
        for job, outcome in zip(group, outcomes, strict=True):
            if job.done.cancelled():
                continue
            if isinstance(outcome, Exception):
                job.done.set_exception(outcome)
            else:
                job.done.set_result(outcome)

    async def _run_job(self, job: Job, connection: Connection, alone: bool) -> Any:
        """What the write returns, or the error that it raised. Raises errors of the connection, which fail all."""
        if alone:
            return await job.write(connection)
        try:
            async with connection.transaction():  # a savepoint
                with translated(f"Index {self._name}"):
                    return await job.write(connection)
        except Exception as error:
            if connection.closed or connection.broken:
                raise
            return error
