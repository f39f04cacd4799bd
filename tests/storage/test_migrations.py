"""Opening files of other versions, and files that are not ours."""

from pathlib import Path

import apsw
import pytest

from app.errors import DataLoss, FailedPrecondition
from app.storage import migrations
from app.storage.database import Database, connect
from app.storage.sqlite_engine import SqliteEngine

pytestmark = pytest.mark.anyio


async def test_a_new_file_has_the_newest_schema(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.sqlite", 1, 0)
    assert await database.read(lambda connection: connection.pragma("user_version")) == len(migrations.STEPS)
    await database.close()


async def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    connection = connect(tmp_path / "x.sqlite", 0, "write")
    connection.pragma("user_version", len(migrations.STEPS) + 1)
    connection.close()
    with pytest.raises(FailedPrecondition, match="use the newer Pinyon"):
        Database(tmp_path / "x.sqlite", 1, 0)


async def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: apsw.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        raise RuntimeError("power cut")

    await Database(tmp_path / "x.sqlite", 1, 0).close()
    monkeypatch.setattr(migrations, "STEPS", [*migrations.STEPS, broken])
    with pytest.raises(RuntimeError, match="power cut"):
        Database(tmp_path / "x.sqlite", 1, 0)
    connection = connect(tmp_path / "x.sqlite", 0, "write")
    assert connection.pragma("user_version") == len(migrations.STEPS) - 1
    assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'half'").fetchall()
    connection.close()


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "indexes").mkdir()
    (tmp_path / "indexes" / "docs.sqlite").write_bytes(b"this is not a database" * 1000)
    with pytest.raises(DataLoss, match=r"docs\.sqlite is damaged"):
        await SqliteEngine.open_folder(tmp_path, 1, 0)
    (tmp_path / "indexes" / "docs.sqlite").unlink()
    await (await SqliteEngine.open_folder(tmp_path, 1, 0)).close()  # the lock was let go


async def test_a_file_whose_creation_never_finished_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "indexes").mkdir()
    await Database(tmp_path / "indexes" / "docs.sqlite", 1, 0).close()
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    assert await engine.indexes() == []
    await engine.close()


async def test_durability_pragmas_are_what_a_2xx_needs(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.sqlite", 1, 2**20)

    def pragmas(connection: apsw.Connection) -> list[object]:
        return [connection.pragma(name) for name in ("journal_mode", "synchronous", "page_size")]

    assert await database.write(pragmas) == ["wal", 2, 16_384]
    await database.close()
