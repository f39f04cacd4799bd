"""Every implementation of the storage seam, as fixtures."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from pinyon.storage.engine import Engine
from pinyon.storage.sqlite.engine import SqliteEngine

Open = Callable[[], Awaitable[Engine]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inverted files are built without waiting for a quiet time."""
    monkeypatch.setattr("pinyon.storage.sqlite.upkeep.write_debounce.QUIET_S", 0.0)


@pytest.fixture(params=["sqlite", "sqlite with memory", "sqlite with columns"])
def open_engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens the test's one folder; call again after close() for a restart."""
    if request.param == "sqlite with columns":
        monkeypatch.setattr("pinyon.storage.sqlite.filters.column_store.COLUMNS_FROM", 1)

    async def sqlite() -> Engine:
        return await SqliteEngine.open_folder(tmp_path / "data", readers=2, mmap_bytes=2**28)

    async def with_memory() -> Engine:
        return await SqliteEngine.open_folder(
            tmp_path / "data", readers=2, mmap_bytes=0, cache_bytes=2**26, filter_cache_bytes=2**20, at_once_s=60
        )

    async def with_columns() -> Engine:
        return await SqliteEngine.open_folder(
            tmp_path / "data", readers=2, mmap_bytes=0, approximate_from=1, column_bytes=2**20
        )

    return {"sqlite": sqlite, "sqlite with memory": with_memory, "sqlite with columns": with_columns}[request.param]


@pytest.fixture
async def engine(open_engine: Open) -> AsyncIterator[Engine]:
    engine = await open_engine()
    yield engine
    await engine.close()
