"""Backups taken while others write, and data folders made of them."""

import asyncio
import shutil
import tarfile
from pathlib import Path

import apsw
import numpy as np
import pytest
from pinyon import failpoints
from pinyon.auth import keys
from pinyon.domain import BackupLabel, IndexDetails, IndexSpec, PagePlan, Record
from pinyon.errors import AlreadyExists, DataLoss, FailedPrecondition, NotFound
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.folder.backups.folder_backup import backup, restore, restore_index

from tests.running import PROJECT
from tests.storage.consistency import problems

pytestmark = pytest.mark.anyio


def records(first: int, count: int = 10) -> list[Record]:
    return [Record(f"r{n}", np.full(4, n, np.float32), {"n": n}) for n in range(first, first + count)]


async def test_a_backup_beside_writes_is_of_one_moment_and_can_be_restored(tmp_path: Path) -> None:
    data, copy, again = tmp_path / "data", tmp_path / "copy", tmp_path / "again"
    key = keys.create(data, "app")
    engine = await SqliteEngine.open_folder(data, 1, 0)
    for name in ("docs", "other"):
        await engine.create_index(IndexSpec(name, 4, "euclidean"))
        await engine.put_catalogue_value(f"port/{name}", "7", 0)
    await engine.upsert("docs", "a", records(0))
    going_on = True

    async def write() -> int:
        first = 10
        while going_on:
            await engine.upsert("docs", "a", records(first))
            first += 10
        return first

    writing = asyncio.ensure_future(write())
    names = await asyncio.to_thread(backup, data, copy)
    going_on = False
    written = await writing
    await engine.close()
    assert names == ["docs", "other"]
    shutil.rmtree(data)
    assert restore(copy, again) == ["docs", "other"]
    for folder in (copy, again):
        assert folder.stat().st_mode & 0o077 == 0, "the data is nobody else's business"
        assert not list(folder.rglob("*-shm")), "nothing is left of the reading"
    assert problems(again / "indexes" / "docs.sqlite") == []
    engine = await SqliteEngine.open_folder(again, 1, 0)
    count = (await engine.namespace("docs", "a")).record_count
    assert 10 <= count <= written and count % 10 == 0, "whole batches"
    page = await engine.page("docs", "a", PagePlan(10_000))
    assert {record.id for record in page.records} == {f"r{n}" for n in range(count)}, "the first ones"
    assert {*await engine.catalogue_values()} == {"port/docs", "port/other"}
    await engine.upsert("docs", "a", records(10_000))
    await engine.close()
    assert keys.Keys(again, "").caller(key) is not None


async def test_nothing_is_written_over_and_nothing_half_made_is_left(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path / "data", 1, 0)
    await engine.create_index(IndexSpec("docs", 4, "cosine"))
    await engine.close()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(AlreadyExists, match="taken is there already"):
        backup(tmp_path / "data", tmp_path / "taken")
    with pytest.raises(FailedPrecondition, match="no data folder"):
        backup(tmp_path / "nothing", tmp_path / "copy")
    with pytest.raises(FailedPrecondition, match="no backup"):
        restore(tmp_path / "taken", tmp_path / "new")

    def fail() -> None:
        raise OSError(28, "No space left on device")

    failpoints.arm("copied", fail)
    try:
        with pytest.raises(FailedPrecondition, match="No space left"):
            backup(tmp_path / "data", tmp_path / "copy")
    finally:
        failpoints.disarm()
    assert not (tmp_path / "copy").exists()
    assert backup(tmp_path / "data", tmp_path / "copy") == ["docs"], "what was left of the first is no obstacle"
    assert not (tmp_path / "copy.partial").exists()


async def test_a_damaged_backup_is_not_restored(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path / "data", 1, 0)
    await engine.create_index(IndexSpec("docs", 4, "cosine"))
    for first in range(0, 5_000, 1_000):
        await engine.upsert("docs", "a", records(first + 1, 1_000))
    await engine.close()
    backup(tmp_path / "data", tmp_path / "copy")
    file = tmp_path / "copy" / "indexes" / "docs.sqlite"
    connection = apsw.Connection(str(file))
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'postings'").get
    connection.close()
    with file.open("r+b") as stream:
        stream.seek((page - 1) * 16_384)
        stream.write(bytes([0xA5]) * 16_384)
    with pytest.raises(DataLoss, match=r"docs\.sqlite"):
        restore(tmp_path / "copy", tmp_path / "new")
    assert not (tmp_path / "new").exists()


async def test_a_backup_whose_files_were_exchanged_is_not_restored(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path / "data", 1, 0)
    await engine.create_index(IndexSpec("docs", 4, "cosine"))
    await engine.upsert("docs", "a", records(0))
    backup(tmp_path / "data", tmp_path / "older")
    await engine.upsert("docs", "a", records(10))
    await engine.close()
    backup(tmp_path / "data", tmp_path / "copy")
    shutil.copy(tmp_path / "older" / "indexes" / "docs.sqlite", tmp_path / "copy" / "indexes" / "docs.sqlite")
    with pytest.raises(DataLoss, match=r"docs is damaged: its file is not what backup\.json says"):
        restore(tmp_path / "copy", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "copy" / "backup.json").unlink()  # as in a backup of an earlier version
    assert restore(tmp_path / "copy", tmp_path / "new") == ["docs"]


async def test_an_index_is_put_back_from_a_backup_of_it_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    engine = await SqliteEngine.open_folder(data, 1, 0)
    await engine.create_index(IndexSpec("docs", 4, "cosine"))
    await engine.upsert("docs", "a", records(0))
    taken = await engine.create_backup("docs", BackupLabel("an-id", "2026-01-01T00:00:00Z"))
    await engine.upsert("docs", "a", records(10))
    await engine.close()
    shutil.copytree(data / "backups" / taken.label.id, tmp_path / "elsewhere")
    with pytest.raises(NotFound, match="has no index other; it has: docs"):
        restore_index(tmp_path / "elsewhere", data, "other")
    assert restore_index(tmp_path / "elsewhere", data, "docs") is not None
    engine = await SqliteEngine.open_folder(data, 1, 0)
    assert (await engine.namespace("docs", "a")).record_count == 10
    await engine.close()


async def test_a_backup_that_an_earlier_version_made_becomes_an_index(tmp_path: Path) -> None:
    with tarfile.open(PROJECT / "tests" / "golden" / "0.1.0.tar.gz") as content:
        content.extractall(tmp_path, filter="data")
    data = tmp_path / "data"
    (name,) = [file.stem for file in (data / "indexes").glob("*.sqlite")]
    old = shutil.copy(data / "indexes" / f"{name}.sqlite", tmp_path)
    engine = await SqliteEngine.open_folder(data, 1, 0)
    namespaces = await engine.every_namespace(name)
    taken = await engine.create_backup(name, BackupLabel("an-id", "2026-01-01T00:00:00Z"))
    shutil.copy(old, data / "backups" / taken.label.id / "index.sqlite")
    await engine.restore_backup(taken.label.id, "again", "another-id", IndexDetails())
    assert await engine.every_namespace("again") == namespaces
    await engine.close()
