"""How long a connection waits for the server."""

import asyncio

import psycopg
import pytest
from pinyon.storage.postgres.connection.bounded_connection import BoundedConnection

from tests.postgres.shared_server import shared

pytestmark = pytest.mark.anyio


async def test_an_answer_that_came_while_the_event_loop_was_busy_is_read() -> None:
    dsn = shared().dsn
    async with await BoundedConnection.connect(dsn) as connection:
        connection.answer_within_s = 0.1
        answer = asyncio.create_task(connection.execute("SELECT 1"))
        while connection.pgconn.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
            await asyncio.sleep(0)
        with psycopg.connect(dsn) as blocking:
            blocking.execute("SELECT pg_sleep(0.3)")  # nothing else runs on the event loop meanwhile
        assert await (await answer).fetchone() == (1,)


async def test_a_server_that_does_not_answer_in_time_loses_the_connection() -> None:
    async with await BoundedConnection.connect(shared().dsn) as connection:
        connection.answer_within_s = 0.1
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT pg_sleep(600)")
        assert connection.is_abandoned
