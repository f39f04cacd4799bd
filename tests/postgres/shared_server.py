"""One PostgreSQL server for all tests of a process, started when the first test needs it."""

import atexit
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from pinyon.storage.postgres.engine import PostgresEngine
from pinyon.storage.postgres.options import EngineOptions

from tests.postgres.server import UNSAFE, Server, running


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


async def open_postgres(folder: Path, **options: Any) -> PostgresEngine:
    """An engine whose data stand for a folder."""
    return await PostgresEngine.open_database(options_of(folder, **options))
