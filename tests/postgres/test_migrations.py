"""Tables that several processes set up and migrate at once, and versions of Pinyon that meet on one database."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from pinyon.domain import BackupLabel, IndexSpec, PagePlan, QueryPlan, Record
from pinyon.errors import FailedPrecondition, Unavailable
from pinyon.storage.postgres import engine as engine_module
from pinyon.storage.postgres import tables
from pinyon.storage.postgres.connection.bounded_connection import BoundedConnection
from pinyon.storage.postgres.connection.database import Connection, Database
from pinyon.storage.postgres.engine import PostgresEngine
from pinyon.storage.postgres.options import EngineOptions
from pinyon.storage.postgres.schema import migrations
from pinyon.storage.postgres.schema.migrations import CATALOGUE_STEPS, INDEX_STEPS

from tests.postgres.shared_server import locked, open_postgres, schema_of, sessions_that_wait, shared
from tests.running import GIVEN_UP_S

pytestmark = pytest.mark.anyio
AT_ONCE = 20
DOCS = IndexSpec("docs", 2, "cosine")
RECORDS = [Record("a", np.ones(2, np.float32), {})]


@pytest.fixture
def steps() -> Iterator[None]:
    """Steps that a test adds are gone afterwards."""
    every: Any = (CATALOGUE_STEPS, INDEX_STEPS)
    before = [list(each) for each in every]
    yield
    for each, known in zip(every, before, strict=True):
        each[:] = known


def later_version(step: Any, of: Any = INDEX_STEPS) -> None:
    """From now on, Pinyon has one more step."""
    of.append(step)


def version_before(of: Any = INDEX_STEPS) -> None:
    """From now on, Pinyon lacks its last step."""
    of.pop()


async def add_column(connection: Connection) -> None:
    await connection.execute("ALTER TABLE state ADD COLUMN added integer NOT NULL DEFAULT 7")


def added(folder: Path) -> list[tuple[int]]:
    """The value of the column that add_column() adds, in every index."""
    schema = schema_of(folder)
    values = []
    with psycopg.connect(shared().dsn) as connection:
        for (number,) in connection.execute(f"SELECT number FROM {schema}.indexes ORDER BY number").fetchall():
            values += connection.execute(f"SELECT added FROM {schema}_{number}.state").fetchall()
    return values


async def test_many_processes_that_start_at_once_set_an_empty_database_up_once() -> None:
    shared().execute("CREATE DATABASE many")
    options = EngineOptions(f"{shared().dsn} dbname=many", "pinyon", connections=2, posting_cache_bytes=0)
    engines = await asyncio.gather(*(PostgresEngine.open_database(options) for _ in range(AT_ONCE)))
    await engines[0].create_index(DOCS)
    await asyncio.gather(*(engine.upsert("docs", "", RECORDS) for engine in engines))
    assert (await engines[-1].footprint("docs")).lsn == AT_ONCE
    for engine in engines:
        await engine.close()
    shared().execute("DROP DATABASE many")


async def test_a_start_waits_without_limit_for_another_one_that_changes_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, made = Database.connect, list[BoundedConnection]()

    async def connected(database: Database) -> BoundedConnection:
        made.append(await connect(database))
        return made[-1]

    monkeypatch.setattr(Database, "connect", connected)
    async with locked(f"SELECT pg_advisory_xact_lock({migrations.LOCK})"):
        start = asyncio.create_task(open_postgres(tmp_path))
        await sessions_that_wait(1)
        assert [connection.answer_within_s for connection in made] == [None]
    await (await start).close()


@pytest.mark.usefixtures("steps")
async def test_a_later_version_migrates_every_index_once(tmp_path: Path) -> None:
    engine = await open_postgres(tmp_path)
    await engine.create_index(DOCS)
    await engine.upsert("docs", "", RECORDS)
    await engine.create_backup("docs", BackupLabel("old", "2026-01-01T00:00:00Z"))
    await engine.close()
    later_version(add_column)
    engines = await asyncio.gather(*(open_postgres(tmp_path) for _ in range(4)))
    await engines[0].restore_backup("old", "again", "id", engines[0].index("docs").details)
    await engines[1].create_index(IndexSpec("new", 2, "cosine"))
    assert added(tmp_path) == [(7,), (7,), (7,)]
    assert len((await engines[2].page("again", "", PagePlan(10))).records) == 1
    for engine in engines:
        await engine.close()


@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("of", [CATALOGUE_STEPS, INDEX_STEPS], ids=["of the catalogue", "of an index"])
async def test_a_database_of_a_later_version_is_refused(tmp_path: Path, of: Any) -> None:
    async def nothing(connection: Connection) -> None:
        """A step of a later version."""

    later_version(nothing, of)
    await (await open_postgres(tmp_path)).close()
    version_before(of)
    with pytest.raises(FailedPrecondition, match=r"has step \d, this Pinyon knows up to \d; use the newer Pinyon"):
        await open_postgres(tmp_path)


@pytest.mark.usefixtures("steps")
async def test_a_process_that_runs_on_beside_a_later_version_harms_nothing(tmp_path: Path) -> None:
    old = await open_postgres(tmp_path)
    await old.create_index(DOCS)
    later_version(add_column)
    new = await open_postgres(tmp_path)
    version_before()
    for call in (
        old.create_index(IndexSpec("more", 2, "cosine")),
        old.upsert("docs", "", RECORDS),
        old.page("docs", "", PagePlan(10)),
        old.create_backup("docs", BackupLabel("b", "2026-01-01T00:00:00Z")),
    ):
        with pytest.raises(Unavailable, match="replace this process by that version"):
            await call
    async with asyncio.timeout(GIVEN_UP_S):
        while old.problem() is None:
            await asyncio.sleep(0.05)
    assert "replace this process" in str(old.problem()), "a balancer asks /ready, and sends nothing here any more"
    later_version(add_column)
    assert [index.name for index in new.indexes()] == ["docs"]
    assert added(tmp_path) == [(7,)]
    await new.upsert("docs", "", RECORDS)
    await new.close()
    await old.close()


@pytest.mark.usefixtures("steps")
async def test_an_index_that_is_being_made_when_another_process_migrates_is_migrated_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await open_postgres(tmp_path)
    making, go_on, waits = asyncio.Event(), asyncio.Event(), asyncio.Event()
    before = list(INDEX_STEPS)

    async def slowly(connection: Connection) -> None:
        making.set()
        await go_on.wait()
        for step in before:
            await step(connection)

    async def told(connection: Connection, schema: str) -> None:
        waits.set()
        await migrations.migrate_catalogue(connection, schema)

    monkeypatch.setattr(tables, "INDEX_STEPS", [slowly])
    creating = asyncio.create_task(old.create_index(DOCS))
    await making.wait()
    monkeypatch.setattr(engine_module, "migrate_catalogue", told)
    later_version(add_column)
    opening = asyncio.create_task(open_postgres(tmp_path))
    await waits.wait()
    go_on.set()
    await creating
    new = await opening
    assert added(tmp_path) == [(7,)]
    await new.upsert("docs", "", RECORDS)
    await new.close()
    await old.close()


@pytest.mark.usefixtures("steps")
async def test_a_migration_that_is_cut_off_leaves_the_version_before(tmp_path: Path) -> None:
    async def cut_off(connection: Connection) -> None:
        await add_column(connection)
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    engine = await open_postgres(tmp_path)
    await engine.create_index(DOCS)
    await engine.upsert("docs", "", RECORDS)
    await engine.close()
    later_version(cut_off)
    with pytest.raises(Unavailable):
        await open_postgres(tmp_path)
    version_before()
    engine = await open_postgres(tmp_path)
    assert len((await engine.page("docs", "", PagePlan(10))).records) == 1
    await engine.close()
    later_version(add_column)
    engine = await open_postgres(tmp_path)
    assert added(tmp_path) == [(7,)]
    await engine.close()


async def test_a_schema_of_another_program_is_left_alone(tmp_path: Path) -> None:
    schema = schema_of(tmp_path)
    shared().execute(f"CREATE SCHEMA {schema}_1; CREATE TABLE {schema}_1.records (own text)")
    engine = await open_postgres(tmp_path)
    with pytest.raises(FailedPrecondition, match=rf"another program .*{schema}_1"):
        await engine.create_index(DOCS)
    assert engine.indexes() == []
    await engine.create_index(DOCS)  # it gets the next number
    await engine.upsert("docs", "a", RECORDS)
    await engine.delete_index("docs")
    await engine.close()
    assert shared().execute(f"SELECT * FROM {schema}_1.records") == []


async def test_a_catalogue_is_not_made_among_tables_of_another_program(tmp_path: Path) -> None:
    schema = schema_of(tmp_path)
    shared().execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.files (own text)")
    with pytest.raises(FailedPrecondition, match='another program .*"files".*another schema'):
        await open_postgres(tmp_path)
    tables = f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'"
    assert shared().execute(tables) == [("files",)]


async def test_a_database_without_a_schema_for_pgvector_is_refused_with_what_to_do() -> None:
    shared().execute("CREATE DATABASE bare")
    dsn = f"{shared().dsn} dbname=bare"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        with pytest.raises(FailedPrecondition, match="CREATE EXTENSION vector SCHEMA extensions"):
            await PostgresEngine.open_database(EngineOptions(dsn))
        connection.execute("CREATE SCHEMA extensions")
        connection.execute("CREATE EXTENSION vector SCHEMA extensions")
    engine = await PostgresEngine.open_database(EngineOptions(dsn))
    await engine.create_index(DOCS)
    await engine.upsert("docs", "a", RECORDS)
    assert [m.id for m in (await engine.query("docs", "a", QueryPlan(1, np.ones(2, np.float32)))).matches] == ["a"]
    await engine.close()
