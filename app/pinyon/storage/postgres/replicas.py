"""Reads on streaming replicas of the database.

A replica shows the last write that it has of each index. So whether it is up to date is decided in the very snapshot
that answers.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec
import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from pinyon.concurrency.cancellation import cancel
from pinyon.errors import EmbeddingMismatch, NotFound
from pinyon.storage.postgres.connection.database import Connection, Database

T = TypeVar("T")
ASKED_AGAIN_S = 0.01
"""A replica that is behind is asked again after so long."""
TRIED_AGAIN_S = 1.0
"""A replica that did not answer is tried again after so long, in the background."""
OF_THE_STATEMENT = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
)
"""Operational errors that say nothing about the server. A replica ends reads that are in the way of its replay."""

log = logging.getLogger("pinyon.storage")


class ReplicaBehind(Exception):
    """The replica lacks a write that the read must see."""


class NoReplica(Exception):
    """No replica can answer: the primary must."""


class Replica(msgspec.Struct, eq=False):
    """A replica. is_used: whether it answered when it was asked last. retry: tries it again until it does."""

    database: Database
    is_used: bool = False
    retry: "asyncio.Task[None] | None" = None


class Replicas:
    """Call open() first and close() at the end. Call from the event-loop thread only.

    wait_s: how long a read waits for a replica that is behind.
    """

    def __init__(self, databases: Sequence[Database], wait_s: float) -> None:
        self._replicas, self._wait_s, self._turn = [Replica(database) for database in databases], wait_s, 0

    def __bool__(self) -> bool:
        return bool(self._replicas)

    @property
    def used(self) -> int:
        """How many replicas answer."""
        return sum(replica.is_used for replica in self._replicas)

    async def open(self, path: Sequence[str]) -> None:
        """Begin to connect. Does not wait. path: as Database has it."""
        for replica in self._replicas:
            replica.database.path = list(path)
            await replica.database.open()
            self._try_again(replica)

    async def close(self) -> None:
        """Close all connections."""
        for replica in self._replicas:
            if replica.retry is not None:
                await cancel(replica.retry)
            await replica.database.close()

    async def read(self, schema: str, attempt: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a read in a transaction on a replica. Raises NoReplica.

        attempt: raises ReplicaBehind if what it sees is too old.
        """
        deadline = time.monotonic() + self._wait_s
        while True:
            is_behind = False
            for replica in self._in_turn():
                try:
                    async with replica.database.transaction(schema) as connection:
                        return await attempt(connection)
                except (ReplicaBehind, errors.UndefinedTable, errors.InvalidSchemaName):
                    is_behind = True
                except (NotFound, EmbeddingMismatch) as error:  # the primary may know better
                    raise NoReplica from error
                except psycopg.Error as error:
                    self._failed(replica, error)
            if not is_behind or time.monotonic() >= deadline:
                raise NoReplica
            await asyncio.sleep(ASKED_AGAIN_S)

    def _in_turn(self) -> list[Replica]:
        """The replicas that answer, each time beginning with the next one."""
        self._turn += 1
        used = [replica for replica in self._replicas if replica.is_used]
        first = self._turn % len(used) if used else 0
        return used[first:] + used[:first]

    def _failed(self, replica: Replica, error: psycopg.Error) -> None:
        """Leave a replica out if it does not answer. Raises the error if others would take as long."""
        if isinstance(error, errors.QueryCanceled):
            raise error
        is_lost = isinstance(error, psycopg.OperationalError) and not isinstance(error, OF_THE_STATEMENT)
        if is_lost and replica.is_used:
            replica.is_used = False
            if not isinstance(error, PoolTimeout):  # perhaps it only has much to do, and is back at once
                log.warning("a replica is left out until it answers again: %s", str(error).strip().partition("\n")[0])
                replica.database.abandon()
            self._try_again(replica)

    def _try_again(self, replica: Replica) -> None:
        replica.retry = asyncio.create_task(self._until_it_answers(replica))

    async def _until_it_answers(self, replica: Replica) -> None:
        is_logged = False
        while True:
            try:
                async with await replica.database.connect() as connection:
                    await connection.execute("SELECT 1")
                await replica.database.replace_lost()
            except psycopg.Error as error:
                log.log(logging.DEBUG if is_logged else logging.INFO, "a replica does not answer: %s", error)
                is_logged = True
                await asyncio.sleep(TRIED_AGAIN_S)
            else:
                replica.is_used = True
                log.info("a replica answers, and is used for reads")
                return
