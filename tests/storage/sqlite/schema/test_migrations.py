"""Opening files of other versions, and files that are not ours."""

import shutil
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from pinyon import filters
from pinyon.domain import IndexSpec, QueryPlan, Record
from pinyon.errors import DataLoss, FailedPrecondition, PermissionDenied, Unavailable
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.connection.database import Database
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.schema import migrations, tables, vector_tables

from tests.storage.consistency import problems

pytestmark = pytest.mark.anyio


async def test_a_new_file_has_the_newest_schema(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.sqlite", 1, 0)
    assert await database.read(lambda connection: connection.pragma("user_version")) == len(migrations.STEPS)
    await database.close()


async def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    await Database(tmp_path / "x.sqlite", 1, 0).close()
    connection = connect(tmp_path / "x.sqlite", 0, "write")
    connection.pragma("user_version", len(migrations.STEPS) + 1)
    connection.close()
    with pytest.raises(FailedPrecondition, match=r"x\.sqlite has schema .* use the newer Pinyon"):
        Database(tmp_path / "x.sqlite", 1, 0)


@pytest.mark.parametrize("steps", range(len(migrations.STEPS)))
async def test_a_file_of_any_schema_comes_to_the_same_tables(tmp_path: Path, steps: int) -> None:
    def schema(connection: apsw.Connection) -> list[Any]:
        return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()

    new = Database(tmp_path / "new.sqlite", 1, 0)
    await Database(tmp_path / "old.sqlite", 1, 0, migrations.STEPS[:steps]).close()
    old = Database(tmp_path / "old.sqlite", 1, 0)
    assert await old.read(schema) == await new.read(schema)
    await old.close()
    await new.close()


def test_steps_of_the_schema_call_no_code_that_may_change() -> None:
    """A step is frozen once released, and so must be everything that it runs."""
    for step in migrations.STEPS:
        assert set(step.__code__.co_names) == {"execute"}, step.__name__


async def test_a_file_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    (tmp_path / "indexes").mkdir()
    file = tmp_path / "indexes" / "docs.sqlite"
    await Database(file, 1, 0, migrations.STEPS[:1]).close()
    connection = connect(file, 0, "write")
    connection.execute(
        "INSERT INTO state (only, spec) VALUES (1, ?)", (tables.to_json(IndexSpec("docs", 2, "cosine")),)
    )
    vector_tables.create_vectors(connection, 2, "cosine")
    vector = np.ones(2, np.float32).tobytes()
    connection.execute("INSERT INTO namespaces (name, record_count, bytes) VALUES ('a', 1, 18)")
    connection.execute("INSERT INTO records (ns, id, metadata) VALUES (1, 'old', '{\"n\":1}')")
    connection.execute("INSERT INTO vectors (rowid, ns, embedding) VALUES (1, 1, ?)", (vector,))
    connection.execute("INSERT INTO fields (name) VALUES ('n')")
    connection.execute("INSERT INTO postings VALUES (1, 1, 1, 1.0, 1)")
    connection.close()
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0, cache_bytes=2**20)
    await engine.upsert("docs", "a", [Record("new", np.ones(2, np.float32), {"n": 1})])
    plan = QueryPlan(5, id="old", filter=filters.parse({"n": 1}))
    assert [match.id for match in (await engine.query("docs", "a", plan)).matches] == ["new", "old"]
    handle = engine.index("docs").handle
    await engine.close()
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    assert engine.index("docs").handle == handle and handle.id, "it was given an id, and keeps it"
    await engine.close()
    assert problems(file) == []


