"""The storage engines that the contract tests are run with. Another engine is one more line in ENGINES."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from pinyon.storage.engine import Engine
from pinyon.storage.sqlite.engine import SqliteEngine

from tests.postgres import consistency as postgres_consistency
from tests.postgres.shared_server import open_divided, open_postgres
from tests.storage.consistency import problems


class EngineKind(msgspec.Struct, frozen=True):
    """open: the data of a folder, or what stands for it. open_to_read: to change nothing.

    problems: what is inconsistent in the index of this name, when the folder is closed. left_by_power_cut: files that a
    power cut must not leave in a folder with the index of this name.
    """

    open: Callable[[Path], Awaitable[Engine]]
    open_to_read: Callable[[Path], Awaitable[Engine]]
    problems: Callable[[Path, str], list[str]]
    left_by_power_cut: Callable[[Path, str], list[str]]


async def _sqlite(folder: Path) -> Engine:
    caches = {"cache_bytes": 2**20, "filter_cache_bytes": 2**20, "posting_cache_bytes": 2**20}
    return await SqliteEngine.open_folder(folder, 1, 0, **caches, inline_read_s=60)


async def _sqlite_to_read(folder: Path) -> Engine:
    return await SqliteEngine.open_folder(folder, 1, 0, read_only=True)


def _sqlite_problems(folder: Path, index: str) -> list[str]:
    return problems(folder / "indexes" / f"{index}.sqlite")


def _sqlite_journals(folder: Path, index: str) -> list[str]:
    """Rollback journals whose removal was not synced: they would undo what came later."""
    journals = (f"{name}.sqlite-journal" for name in ("catalogue", f"indexes/{index}"))
    return [name for name in journals if (folder / name).exists()]


def _nothing(folder: Path, index: str) -> list[str]:
    return []


ENGINES = {
    "sqlite": EngineKind(_sqlite, _sqlite_to_read, _sqlite_problems, _sqlite_journals),
    "postgres": EngineKind(
        open_postgres, partial(open_postgres, read_only=True), postgres_consistency.problems, _nothing
    ),
}
"""By the name that the setting [storage] engine has."""

DIVIDED = EngineKind(open_divided, partial(open_divided, read_only=True), postgres_consistency.problems, _nothing)
"""PostgreSQL with namespaces in several buckets, as Citus needs them when they are very large. Tests with it are slow,
so that the fast ones stay few."""

every_engine = pytest.mark.parametrize(
    "kind",
    [*ENGINES.values(), pytest.param(DIVIDED, marks=pytest.mark.slow)],
    ids=[*ENGINES, "postgres in buckets"],
)
