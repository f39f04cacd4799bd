"""Which indexes exist, through restarts and crashes."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import apsw
import msgspec
import numpy as np
import pytest
from pinyon.domain import CatalogueValue, IndexDetails, IndexSpec, NamespaceInfo, QueryPlan, Record
from pinyon.errors import AlreadyExists, NotFound, VersionConflict
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.folder import index_catalogue

pytestmark = pytest.mark.anyio

SPEC = IndexSpec("docs", 2, "cosine")


def spec(name: str) -> IndexSpec:
    return IndexSpec(name, 2, "cosine")


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "indexes").iterdir())


async def opened(folder: Path) -> SqliteEngine:
    return await SqliteEngine.open_folder(folder, 1, 0)


async def test_details_are_there_after_a_restart(tmp_path: Path) -> None:
    engine = await opened(tmp_path)
    details = IndexDetails(tags={"team": "search"}, deletion_protection=True, region="eu-west-1")
    made = await engine.create_index(SPEC, details)
    assert made.details == details
    await engine.close()
    engine = await opened(tmp_path)
    assert engine.indexes() == [made]
    await engine.close()


async def test_what_began_with_an_index_does_not_go_on_with_its_successor(tmp_path: Path) -> None:
    engine = await opened(tmp_path)
    old = await engine.create_index(SPEC)
    await engine.delete_index(old.handle)
    new = await engine.create_index(SPEC)
    row = Record("a", np.ones(2, np.float32), {})
    with pytest.raises(NotFound):
        await engine.upsert(old.handle, "n", [row])
    with pytest.raises(NotFound):
        await engine.delete_index(old.handle)
    assert await engine.upsert(new.handle, "n", [row]) == await engine.upsert("docs", "n", [row]) - 1
    await engine.close()


async def test_changes_and_deletions_of_one_index_take_turns(tmp_path: Path) -> None:
    engine = await opened(tmp_path)
    for _ in range(10):
        await engine.create_index(SPEC)

        index = engine.index("docs")
        protected = msgspec.structs.replace(index, details=IndexDetails(deletion_protection=True))
        done = await asyncio.gather(
            engine.configure_index(protected), engine.delete_index("docs", index.version), return_exceptions=True
        )
        assert isinstance(done[1], VersionConflict), "acknowledged as protected, and deleted all the same"
        assert [index.details.deletion_protection for index in engine.indexes()] == [True]
        twice = await asyncio.gather(engine.delete_index("docs"), engine.delete_index("docs"), return_exceptions=True)
        assert [type(one) for one in twice] == [type(None), NotFound]
    await engine.close()


async def test_nothing_is_left_of_a_deleted_index(tmp_path: Path) -> None:
    engine = await opened(tmp_path)
    await engine.create_index(SPEC)
    await engine.create_namespace("docs", "a", None)
    assert left(tmp_path)
    await engine.delete_index("docs")
    assert left(tmp_path) == []
    assert engine.indexes() == []
    with pytest.raises(NotFound):
        await engine.query("docs", "a", QueryPlan(1))
    with pytest.raises(NotFound):
        await engine.delete_index("docs")
    await engine.create_index(SPEC)
    assert await engine.every_namespace("docs") == []
    await engine.close()


def crash(*_: object, **__: object) -> None:
    raise RuntimeError("power cut")


@pytest.mark.parametrize(("name", "there"), [("tables.create_index", []), ("index_catalogue.mark", ["docs"])])
async def test_a_crash_while_an_index_is_made_leaves_none_or_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, there: list[str]
) -> None:
    engine = await opened(tmp_path)
    monkeypatch.setattr(f"pinyon.storage.sqlite.folder.index_files.{name}", crash)
    # The cleaning up does not happen either: the process is gone.
    monkeypatch.setattr("pinyon.storage.sqlite.folder.data_dir.DataDir.remove_index_files", crash)
    with pytest.raises(RuntimeError):
        await engine.create_index(SPEC)
    await engine.close()
    assert "docs.sqlite" in left(tmp_path)
    monkeypatch.undo()
    engine = await opened(tmp_path)
    assert [index.name for index in engine.indexes()] == there
    assert [file for file in left(tmp_path) if file.endswith(".sqlite")] == [f"{name}.sqlite" for name in there]
    if not there:
        await engine.create_index(SPEC)
    assert engine.index("docs").spec == SPEC
    await engine.close()


@pytest.mark.parametrize(
    "name", ["folder.data_dir.DataDir.remove_index_files", "folder.index_files.index_catalogue.forget"]
)
async def test_a_crash_while_an_index_is_deleted_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    engine = await opened(tmp_path)
    await engine.create_index(SPEC)
    monkeypatch.setattr(f"pinyon.storage.sqlite.{name}", crash)
    with pytest.raises(RuntimeError):
        await engine.delete_index("docs")
    monkeypatch.undo()
    await engine.close()
    engine = await opened(tmp_path)
    assert engine.indexes() == []
    assert left(tmp_path) == []
    await engine.close()


async def test_a_failed_creation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await opened(tmp_path)
    monkeypatch.setattr("pinyon.storage.sqlite.folder.index_files.tables.create_index", crash)
    with pytest.raises(RuntimeError):
        await engine.create_index(SPEC)
    monkeypatch.undo()
    assert left(tmp_path) == []
    assert (await engine.create_index(SPEC)).spec == SPEC
    await engine.close()


async def test_a_file_brought_from_elsewhere_is_an_index(tmp_path: Path) -> None:
    engine = await opened(tmp_path / "old")
    await engine.create_index(SPEC, IndexDetails(tags={"a": "b"}))
    await engine.create_namespace("docs", "n", None)
    await engine.close()
    (tmp_path / "new" / "indexes").mkdir(parents=True)
    (tmp_path / "old" / "indexes" / "docs.sqlite").rename(tmp_path / "new" / "indexes" / "docs.sqlite")
    engine = await opened(tmp_path / "new")
    (index,) = engine.indexes()
    assert (index.details.tags, await engine.every_namespace("docs")) == ({"a": "b"}, [NamespaceInfo("n", 0)])
    await engine.close()
    engine = await opened(tmp_path / "old")  # where it was, it is said to be gone until somebody deletes it
    assert (engine.indexes(), "docs.sqlite is gone" in engine.unusable()["docs"].message) == ([], True)
    await engine.delete_index("docs")
    assert engine.unusable() == {}
    await engine.close()


async def test_a_file_put_there_while_the_server_runs_is_not_overwritten(tmp_path: Path) -> None:
    engine = await opened(tmp_path)
    file = tmp_path / "indexes" / "docs.sqlite"
    file.write_bytes(b"somebody's")
    with pytest.raises(AlreadyExists, match="put there while the server ran"):
        await engine.create_index(SPEC)
    assert file.read_bytes() == b"somebody's"
    await engine.close()


async def test_of_two_changes_of_one_version_the_second_changes_nothing(tmp_path: Path) -> None:
    engine = await opened(tmp_path)
    index = await engine.create_index(SPEC)
    first, second = (msgspec.structs.replace(index, details=IndexDetails(tags={"by": who})) for who in "ab")
    changed = await engine.configure_index(first)
    assert (changed.details.tags, changed.version) == ({"by": "a"}, index.version + 1)
    with pytest.raises(VersionConflict, match="it is at version 2, not 1"):
        await engine.configure_index(second)
    with pytest.raises(VersionConflict):
        await engine.delete_index(index.handle, index.version)
    assert engine.index("docs") == changed
    await engine.delete_index(index.handle, changed.version)
    assert engine.indexes() == []
    await engine.close()


async def test_files_are_removed_and_synced_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await opened(tmp_path)
    on_loop, beside = list[str](), list[str]()

    def watched(name: str, function: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            (on_loop if threading.current_thread() is threading.main_thread() else beside).append(name)
            return function(*arguments, **more)

        return call

    monkeypatch.setattr(os, "fsync", watched("fsync", os.fsync))
    monkeypatch.setattr(Path, "unlink", watched("unlink", Path.unlink))
    await engine.create_index(SPEC)
    await engine.delete_index("docs")
    await engine.close()
    assert on_loop == []
    assert {"fsync", "unlink"} <= set(beside)


async def test_an_index_keeps_its_handle_and_its_version_over_a_restart(tmp_path: Path) -> None:
    engine = await opened(tmp_path)
    index = await engine.create_index(SPEC)
    changed = await engine.configure_index(msgspec.structs.replace(index, details=IndexDetails(tags={"a": "b"})))
    await engine.close()
    engine = await opened(tmp_path)
    assert engine.index(index.handle) == changed
    await engine.delete_index("docs")
    assert (await engine.create_index(SPEC)).handle != index.handle
    await engine.close()


async def test_ports_of_the_first_schema_become_values(tmp_path: Path) -> None:
    connection = apsw.Connection(":memory:")
    index_catalogue.STEPS[0](connection)
    connection.execute("INSERT INTO ports VALUES (5081, 'docs', NULL), (5082, 'gone', 7)")
    index_catalogue.STEPS[1](connection)
    assert index_catalogue.values(connection) == {
        "port/5081": CatalogueValue('{"index":"docs","released":null}', 1),
        "port/5082": CatalogueValue('{"index":"gone","released":7}', 1),
    }


@pytest.mark.parametrize("schema", [1, 2])
async def test_values_are_read_from_a_damaged_catalogue_of_either_schema(tmp_path: Path, schema: int) -> None:
    connection = apsw.Connection(str(tmp_path / "catalogue.sqlite"))
    index_catalogue.STEPS[0](connection)
    connection.execute("INSERT INTO ports VALUES (5081, 'docs', NULL)")
    for step in index_catalogue.STEPS[1:schema]:
        step(connection)
    connection.pragma("user_version", schema)
    connection.close()
    salvaged = index_catalogue.salvaged_values(tmp_path / "catalogue.sqlite")
    assert salvaged == {"port/5081": '{"index":"docs","released":null}'}


async def test_a_catalogue_of_a_later_version_is_refused_by_name(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    connection = apsw.Connection(str(tmp_path / "catalogue.sqlite"))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Exception, match=r"catalogue\.sqlite has schema 99"):
        await opened(tmp_path)
