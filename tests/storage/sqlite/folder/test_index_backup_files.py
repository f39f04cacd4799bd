"""The files of backups: what is damaged or unfinished is noticed."""

import json
from pathlib import Path

import pytest
from pinyon.domain import IndexDetails, IndexSpec
from pinyon.errors import DataLoss, NotFound
from pinyon.storage.sqlite.folder.backups.index_backups import IndexBackups

from tests.storage.engines import ENGINES
from tests.storage.test_index_backups import filled, label

pytestmark = pytest.mark.anyio
SQLITE = ENGINES["sqlite"]


async def test_a_damaged_backup_makes_no_index(tmp_path: Path) -> None:
    engine = await filled(SQLITE, tmp_path)
    backup = await engine.create_backup("docs", label())
    file = tmp_path / "backups" / backup.label.id / "index.sqlite"
    content = bytearray(file.read_bytes())
    for place in range(len(content) // 3, len(content), 512):
        content[place] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(DataLoss):
        await engine.restore_backup(backup.label.id, "again", "id", IndexDetails())
    assert [index.name for index in engine.indexes()] == ["docs"]
    await engine.create_index(IndexSpec("again", 2, "cosine"))  # the name is free
    await engine.close()


async def test_a_backup_whose_description_is_not_its_own_makes_no_index(tmp_path: Path) -> None:
    engine = await filled(SQLITE, tmp_path)
    backup = await engine.create_backup("docs", label())
    about = tmp_path / "backups" / backup.label.id / "backup.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "records": 8}))
    with pytest.raises(DataLoss, match="its file is not what backup.json says"):
        await engine.restore_backup(backup.label.id, "again", "id", IndexDetails())
    about.write_text("{")
    assert await engine.backups() == []
    await engine.close()


def test_a_backup_that_another_caller_deletes_meanwhile_is_not_found_and_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups = IndexBackups(tmp_path)
    monkeypatch.setattr(backups, "_ids", lambda: {"gone"})  # when the folder was listed, it was there
    assert backups.all() == []
    with pytest.raises(NotFound):
        backups.get("gone")
    monkeypatch.setattr(backups, "get", lambda id: None)
    with pytest.raises(NotFound):
        backups.remove("gone")
    assert not caplog.records


async def test_a_start_removes_what_was_not_finished(tmp_path: Path) -> None:
    engine = await filled(SQLITE, tmp_path)
    backup = await engine.create_backup("docs", label())
    await engine.close()
    for end in ("partial", "deleted"):
        (tmp_path / "backups" / f"x.{end}").mkdir()
        (tmp_path / "backups" / f"x.{end}" / "index.sqlite").write_bytes(b"half")
    engine = await SQLITE.open(tmp_path)
    assert [folder.name for folder in (tmp_path / "backups").iterdir()] == [backup.label.id]
    assert await engine.backups() == [backup]
    await engine.close()
