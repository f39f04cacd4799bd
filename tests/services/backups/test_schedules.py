"""Backup schedules: what is due is done once, what is old is deleted, and nothing else is touched."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pinyon import metrics
from pinyon.domain import DEFAULT_NAMESPACE, Index, IndexSpec, Record
from pinyon.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied, Unavailable
from pinyon.services.backups.backups import Backups
from pinyon.services.backups.schedules import BackupSchedules, Schedule
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.folder.backups.index_backups import IndexBackups

pytestmark = pytest.mark.anyio
BEGIN = datetime(2026, 4, 2, 18, 22, 56, tzinfo=UTC)
DAY = timedelta(days=1)


class Indexes:
    """Stands for the indexes of an installation. A restore begins when `may_restore` is set."""

    def __init__(self, engine: SqliteEngine) -> None:
        self.index = self.shown = engine.index
        self.after_deletion: list[Any] = []
        self.may_restore = asyncio.Event()

    def check_room_for(self, name: str) -> None:
        """There is room."""

    async def restore(self, planned: Index, make: Callable[[], Awaitable[Index]]) -> None:
        await self.may_restore.wait()
        await make()


class Site:
    """A data folder with schedules, and a clock that the test sets."""

    def __init__(self, engine: SqliteEngine) -> None:
        self.engine, self.now = engine, BEGIN
        self.indexes: Any = Indexes(engine)
        self.backups = Backups(engine, self.indexes)
        self.schedules = BackupSchedules(engine, self.indexes, self.backups, lambda: self.now)

    async def at(self, moment: datetime) -> list[str]:
        """What is due at this moment is done. The names of all backups then."""
        self.now = moment
        await self.schedules.run_due()
        return [str(backup.label.name) for backup in await self.engine.backups()]

    async def history(self, schedule: Schedule) -> list[tuple[str, str | None]]:
        return [(run.status, run.label.name) for run in (await self.schedules.history(schedule.id, None, None))[0]]


@asynccontextmanager
async def site(folder: Path, now: datetime = BEGIN, read_only: bool = False) -> AsyncIterator[Site]:
    engine = await SqliteEngine.open_folder(folder, 1, 0, read_only=read_only)
    opened = Site(engine)
    opened.now = now
    if not engine.indexes():
        await engine.create_index(IndexSpec("docs", 2, "cosine"))
        await engine.upsert("docs", DEFAULT_NAMESPACE, [Record("a", np.float32([1, 2]), {})])
    await opened.backups.open()
    yield opened
    await opened.schedules.close()
    await opened.backups.close()
    await engine.close()


async def test_a_schedule_takes_a_backup_in_each_period_and_says_when_the_next_is_due(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        schedule = await here.schedules.create("docs", "nightly", "daily", 90)
        assert schedule.run is not None
        assert (schedule.run.due, schedule.enabled) == (BEGIN + DAY, True)
        assert await here.history(schedule) == [("Initializing", "nightly-20260403T182256Z")]
        assert await here.at(BEGIN + DAY - timedelta(seconds=1)) == []
        assert await here.at(BEGIN + DAY) == ["nightly-20260403T182256Z"]
        assert await here.at(BEGIN + DAY) == ["nightly-20260403T182256Z"], "each run is made once"
        assert len(await here.at(BEGIN + 2 * DAY)) == 2
        assert await here.history(schedule) == [
            ("Initializing", "nightly-20260405T182256Z"),
            ("Ready", "nightly-20260404T182256Z"),
            ("Ready", "nightly-20260403T182256Z"),
        ]
        backup = (await here.engine.backups())[0]
        assert (backup.label.schedule, backup.label.id, backup.records) == (schedule.id, schedule.run.backup_id, 1)


async def test_runs_that_were_missed_are_made_once_at_the_next_start(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        schedule = await here.schedules.create("docs", "nightly", "daily", 90)
    async with site(tmp_path, BEGIN + 10.5 * DAY) as here:
        assert await here.schedules.get(schedule.id) == schedule
        assert await here.at(here.now) == ["nightly-20260403T182256Z"]
        planned = (await here.schedules.get(schedule.id)).run
        assert planned is not None
        assert planned.due == BEGIN + 11 * DAY
        assert len(await here.at(here.now)) == 1


async def test_the_task_of_a_server_begins_with_what_is_due(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.schedules.create("docs", "nightly", "daily", 90)
        here.now += DAY
        here.schedules.start()
        while not await here.engine.backups():
            await asyncio.sleep(0)


async def test_a_backup_that_was_finished_before_it_was_noted_is_not_taken_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise Unavailable("The disk is full")

    async with site(tmp_path) as here:
        schedule = await here.schedules.create("docs", "nightly", "daily", 90)
        with monkeypatch.context() as patched:
            patched.setattr(SqliteEngine, "put_catalogue_value", fail)
            assert len(await here.at(BEGIN + DAY)) == 1
            assert len(await here.at(BEGIN + DAY)) == 1
    async with site(tmp_path, BEGIN + DAY) as here:
        assert await here.schedules.get(schedule.id) == schedule, "the end of the run was not stored"
        assert len(await here.at(BEGIN + DAY)) == 1
        assert [status for status, _ in await here.history(schedule)] == ["Initializing", "Ready"]


async def test_a_failed_run_is_in_the_history_with_its_reason_and_the_next_one_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Unavailable("The disk did not take the backup: No space left on device")

    def counted(outcome: str) -> float:
        return metrics.SCHEDULED_BACKUPS.labels("docs", outcome)._value.get()

    taken, failed = counted("taken"), counted("failed")

    async with site(tmp_path) as here:
        schedule = await here.schedules.create("docs", "nightly", "daily", 90)
        with monkeypatch.context() as patched:
            patched.setattr(IndexBackups, "take", fail)
            assert await here.at(BEGIN + DAY) == []
            assert await here.at(BEGIN + DAY) == []
        states, _ = await here.schedules.history(schedule.id, None, None)
        assert [state.status for state in states] == ["Initializing", "Failed"]
        assert "No space left" in str(states[1].problem)
    async with site(tmp_path) as here:
        assert len(await here.at(BEGIN + 2 * DAY)) == 1
        assert [status for status, _ in await here.history(schedule)] == ["Initializing", "Ready", "Failed"]
    assert (counted("taken"), counted("failed")) == (taken + 1, failed + 1)


async def test_only_old_backups_of_an_existing_schedule_are_deleted(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        own = await here.backups.create("docs", "mine", None)
        ended = await here.schedules.create("docs", "ended", "daily", 2)
        await here.at(BEGIN + DAY)
        await here.schedules.delete(ended.id)
        schedule = await here.schedules.create("docs", "kept", "daily", 2)
        for day in range(2, 6):
            await here.at(BEGIN + day * DAY)
        every = {"mine", "ended-20260403T182256Z", "kept-20260406T182256Z", "kept-20260407T182256Z"}
        assert set(await here.at(BEGIN + 5 * DAY)) == every
        await here.schedules.update(schedule.id, None, 1, None)
        assert set(await here.at(BEGIN + 5 * DAY)) == every - {"kept-20260406T182256Z"}, "also of what is there"
        assert own.label.id in {backup.label.id for backup in await here.engine.backups()}


async def test_a_backup_that_is_being_restored_is_deleted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinyon.services.backups.backups.WAIT_S", 0)
    async with site(tmp_path) as here:
        schedule = await here.schedules.create("docs", "short", "monthly", 1)
        (name,) = await here.at(datetime(2026, 5, 2, 18, 22, 56, tzinfo=UTC))
        backup = (await here.engine.backups())[0]
        await here.backups.restore(backup.label.id, "again", {}, False)
        assert await here.at(here.now + 3 * DAY) == [name]
        here.indexes.may_restore.set()
        while "again" not in [index.name for index in here.engine.indexes()]:
            await asyncio.sleep(0)
        await here.backups.close()
        assert await here.at(here.now) == []
        assert [status for status, _ in await here.history(schedule)] == ["Initializing"]


async def test_a_paused_schedule_takes_nothing_and_goes_on_from_when_it_is_resumed(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        schedule = await here.schedules.create("docs", "nightly", "daily", 90)
        paused = await here.schedules.update(schedule.id, None, None, False)
        assert (paused.run, paused.enabled, await here.history(paused)) == (None, False, [])
        assert await here.at(BEGIN + 3.5 * DAY) == []
        resumed = await here.schedules.update(schedule.id, "weekly", None, True)
        assert resumed.run is not None
        assert resumed.run.due == BEGIN + 10.5 * DAY
        assert await here.schedules.update(schedule.id, "weekly", None, True) == resumed, "nothing changes"
    async with site(tmp_path) as here:
        assert await here.schedules.get(schedule.id) == resumed


async def test_an_index_has_one_enabled_schedule(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        first = await here.schedules.create("docs", "first", "daily", 90)
        with pytest.raises(AlreadyExists, match="'first'"):
            await here.schedules.create("docs", "second", "daily", 90)
        await here.schedules.update(first.id, None, None, False)
        here.now += timedelta(seconds=1)
        second = await here.schedules.create("docs", "second", "daily", 90)
        with pytest.raises(AlreadyExists, match="'second'"):
            await here.schedules.update(first.id, None, None, True)
        assert [each.id for each in (await here.schedules.page("docs", None, None))[0]] == [first.id, second.id]


async def test_a_schedule_ends_with_its_index_and_its_backups_stay(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        schedule = await here.schedules.create("docs", "nightly", "daily", 1)
        await here.at(BEGIN + DAY)
        await here.engine.delete_index("docs")
        await here.engine.create_index(IndexSpec("docs", 2, "cosine"))
        assert (await here.schedules.page("docs", None, None))[0] == [], "the new index has none"
        for call in here.indexes.after_deletion:
            await call()
        with pytest.raises(NotFound):
            await here.schedules.get(schedule.id)
        assert await here.at(BEGIN + 5 * DAY) == ["nightly-20260403T182256Z"]


@pytest.mark.parametrize(
    ("name", "frequency", "days", "message"),
    [
        ("", "daily", 1, "name must have at least one character"),
        ("x" * 201, "daily", 1, "at most 200"),
        ("x", "hourly", 1, "schedule.frequency must be daily, weekly or monthly, got 'hourly'"),
        ("x", "daily", 0, "between 1 and 3650, got 0"),
        ("x", "daily", 3651, "between 1 and 3650, got 3651"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused(
    tmp_path: Path, name: str, frequency: str, days: int, message: str
) -> None:
    async with site(tmp_path) as here:
        with pytest.raises(InvalidArgument, match=message):
            await here.schedules.create("docs", name, frequency, days)


async def test_a_read_only_process_lists_schedules_and_changes_none(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        schedule = await here.schedules.create("docs", "nightly", "daily", 1)
    async with site(tmp_path, read_only=True) as here:
        assert (await here.schedules.page("docs", None, None))[0] == [schedule]
        with pytest.raises(PermissionDenied):
            await here.schedules.delete(schedule.id)
        assert await here.schedules.get(schedule.id) == schedule
