"""Reads on two streaming replicas, which take turns. Each server writes down what it is asked."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import numpy as np
import psycopg
import pytest
from pinyon.domain import IndexSpec, PagePlan, Record
from pinyon.storage.engine import MIN_LSN
from pinyon.storage.postgres.connection import database
from pinyon.storage.postgres.engine import PostgresEngine
from pinyon.storage.postgres.options import EngineOptions

from tests.postgres.server import UNSAFE, Server, replica_of, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
PATIENCE_S = 120
SPEC = IndexSpec("docs", 2, "cosine")


class Servers(msgspec.Struct, frozen=True):
    """A primary with two replicas."""

    primary: Server
    replicas: tuple[Server, Server]

    def __iter__(self) -> Iterator[Server]:
        yield from (self.primary, *self.replicas)


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with (
        running(**UNSAFE, log_statement="all") as primary,
        replica_of(primary) as first,
        replica_of(primary) as second,
    ):
        yield Servers(primary, (first, second))


@asynccontextmanager
async def two_processes(servers: Servers, schema: str) -> AsyncIterator[tuple[PostgresEngine, PostgresEngine]]:
    """An engine that reads from both replicas, and one that writes from elsewhere. Both replicas have one record."""
    dsns = [replica.dsn for replica in servers.replicas]
    options = EngineOptions(servers.primary.dsn, schema, connections=4)
    other = await PostgresEngine.open_database(options)
    await other.create_index(SPEC)
    await other.upsert("docs", "a", [record("old")])
    for replica in servers.replicas:
        await caught_up(servers, replica)
    reader = await PostgresEngine.open_database(
        msgspec.structs.replace(options, replica_dsns=dsns, replica_wait_s=0.05)
    )
    try:
        await all_tried(reader)
        yield reader, other
    finally:
        await reader.close()
        await other.close()


async def all_tried(engine: PostgresEngine) -> None:
    """Wait until both replicas answer."""
    await asyncio.gather(*(each.retry for each in engine._replicas._replicas if each.retry is not None))
    assert engine._replicas.used == 2


async def caught_up(servers: Servers, replica: Server) -> None:
    """Wait until a replica has everything that the primary has."""
    ((position,),) = await asyncio.to_thread(servers.primary.execute, "SELECT pg_current_wal_insert_lsn()::text")
    await asyncio.to_thread(servers.primary.execute, "CHECKPOINT")  # what is not yet on disk is not sent
    while await asyncio.to_thread(replica.execute, f"SELECT pg_last_wal_replay_lsn() >= '{position}'") != [(True,)]:
        await asyncio.sleep(0.02)


def record(id: str) -> Record:
    return Record(id, np.array([1, 2], np.float32), {"id": id})


async def ids(engine: PostgresEngine) -> list[str]:
    return [record.id for record in (await engine.page("docs", "a", PagePlan(1000))).records]


async def reads_during(servers: Servers, schema: str, engine: PostgresEngine, number: int) -> list[int]:
    """Read so often. Returns how many reads of the index each server was asked for."""

    def asked() -> list[int]:
        begins = f'READ ONLY; SET LOCAL search_path TO "{schema}_1"'
        return [(server.folder / "log").read_text().count(begins) for server in servers]

    before = asked()
    for _ in range(number):
        assert await ids(engine) == ["new", "old"]
    return [now - then for now, then in zip(asked(), before, strict=True)]


async def test_two_replicas_take_turns_and_an_up_to_date_one_answers_for_one_that_is_behind(servers: Servers) -> None:
    first, second = servers.replicas
    async with two_processes(servers, "turns") as (reader, other):
        first.execute("SELECT pg_wal_replay_pause()")
        try:
            lsn = await other.upsert("docs", "a", [record("new")])
            await caught_up(servers, second)
            token = MIN_LSN.set(lsn)
            behind = await reads_during(servers, "turns", reader, 6)
            MIN_LSN.reset(token)
            assert (behind[0], behind[2]) == (0, 6), "the one that has the write answered every time"
        finally:
            first.execute("SELECT pg_wal_replay_resume()")
        await caught_up(servers, first)
        assert await reads_during(servers, "turns", reader, 10) == [0, 5, 5]


async def test_one_that_dies_is_stood_in_for_and_takes_turns_again_when_it_is_back(
    servers: Servers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_S", 10 * PATIENCE_S)
    first = servers.replicas[0]
    async with two_processes(servers, "deaths") as (reader, other):
        await other.upsert("docs", "a", [record("new")])
        for replica in servers.replicas:
            await caught_up(servers, replica)
        async with await psycopg.AsyncConnection.connect(servers.primary.dsn) as holder:
            await holder.execute("LOCK TABLE deaths_1.state")
            for replica in servers.replicas:  # they hold it too, so that reads wait there
                await caught_up(servers, replica)
            reads = [asyncio.create_task(ids(reader)) for _ in range(20)]
            while [each.database.usage()["waited for"] for each in reader._replicas._replicas] != [6, 6]:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(first.kill)
            await holder.rollback()
        try:
            async with asyncio.timeout(PATIENCE_S):
                assert await asyncio.gather(*reads) == [["new", "old"]] * 20
            assert await reads_during(servers, "deaths", reader, 6) == [0, 0, 6]
        finally:
            await asyncio.to_thread(first.start)
        await all_tried(reader)
        await asyncio.gather(*(ids(reader) for _ in range(8)))  # several connections are idle at its next death
        await asyncio.to_thread(first.kill)
        try:
            assert (await reads_during(servers, "deaths", reader, 6))[::2] == [0, 6]
        finally:
            await asyncio.to_thread(first.start)
        await all_tried(reader)
        caplog.clear()
        assert await reads_during(servers, "deaths", reader, 20) == [0, 10, 10]
        assert [line for line in caplog.records if line.levelno >= logging.WARNING] == []
