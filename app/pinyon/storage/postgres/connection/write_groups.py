"""Lets waiting writes to an index share a commit, because each commit waits for the disk.

Waiting writes that do the same with different items, such as upserts of single records, become one write: the server
then runs a dozen statements for all of them, and not for each.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from pinyon.storage.postgres.connection.database import Connection, Database
from pinyon.storage.postgres.connection.database_errors import translated

T = TypeVar("T")
Item = TypeVar("Item")
MOST_ITEMS = 1_000
"""Items that share a commit. Writes of other processes to the index wait for as long as it takes."""


class Job(msgspec.Struct, frozen=True):
    """A write of items, and what its caller waits for. key: equal for writes that may become one; None: alone."""

    write: Callable[[Connection, Sequence[Any]], Awaitable[Any]]
    done: "asyncio.Future[Any]"
    items: Sequence[Any] = ()
    key: Hashable | None = None


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
        return await self.run_joined(lambda connection, _: write(connection), (), None)

    async def run_joined(
        self,
        write: Callable[[Connection, Sequence[Item]], Awaitable[T]],
        items: Sequence[Item],
        key: Hashable | None,
    ) -> T:
        """Like run(), for a write that may be given the items of other writes with the same key too, in their order.

        All of them get its result. If it raises, each is run alone.
        """
        job = Job(write, asyncio.get_running_loop().create_future(), items, key)
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
            group = [job for job in self._next_group() if not job.done.cancelled()]
            if group:
                await self._run_group(group)

    def _next_group(self) -> list[Job]:
        """The next writes that share a commit: at least one, however many items it has."""
        group, items = list[Job](), 0
        while self._waiting and len(group) < self._most:
            items += len(self._waiting[0].items)
            if group and items > MOST_ITEMS:
                break
            group.append(self._waiting.popleft())
        return group

    async def _run_group(self, group: list[Job]) -> None:
        outcomes: list[Any] = []
        try:
            with translated(f"Index {self._name}"):
                async with self._database.transaction(self._schema, "write") as connection:
                    for part in _parts(group):
                        outcomes += await self._run_part(part, connection, alone=len(group) == 1)
        except Exception as error:  # the transaction failed: nothing of the group is stored
            outcomes = [error] * len(group)
        for job, outcome in zip(group, outcomes, strict=True):
            if job.done.cancelled():
                continue
            if isinstance(outcome, Exception):
                job.done.set_exception(outcome)
            else:
                job.done.set_result(outcome)

    async def _run_part(self, part: list[Job], connection: Connection, alone: bool) -> list[Any]:
        """What each write returns, or the error that it raised. Raises errors of the connection, which fail all."""
        if alone:
            return [await part[0].write(connection, part[0].items)]
        if len(part) > 1:
            outcome = await self._attempt(part[0], connection, [item for job in part for item in job.items])
            if not isinstance(outcome, Exception):
                return [outcome] * len(part)
        return [await self._attempt(job, connection, job.items) for job in part]

    async def _attempt(self, job: Job, connection: Connection, items: Sequence[Any]) -> Any:
        try:
            async with connection.transaction():  # a savepoint
                with translated(f"Index {self._name}"):
                    return await job.write(connection, items)
        except Exception as error:
            if connection.closed or connection.broken:
                raise
            return error


def _parts(group: Sequence[Job]) -> Iterator[list[Job]]:
    """The writes in their order. Neighbours that may become one write are in one list."""
    part: list[Job] = []
    for job in group:
        if part and (job.key is None or job.key != part[0].key):
            yield part
            part = []
        part.append(job)
    if part:
        yield part
