"""A replica takes the place of the primary; a server hangs; a commit's answer is lost. Pinyon goes on by itself."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import numpy as np
import psycopg
import pytest
from pinyon.domain import IndexSpec, PagePlan, Record
from pinyon.errors import Unavailable
from pinyon.storage.postgres.connection import database as database_module
from pinyon.storage.postgres.connection.database import CommitUnknown, Database
from pinyon.storage.postgres.connection.database_errors import meaning_of
from pinyon.storage.postgres.engine import PostgresEngine
from pinyon.storage.postgres.options import EngineOptions

from tests.postgres.server import UNSAFE, Server, replica_of, running
from tests.postgres.shared_server import shared

pytestmark = pytest.mark.anyio
T = TypeVar("T")
SPEC = IndexSpec("docs", 2, "cosine")
PATIENCE_S = 120


@asynccontextmanager
async def engine_on(dsn: str, **options: Any) -> AsyncIterator[PostgresEngine]:
    engine = await PostgresEngine.open_database(EngineOptions(dsn, **{"connections": 3, **options}))
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def database_on(server: Server, most: int = 2) -> AsyncIterator[Database]:
    database = Database(server.dsn, most, timeout_s=10)
    database.path = ["public"]
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def record(id: str) -> Record:
    return Record(id, np.array([1, 2], np.float32), {"id": id})


async def ids(engine: PostgresEngine) -> list[str]:
    return [record.id for record in (await engine.page("docs", "a", PagePlan(limit=1000))).records]


async def retried(call: Callable[[], Awaitable[T]]) -> T:
    """What clients do: they repeat a call that was answered with Unavailable."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await call()
            except Unavailable as error:
                assert error.retry_after_s >= 1
                await asyncio.sleep(0.1)


@pytest.fixture
def pair() -> Any:
    with running(**UNSAFE) as primary, replica_of(primary) as replica:
        yield primary, replica


@pytest.mark.slow
async def test_a_promoted_replica_is_found_without_anybodys_help(
    pair: tuple[Server, Server], caplog: pytest.LogCaptureFixture
) -> None:
    primary, replica = pair
    dsn = f"host={primary.folder},{replica.folder} user=postgres dbname=postgres"
    async with engine_on(dsn) as engine:
        await engine.create_index(SPEC)
        await engine.upsert("docs", "a", [record("before")])
        caplog.clear()
        # The standby receives what the primary sent before it ended in good order.
        await asyncio.to_thread(primary.stop)
        for _ in range(3):
            with pytest.raises(Unavailable) as refused:
                await engine.upsert("docs", "a", [record("meanwhile")])
            assert refused.value.retry_after_s >= 1
        await asyncio.to_thread(replica.execute, "SELECT pg_promote()")
        await retried(lambda: engine.upsert("docs", "a", [record("after")]))
        assert await ids(engine) == ["after", "before"]
    warnings = [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING]
    assert len([line for line in warnings if "AdminShutdown" not in line]) == 1, warnings


@pytest.mark.slow
async def test_a_connection_to_a_server_that_takes_no_writes_any_more_is_not_used_again(
    pair: tuple[Server, Server],
) -> None:
    _, replica = pair
    async with database_on(replica) as database:
        async with database.transaction() as connection:
            before = connection.info.backend_pid
        with pytest.raises(psycopg.Error) as refused:
            async with database.transaction(mode="write"):
                pass
        assert isinstance(meaning_of(refused.value, "The index"), Unavailable)
        async with database.transaction() as connection:
            assert connection.info.backend_pid != before


@pytest.mark.slow
async def test_a_server_that_hangs_costs_an_answer_and_is_used_again_when_it_goes_on() -> None:
    with running(**UNSAFE) as server:
        async with engine_on(server.dsn, statement_timeout_s=1.0) as engine:
            await engine.create_index(SPEC)
            await engine.upsert("docs", "a", [record("before")])
            server.signal_all(signal.SIGSTOP)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    with pytest.raises(Unavailable):
                        await ids(engine)
                    with pytest.raises(Unavailable):
                        await engine.create_index(IndexSpec("other", 2, "cosine"))
            finally:
                server.signal_all(signal.SIGCONT)
            assert await retried(lambda: ids(engine)) == ["before"]
            await retried(lambda: engine.upsert("docs", "a", [record("after")]))


@pytest.mark.slow
async def test_who_waits_for_a_connection_gets_one_as_soon_as_the_server_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database_module, "RECONNECTED_FOR_S", 0.0)
    monkeypatch.setattr(database_module, "WAIT_S", 10 * PATIENCE_S)
    with running(**UNSAFE) as server:
        async with engine_on(server.dsn) as engine:
            await engine.create_index(SPEC)
            await engine.upsert("docs", "a", [record("before")])
            await engine.upkeep_done()
            await asyncio.to_thread(server.stop)
            read = asyncio.create_task(ids(engine))
            async with asyncio.timeout(PATIENCE_S):
                while engine.connections() != {"in use": 0, "idle": 0, "waited for": 1}:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(server.start)
                assert await read == ["before"]


async def test_who_waits_for_a_commit_that_was_lost_hears_that_the_write_may_be_stored() -> None:
    async with database_on(shared()) as database:
        with pytest.raises(CommitUnknown) as lost:
            async with database.transaction(mode="write") as connection:
                await connection.execute("SET LOCAL synchronous_commit = on")
                pid = connection.info.backend_pid
                await asyncio.to_thread(shared().execute, f"SELECT pg_terminate_backend({pid}, 10000)")
        meaning = meaning_of(lost.value, "The index")
        assert isinstance(meaning, Unavailable)
        assert "may or may not be stored" in meaning.message
        async with database.transaction() as connection:
            await connection.execute("SELECT 1")


async def test_requests_get_a_free_connection_in_the_order_in_which_they_came() -> None:
    served: list[int] = []
    async with database_on(shared(), most=1) as database:

        async def ask(number: int) -> None:
            async with database.transaction():
                served.append(number)

        async with database.transaction():
            asked = [asyncio.create_task(ask(number)) for number in range(20)]
            while database.usage()["waited for"] < len(asked):
                await asyncio.sleep(0)
        await asyncio.gather(*asked)
    assert served == list(range(20))
