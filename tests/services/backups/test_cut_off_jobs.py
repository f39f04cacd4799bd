"""Backups and restore jobs whose process ended: they have failed, or are ready if they were done before."""

from pathlib import Path

import pytest
from pinyon.domain import BackupLabel, Handle, Index, IndexDetails, IndexSpec
from pinyon.errors import AlreadyExists
from pinyon.services.backups import restore_jobs, unfinished
from pinyon.services.backups.restore_jobs import RestoreJob, RestoreJobs
from pinyon.services.backups.unfinished import MOST_FAILED, UnfinishedBackup, UnfinishedBackups

from tests.storage.engines import ENGINES, EngineKind, every_engine

pytestmark = pytest.mark.anyio
STOPPED = "the server was stopped meanwhile"
DOCS = Index(IndexSpec("docs", 2, "cosine"), Handle("docs", "1"))


@pytest.fixture(autouse=True)
def leases_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So whoever else asks finds that the process has ended."""
    for module in (unfinished, restore_jobs):
        monkeypatch.setattr(module, "LEASE_S", 0)


@every_engine
async def test_a_backup_that_was_cut_off_has_failed_and_can_be_deleted(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    index = await engine.create_index(IndexSpec("docs", 2, "cosine"))
    ended, later = UnfinishedBackups(engine), UnfinishedBackups(engine)
    backups = [UnfinishedBackup(BackupLabel(id, "2026-01-02T03:04:05Z"), index) for id in ("cut", "done")]
    scheduled = UnfinishedBackup(BackupLabel("again", "2026-01-02T03:04:05Z", schedule="nightly"), index)
    for each in (*backups, scheduled):
        ended.begin(each)
        async with ended.taking(each):
            pass
    await engine.create_backup("docs", backups[1].label)
    assert [each.problem for each in await ended.all()] == [None, None, None], "its own process goes on with them"
    failed = await later.all()
    assert [(each.label.id, each.problem) for each in failed] == [("cut", STOPPED)], "schedules take theirs again"
    assert await UnfinishedBackups(engine).all() == failed, "it is stored"
    await later.forget("cut")
    assert await UnfinishedBackups(engine).all() == []
    await engine.close()


async def test_the_newest_failed_backups_are_remembered(tmp_path: Path) -> None:
    engine = await ENGINES["sqlite"].open(tmp_path)
    unfinished = UnfinishedBackups(engine)
    for number in range(MOST_FAILED + 2):
        each = UnfinishedBackup(BackupLabel(str(number), "2026-01-02T03:04:05Z"), DOCS, "The disk is full")
        unfinished.begin(each)
        await unfinished.end(each)
    assert [each.label.id for each in await UnfinishedBackups(engine).all()] == [
        str(number) for number in range(2, MOST_FAILED + 2)
    ]
    await engine.close()


@every_engine
async def test_a_restore_job_that_was_cut_off_has_failed_and_its_name_is_free(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))
    await engine.create_backup("docs", BackupLabel("b", "2026-01-02T03:04:05Z"))
    ended, later = RestoreJobs(engine), RestoreJobs(engine)

    def job(id: str, target: str) -> RestoreJob:
        return RestoreJob(id, "b", "docs", target, id, f"2026-01-02T03:04:0{id}Z", planned=DOCS)

    await ended.begin(job("1", "cut"))
    await ended.begin(job("2", "done"))
    await engine.restore_backup("b", "done", "2", IndexDetails())
    with pytest.raises(AlreadyExists):
        await later.begin(job("3", "cut"))
    assert [each.is_running for each in await ended.all()] == [True, True], "its own process goes on with them"
    assert await later.elsewhere() == []
    assert [(each.status, each.problem, each.planned) for each in await RestoreJobs(engine).all()] == [
        ("Failed", STOPPED, None),
        ("Completed", None, None),
    ]
    await later.begin(job("3", "cut"))
    await engine.close()
