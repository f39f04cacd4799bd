"""Every implementation of the storage seam, as fixtures."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pinyon.storage.engine import Engine
from pinyon.storage.sqlite.engine import SqliteEngine

from tests.storage.engines import ENGINES

Open = Callable[[], Awaitable[Engine]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inverted files are built without waiting for a quiet time."""
    monkeypatch.setattr("pinyon.storage.sqlite.upkeep.write_debounce.QUIET_S", 0.0)


SQLITE_VARIANTS: dict[str, dict[str, Any]] = {
    "sqlite without memory": {"mmap_bytes": 2**28},
    "sqlite with columns": {"mmap_bytes": 0, "approximate_from": 1, "column_bytes": 2**20},
}
"""Options of SqliteEngine.open_folder()."""


@pytest.fixture(params=[*ENGINES, *SQLITE_VARIANTS])
def open_engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens the test's one folder; call again after close() for a restart."""
    if request.param in ENGINES:
        return partial(ENGINES[request.param].open, tmp_path / "data")
    if request.param == "sqlite with columns":
        monkeypatch.setattr("pinyon.storage.sqlite.filters.column_store.COLUMNS_FROM", 1)
    options = SQLITE_VARIANTS[request.param]
    return partial(SqliteEngine.open_folder, tmp_path / "data", readers=2, **options)


@pytest.fixture
async def engine(open_engine: Open) -> AsyncIterator[Engine]:
    engine = await open_engine()
    yield engine
    await engine.close()