async def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def broken(connection: apsw.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        raise RuntimeError("power cut")

    await Database(tmp_path / "x.sqlite", 1, 0).close()
    with pytest.raises(RuntimeError, match="power cut"):
        Database(tmp_path / "x.sqlite", 1, 0, [*migrations.STEPS, broken])
    connection = connect(tmp_path / "x.sqlite", 0, "write")
    assert connection.pragma("user_version") == len(migrations.STEPS)
    assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'half'").fetchall()
    connection.close()


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "indexes").mkdir()
    (tmp_path / "indexes" / "docs.sqlite").write_bytes(b"this is not a database" * 1000)
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    assert isinstance(engine.unusable()["docs"], DataLoss)
    with pytest.raises(DataLoss, match=r"docs\.sqlite is damaged"):
        engine.index("docs")
    await engine.close()
    (tmp_path / "indexes" / "docs.sqlite").unlink()
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    assert engine.unusable() == {}
    await engine.close()


async def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "indexes").mkdir()
    file = tmp_path / "indexes" / "notes.sqlite"
    connection = apsw.Connection(str(file))
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    before = file.read_bytes()
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    with pytest.raises(FailedPrecondition, match=r"notes\.sqlite .* was not made by Pinyon"):
        engine.index("notes")
    await engine.close()
    assert file.read_bytes() == before


async def test_a_copied_or_renamed_index_is_refused(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))
    await engine.close()
    shutil.copy(tmp_path / "indexes" / "docs.sqlite", tmp_path / "indexes" / "docs-backup.sqlite")
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    with pytest.raises(FailedPrecondition, match=r"docs-backup\.sqlite or its log holds the index docs"):
        engine.index("docs-backup")
    assert [index.name for index in engine.indexes()] == ["docs"]
    await engine.close()


async def test_a_reader_that_could_not_open_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pinyon.storage.sqlite.connection import database as module

    database = Database(tmp_path / "x.sqlite", 1, 0)
    real, failures = module.connect, iter([True, True])

    def sometimes(*arguments: Any, **more: Any) -> apsw.Connection:
        if next(failures, False):
            raise apsw.CantOpenError("too many open files")
        return real(*arguments, **more)

    monkeypatch.setattr(module, "connect", sometimes)
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot be opened now"):
            await database.read(lambda connection: None)
    assert await database.read(lambda connection: connection.pragma("query_only")) == 1
    await database.close()


async def test_a_file_whose_creation_never_finished_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "indexes").mkdir()
    await Database(tmp_path / "indexes" / "docs.sqlite", 1, 0).close()
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    assert engine.indexes() == []
    await engine.close()


async def test_durability_pragmas_are_what_a_2xx_needs(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.sqlite", 1, 2**20)

    def pragmas(connection: apsw.Connection) -> list[object]:
        return [connection.pragma(name) for name in ("journal_mode", "synchronous", "page_size")]

    assert await database.write(pragmas) == ["wal", 3, 16_384]
    await database.close()


async def test_a_disk_that_takes_no_writes_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))
    await engine.upsert("docs", "a", [Record("x", np.ones(2, np.float32), {"n": 1})])
    await engine.close()

    def refusing(path: Path, mmap_bytes: int, mode: Any, **more: Any) -> apsw.Connection:
        if mode == "read only":  # SQLite would make shared memory beside the file
            raise apsw.CantOpenError("unable to open database file")
        assert mode == "frozen", mode
        return connect(path, mmap_bytes, mode, **more)

    monkeypatch.setattr("pinyon.storage.sqlite.connection.database.connect", refusing)
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0, read_only=True)
    found = await engine.query("docs", "a", QueryPlan(3, np.ones(2, np.float32), filter=filters.parse({"n": 1})))
    assert [match.id for match in found.matches] == ["x"]
    with pytest.raises(PermissionDenied, match="--read-only"):
        await engine.upsert("docs", "a", [Record("y", np.ones(2, np.float32), {})])
    await engine.close()
    (tmp_path / "indexes" / "docs.sqlite-wal").write_bytes(b"not folded yet")
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0, read_only=True)
    assert "cannot be opened" in engine.unusable()["docs"].message, "what is in the log would be missing"
    await engine.close()
