"""Small files that the processes on a database share."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pinyon.errors import VersionConflict
from pinyon.shared_files import SharedFile
from pinyon.storage.postgres.engine import PostgresEngine

from tests.postgres.shared_server import open_postgres

pytestmark = pytest.mark.anyio


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[tuple[PostgresEngine, PostgresEngine]]:
    """Two engines on one database, as two processes have them."""
    one, other = await open_postgres(tmp_path), await open_postgres(tmp_path)
    yield one, other
    await one.close()
    await other.close()


async def test_a_file_is_read_by_every_process(processes: tuple[PostgresEngine, PostgresEngine]) -> None:
    one, other = processes
    content = bytes(range(256)) * 1000
    await one.files.write("judgements/docs.json", content, 0)
    assert await other.files.read("judgements/docs.json") == SharedFile(content, 1)
    assert await other.files.read("judgements/other.json") is None


async def test_whoever_read_an_older_file_does_not_replace_the_newer_one(
    processes: tuple[PostgresEngine, PostgresEngine],
) -> None:
    one, other = processes
    await one.files.write("keys.json", b"a", 0)
    await other.files.write("keys.json", b"b", 1)
    for version in (0, 1, 3):
        with pytest.raises(VersionConflict, match=r"keys\.json was changed meanwhile"):
            await one.files.write("keys.json", b"c", version)
    assert await one.files.read("keys.json") == SharedFile(b"b", 2)


async def test_a_folder_is_listed_from_the_oldest_file_and_removed_as_a_whole(
    processes: tuple[PostgresEngine, PostgresEngine],
) -> None:
    files = processes[0].files
    for path in ("uploads/b/label", "uploads/a/label", "uploads/a/rows/n.jsonl", "uploads_/x"):
        await files.write(path, b"", 0)
    assert await files.paths("uploads/") == ["uploads/b/label", "uploads/a/label", "uploads/a/rows/n.jsonl"]
    await files.remove("uploads/a/")
    assert await files.paths("uploads/") == ["uploads/b/label"]
    assert await files.paths("") == ["uploads/b/label", "uploads_/x"]


async def test_other_processes_are_told_of_a_change(processes: tuple[PostgresEngine, PostgresEngine]) -> None:
    one, other = processes
    told = asyncio.Event()
    other.watch(told.set)
    await one.files.write("keys.json", b"a", 0)
    await told.wait()
    told.clear()
    await one.put_catalogue_value("port/1", "x", 0)
    await told.wait()
