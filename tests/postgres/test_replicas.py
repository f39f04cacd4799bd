"""Reads on a streaming replica, whose replay is stopped so that what it lacks is exact."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import FacetPlan, IndexSpec, PagePlan, QueryPlan, Record, Selection
from pinyon.errors import FailedPrecondition, NotFound
from pinyon.settings import StorageSettings
from pinyon.storage.engine import MIN_LSN
from pinyon.storage.postgres.engine import PostgresEngine
from pinyon.storage.postgres.installation import PostgresInstallation

from tests.postgres.server import Server, replica_of
from tests.postgres.shared_server import open_postgres, shared

pytestmark = pytest.mark.anyio
SPEC = IndexSpec("docs", 2, "cosine")


@pytest.fixture(scope="module")
def replica() -> Iterator[Server]:
    with replica_of(shared()) as server:
        yield server


@pytest.fixture(autouse=True)
def replay(replica: Server) -> Iterator[None]:
    yield
    replica.execute("SELECT pg_wal_replay_resume()")


@asynccontextmanager
async def two_processes(folder: Path, *replicas: Server, **options: float) -> AsyncIterator[tuple[PostgresEngine, ...]]:
    """An engine that reads from replicas, and one that writes from elsewhere."""
    dsns = [server.dsn for server in replicas]
    other = await open_postgres(folder)
    await other.create_index(SPEC)
    await other.upsert("docs", "a", [record("old")])
    reader = await open_postgres(folder, replica_dsns=dsns, **{"replica_wait_s": 0.05, **options})
    try:
        await all_tried(reader)
        yield reader, other
    finally:
        await reader.close()
        await other.close()


async def all_tried(engine: PostgresEngine) -> None:
    """Wait until every replica that is left out answers."""
    await asyncio.gather(*(each.retry for each in engine._replicas._replicas if each.retry is not None))


async def caught_up(replica: Server) -> None:
    """Wait until the replica has everything that the primary has."""
    ((position,),) = await asyncio.to_thread(shared().execute, "SELECT pg_current_wal_insert_lsn()::text")
    await asyncio.to_thread(shared().execute, "CHECKPOINT")  # what is not yet on disk is not sent
    while True:
        rows = await asyncio.to_thread(replica.execute, f"SELECT pg_last_wal_replay_lsn() >= '{position}'")
        if rows == [(True,)]:
            return
        await asyncio.sleep(0.02)


def record(id: str) -> Record:
    return Record(id, np.array([1, 2], np.float32), {"id": id})


async def ids(engine: PostgresEngine) -> list[str]:
    return [record.id for record in (await engine.page("docs", "a", PagePlan(1000))).records]


async def test_a_replica_answers_and_a_read_sees_what_its_process_wrote_or_its_caller_names(
    tmp_path: Path, replica: Server
) -> None:
    async with two_processes(tmp_path, replica) as (reader, other):
        await caught_up(replica)
        replica.execute("SELECT pg_wal_replay_pause()")
        lsn = await other.upsert("docs", "a", [record("new")])
        assert await ids(reader) == ["old"], "the replica answered"
        token = MIN_LSN.set(lsn)
        assert await ids(reader) == ["new", "old"], "the replica lacks it, so the primary answered"
        MIN_LSN.reset(token)
        assert await ids(reader) == ["new", "old"], "what was seen once is seen again"
        await reader.upsert("docs", "b", [record("own")])
        assert (await reader.namespace("docs", "b")).record_count == 1
        assert await reader.count("docs", "b", Selection()) == 1


async def test_every_read_of_a_replica_gives_what_the_primary_gives(tmp_path: Path, replica: Server) -> None:
    async with two_processes(tmp_path, replica, replica_wait_s=60) as (reader, other):
        await caught_up(replica)
        plan = QueryPlan(top_k=3, vector=np.array([1, 2], np.float32))
        for engine in (reader, other):
            answer = await engine.query("docs", "a", plan)
            assert [match.id for match in answer.matches] == ["old"]
            assert await ids(engine) == ["old"]
            assert await engine.count("docs", "a", Selection()) == 1
            assert (await engine.facets("docs", "a", FacetPlan("id", 10))).lsn == 1
            assert [info.name for info in await engine.every_namespace("docs")] == ["a"]
            assert (await engine.namespaces("docs", 10))[2] == 1
            assert (await engine.namespace("docs", "a")).record_count == 1


async def test_what_a_replica_does_not_know_yet_is_asked_of_the_primary(tmp_path: Path, replica: Server) -> None:
    async with two_processes(tmp_path, replica) as (reader, other):
        await caught_up(replica)
        replica.execute("SELECT pg_wal_replay_pause()")
        await other.create_namespace("docs", "new", None)
        assert (await reader.namespace("docs", "new")).record_count == 0
        with pytest.raises(NotFound):
            await reader.namespace("docs", "nowhere")
        await other.create_index(IndexSpec("later", 2, "cosine"))
        await other.upsert("later", "a", [record("x")])
        assert await reader.count("later", "a", Selection()) == 1
        changed = (await other.configure_index(other.index("docs"))).version
        await reader._copy.refresh()
        assert reader.index("docs").version == changed
        assert await ids(reader) == ["old"]


async def test_a_replica_that_is_gone_is_left_out_and_used_again_when_it_is_back(
    tmp_path: Path, replica: Server
) -> None:
    async with two_processes(tmp_path, replica) as (reader, _):
        await caught_up(replica)
        assert (await ids(reader), reader._replicas.used) == (["old"], 1)
        await asyncio.to_thread(replica.kill)
        try:
            assert (await ids(reader), reader._replicas.used) == (["old"], 0), "the primary answered"
        finally:
            await asyncio.to_thread(replica.start)
        await all_tried(reader)
        assert (await ids(reader), reader._replicas.used) == (["old"], 1)


async def test_replicas_are_to_be_named_where_reads_should_go_to_them(tmp_path: Path) -> None:
    settings = StorageSettings(engine="postgres", dsn=shared().dsn, read_preference="replica")
    with pytest.raises(FailedPrecondition, match="replica_dsns"):
        await PostgresInstallation(settings).open()
