"""Every implementation of the storage seam, as fixtures."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pinyon.storage.engine import Engine
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.options import Tuning

from tests.storage.engines import DIVIDED, ENGINES

Open = Callable[[], Awaitable[Engine]]


SQLITE_VARIANTS: dict[str, dict[str, Any]] = {
    "sqlite without memory": {"mmap_bytes": 2**28},
    "sqlite with columns": {
        "mmap_bytes": 0,
        "approximate_from": 1,
        "column_bytes": 2**20,
        "tuning": Tuning(columns_from=1, quiet_s=0),
    },
}
"""Options of SqliteEngine.open_folder()."""


@pytest.fixture(params=[*ENGINES, *SQLITE_VARIANTS, pytest.param("postgres in buckets", marks=pytest.mark.slow)])
def open_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the test's one folder; call again after close() for a restart."""
    return opener(request.param, tmp_path)


def opener(name: str, folder: Path) -> Open:
    """Opens the data in a folder by an engine, or by a variant of one."""
    if name not in SQLITE_VARIANTS:
        return partial(ENGINES.get(name, DIVIDED).open, folder / "data")
    return partial(SqliteEngine.open_folder, folder / "data", readers=2, **SQLITE_VARIANTS[name])


@pytest.fixture
async def engine(open_engine: Open) -> AsyncIterator[Engine]:
    engine = await open_engine()
    yield engine
    await engine.close()
