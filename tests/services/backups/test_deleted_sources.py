"""When the indexes of backups were deleted is known to later processes too."""

from pathlib import Path

import pytest
from pinyon.domain import BackupLabel, IndexSpec
from pinyon.services.backups.deleted_sources import DeletedSources
from pinyon.storage.sqlite.engine import SqliteEngine

pytestmark = pytest.mark.anyio


async def test_the_time_of_a_deletion_is_stored_while_there_are_backups(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))
    backup = await engine.create_backup("docs", BackupLabel("an-id", "2026-01-01T00:00:00Z"))
    sources = DeletedSources(engine)
    await sources.note([backup])
    assert sources.deleted_at(backup.index) is None
    await engine.delete_index("docs")
    await sources.note([backup])
    noted = sources.deleted_at(backup.index)
    assert noted is not None
    await engine.close()

    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    sources = DeletedSources(engine)
    await sources.open()
    await sources.note([backup])
    assert sources.deleted_at(backup.index) == noted
    await sources.note([])
    assert sources.deleted_at(backup.index) is None, "nobody asks for it any more"
    await engine.close()
