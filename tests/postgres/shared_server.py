"""One PostgreSQL server for all tests of a process, started when the first test needs it."""

import asyncio
import atexit
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from pinyon.domain import Index, IndexDetails, IndexSpec
from pinyon.storage.postgres.engine import PostgresEngine
from pinyon.storage.postgres.options import EngineOptions

from tests.postgres.server import UNSAFE, Server, running

BUCKETS = 3
"""Into how many open_divided() divides a namespace."""


@cache
def shared() -> Server:
    """The server. It does not wait for the disk, so it is for tests that do not kill it."""
    context = running(**UNSAFE)
    server = context.__enter__()
    atexit.register(context.__exit__, None, None, None)
    return server


def schema_of(folder: Path) -> str:
    """The schema that stands for a data folder."""
    return "t" + hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()


def options_of(folder: Path, **options: Any) -> EngineOptions:
    """The options of an engine whose data stand for a folder."""
    defaults = {"connections": 4, "posting_cache_bytes": 2**20}
    return EngineOptions(shared().dsn, schema_of(folder), **{**defaults, **options})


@asynccontextmanager
async def locked(statement: str) -> AsyncIterator[None]:
    """Somebody else has the locks of this statement."""
    async with await psycopg.AsyncConnection.connect(shared().dsn) as connection:
        await connection.execute(statement)
        yield
        await connection.rollback()


async def sessions_that_wait(number: int) -> None:
    """Return when so many sessions wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_type = 'client backend'"
    async with await psycopg.AsyncConnection.connect(shared().dsn, autocommit=True) as connection:
        while (await (await connection.execute(query)).fetchone()) != (number,):
            await asyncio.sleep(0.01)


async def open_postgres(folder: Path, **options: Any) -> PostgresEngine:
    """An engine whose data stand for a folder."""
    return await PostgresEngine.open_database(options_of(folder, **options))


async def open_divided(folder: Path, **options: Any) -> PostgresEngine:
    """The same, but the namespaces of new indexes are divided into BUCKETS, as Citus needs it if they are very large."""
    engine = await open_postgres(folder, **options)
    create, schema = engine.create_index, schema_of(folder)

    async def create_index(spec: IndexSpec, details: IndexDetails | None = None) -> Index:
        index = await create(spec, details)
        ((number,),) = shared().execute(f"SELECT number FROM {schema}.indexes WHERE id = '{index.handle.id}'")
        shared().execute(f"ALTER TABLE {schema}_{number}.namespaces ALTER buckets SET DEFAULT {BUCKETS}")
        return index

    engine.create_index = create_index  # type: ignore[method-assign]
    return engine
