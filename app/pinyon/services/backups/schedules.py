"""Backup schedules: each takes backups of one index again and again, and deletes those that have become old.

A run is planned ahead, with the id of its backup, and stored. So a run that the end of the process cut off is made
again under the same id, and one that was finished is not made twice. Of several processes one at a time looks for runs
that are due.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import uuid4

import msgspec

from pinyon import metrics
from pinyon.auth import permissions
from pinyon.domain import Backup, BackupLabel, Index, Lease
from pinyon.errors import AlreadyExists, InUse, InvalidArgument, NotFound, PinyonError
from pinyon.services import pages
from pinyon.services.backups.backups import LARGEST_PAGE, PAGE, Backups, BackupState, is_visible, place
from pinyon.services.backups.run_times import FREQUENCIES, Frequency, next_run
from pinyon.services.control_plane import index_rules
from pinyon.services.control_plane.catalogue_document import CatalogueDocument
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.leases import LEASE_S, work_with_lease
from pinyon.services.moments import rfc3339, utc_now
from pinyon.storage.engine import Engine

CHECK_S = 60.0
"""Seconds between two looks for runs that are due. Waiting until a run is due would miss changes of the clock."""
KEY = "backup-schedules"
LONGEST_NAME = 200
"""Characters of the name of a schedule. The names of its backups have a time too."""
LONGEST_RETENTION_DAYS = 3650
MOST_FAILURES = 50
"""Failed runs of a schedule that are remembered: the newest."""

log = logging.getLogger("pinyon.backups")


class PlannedRun(msgspec.Struct, frozen=True):
    """A run that is due at a moment. planned_at: when it was planned. backup_id: what its backup will be known by."""

    backup_id: str
    due: datetime
    planned_at: datetime


class FailedRun(msgspec.Struct, frozen=True):
    """A run that made no backup, and why."""

    label: BackupLabel
    problem: str


class Schedule(msgspec.Struct, frozen=True):
    """When backups of an index are taken, and how many days they are kept.

    index: as it was at the last run. start: what the times of the runs are counted from. run: the next one; None while
    the schedule is disabled.
    """

    id: str
    name: str
    index: Index
    frequency: Frequency
    retention_days: int
    created_at: datetime
    start: datetime
    run: PlannedRun | None
    failures: list[FailedRun] = []

    @property
    def enabled(self) -> bool:
        """Whether it takes backups."""
        return self.run is not None

    def expired(self, backup: Backup, now: datetime) -> bool:
        """Whether a backup is of this schedule and has been kept long enough."""
        taken_at = datetime.fromisoformat(backup.label.created_at)
        return backup.label.schedule == self.id and taken_at + timedelta(days=self.retention_days) <= now


class BackupSchedules:
    """Every operation on backup schedules. Call from the event-loop thread only. clock: tells the time, in UTC.

    A schedule ends with its index. Backups are deleted by a schedule that exists; those of an ended one stay.
    """

    def __init__(
        self, engine: Engine, indexes: Indexes, backups: Backups, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._engine, self._indexes, self._backups, self._clock = engine, indexes, backups, clock
        self._stored = CatalogueDocument(engine, KEY, list[Schedule], [])
        self._lease = Lease(KEY, uuid4().hex)
        self._task: asyncio.Task[None] | None = None
        indexes.after_deletion.append(self._end_those_of_deleted_indexes)

    def start(self) -> None:
        """Run what is due from now on, beginning with what was missed."""
        self._task = asyncio.create_task(self._run_on(), context=contextvars.Context())

    async def close(self) -> None:
        """Begin no more runs. A backup that is being taken is finished by Backups.close()."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def create(self, index_name: str, name: str, frequency: str, retention_days: int) -> Schedule:
        """Begin to take backups of an index. The first is due in one period.

        Raises NotFound, InvalidArgument, or AlreadyExists if another schedule of the index is enabled.
        """
        permissions.check("control", index_name)
        index = self._indexes.index(index_name)
        if not name:
            raise InvalidArgument("name must have at least one character")
        index_rules.short_text(name, "name", LONGEST_NAME)
        now = self._clock()
        frequency = _frequency(frequency, "schedule.frequency")
        schedule = Schedule(
            str(uuid4()), name, index, frequency, _retention(retention_days), now, now, _planned(now, frequency, now)
        )

        def with_it(schedules: list[Schedule]) -> list[Schedule]:
            _check_only_one(schedules, schedule)
            return [*schedules, schedule]

        await self._stored.change(with_it)
        return schedule

    async def page(self, index_name: str, limit: int | None, token: str | None) -> tuple[list[Schedule], str | None]:
        """A page of the schedules of an index, oldest first, and the token of the next one. Raises NotFound."""
        permissions.check("read", index_name)
        handle = self._indexes.shown(index_name).handle
        rows = [
            (place(rfc3339(each.created_at), each.id), each)
            for each in await self._stored.read()
            if each.index.handle == handle and is_visible(index_name)
        ]
        return pages.page(rows, limit, PAGE, LARGEST_PAGE, token)

    async def get(self, id: str) -> Schedule:
        """One schedule. Raises NotFound."""
        permissions.check("read")
        return _visible(await self._stored.read(), id)

    async def update(
        self, id: str, frequency: str | None, retention_days: int | None, enabled: bool | None
    ) -> Schedule:
        """Change a schedule; None leaves a property as it is.

        Another frequency, and an end of a pause, plan the next run from now on. Raises NotFound, InvalidArgument, or
        AlreadyExists if another schedule of the index is enabled.
        """
        permissions.check("control")
        now = self._clock()

        def changed(schedules: list[Schedule]) -> list[Schedule]:
            before = _visible(schedules, id)
            after = before
            if retention_days is not None:
                after = msgspec.structs.replace(after, retention_days=_retention(retention_days))
            if frequency is not None:
                after = msgspec.structs.replace(after, frequency=_frequency(frequency, "frequency"))
            if not (before.enabled if enabled is None else enabled):
                after = msgspec.structs.replace(after, run=None)
            elif not before.enabled or after.frequency != before.frequency:
                after = msgspec.structs.replace(after, start=now, run=_planned(now, after.frequency, now))
                _check_only_one(schedules, after)
            return [after if each.id == id else each for each in schedules]

        return _visible(await self._stored.change(changed), id)

    async def delete(self, id: str) -> None:
        """End a schedule. Its backups stay until somebody deletes them. Raises NotFound."""
        permissions.check("control")

        def without_it(schedules: list[Schedule]) -> list[Schedule]:
            _visible(schedules, id)
            return [each for each in schedules if each.id != id]

        await self._stored.change(without_it)

    async def history(self, id: str, limit: int | None, token: str | None) -> tuple[list[BackupState], str | None]:
        """A page of the runs of a schedule, newest first, and the token of the next one. Raises NotFound.

        They are the next run, the backups that are still there, and the newest runs that failed.
        """
        permissions.check("read")
        schedule = _visible(await self._stored.read(), id)
        runs = {state.label.id: state for state in await self._backups.ready() if state.label.schedule == id}
        for failed in schedule.failures:
            runs[failed.label.id] = BackupState(failed.label, schedule.index, "Failed", problem=failed.problem)
        if schedule.run is not None and schedule.run.backup_id not in runs:
            label = _label(schedule, schedule.run, schedule.run.planned_at)
            due = rfc3339(schedule.run.due)
            runs[label.id] = BackupState(label, schedule.index, "Initializing", planned_for=due)
        rows = [(place(run.planned_for or run.label.created_at, run.label.id), run) for run in runs.values()]
        return pages.page(rows, limit, PAGE, LARGEST_PAGE, token, newest_first=True)

    async def run_due(self) -> None:
        """Take the backups that are due, one after the other, and delete those that have been kept long enough.

        Does nothing while another process is at it.
        """
        if await self._engine.take_lease(self._lease, LEASE_S):
            await work_with_lease(self._engine, self._lease, self._run_due())

    async def _run_due(self) -> None:
        await self._end_those_of_deleted_indexes()
        schedules = await self._stored.read()
        for schedule in schedules:
            if schedule.run is not None and schedule.run.due <= self._clock():
                await self._take(schedule, schedule.run)
        if schedules:
            await self._expire()

    async def _run_on(self) -> None:
        while True:
            try:
                await self.run_due()
            except PinyonError as error:  # nothing is lost: the next look does it
                log.error("backup schedules could not run: %s", error.message)
            except Exception:  # a defect in one run must not end the others
                log.exception("backup schedules could not run")
            await asyncio.sleep(CHECK_S)

    async def _take(self, schedule: Schedule, run: PlannedRun) -> None:
        label = _label(schedule, run, self._clock())
        index, problem = schedule.index, None
        try:
            index = self._engine.index(schedule.index.handle)
            if run.backup_id not in {backup.label.id for backup in await self._engine.backups()}:
                problem = await self._backups.take_scheduled(index, label)
        except PinyonError as error:
            problem = error.message
            log.error("schedule %s took no backup of index %s: %s", schedule.name, index.name, problem)
        metrics.scheduled_backup(index.name, problem is None)

        def noted(before: Schedule) -> Schedule:
            failures = before.failures if problem is None else [*before.failures, FailedRun(label, problem)]
            after = msgspec.structs.replace(before, index=index, failures=failures[-MOST_FAILURES:])
            if after.run == run:
                after = msgspec.structs.replace(after, run=_planned(after.start, after.frequency, self._clock()))
            return after

        try:
            await self._stored.change(
                lambda schedules: [noted(each) if each.id == schedule.id else each for each in schedules]
            )
        except PinyonError as error:  # the next look finds the backup, or takes it again
            log.error("the run of schedule %s cannot be stored: %s", schedule.name, error.message)

    async def _end_those_of_deleted_indexes(self) -> None:
        try:
            ended = [schedule.name for schedule in await self._stored.read() if self._is_deleted(schedule.index)]
            if ended:
                log.info("schedules of deleted indexes end: %s", ", ".join(ended))
                await self._stored.change(
                    lambda schedules: [each for each in schedules if not self._is_deleted(each.index)]
                )
        except PinyonError as error:  # the next look tries it again
            log.error("the end of schedules cannot be stored: %s", error.message)

    def _is_deleted(self, index: Index) -> bool:
        try:
            self._engine.index(index.handle)
        except NotFound:
            return True
        except PinyonError:  # it cannot be used, so its next run will fail
            pass
        return False

    async def _expire(self) -> None:
        now = self._clock()
        schedules = {schedule.id: schedule for schedule in await self._stored.read()}
        for backup in await self._engine.backups():
            schedule = schedules.get(backup.label.schedule or "")
            if schedule is not None and schedule.expired(backup, now):
                try:
                    await self._backups.remove(backup.label.id)
                    log.info("backup %s of schedule %s was kept long enough", backup.label.name, schedule.name)
                except (InUse, NotFound) as error:  # it is being restored, or somebody was faster
                    log.info("%s", error.message)


def _visible(schedules: Sequence[Schedule], id: str) -> Schedule:
    for schedule in schedules:
        if schedule.id == id and is_visible(schedule.index.name):
            return schedule
    raise NotFound(f"Backup schedule {id[:80]} not found.")


def _check_only_one(schedules: Sequence[Schedule], wanted: Schedule) -> None:
    for other in schedules:
        if other.enabled and other.index.handle == wanted.index.handle and other.id != wanted.id:
            raise AlreadyExists(
                f"Index {wanted.index.name} has the enabled backup schedule '{other.name}' ({other.id}) already; "
                "disable or delete that one first"
            )


def _planned(start: datetime, frequency: Frequency, now: datetime) -> PlannedRun:
    return PlannedRun(str(uuid4()), next_run(start, frequency, now), now)


def _label(schedule: Schedule, run: PlannedRun, created_at: datetime) -> BackupLabel:
    name = f"{schedule.name}-{run.due:%Y%m%dT%H%M%SZ}"
    return BackupLabel(run.backup_id, rfc3339(created_at), name, None, schedule.id)


def _frequency(value: str, field: str) -> Frequency:
    for frequency in FREQUENCIES:
        if frequency == value:
            return frequency
    raise InvalidArgument(f"{field} must be daily, weekly or monthly, got '{value[:40]}'")


def _retention(days: int) -> int:
    if not 1 <= days <= LONGEST_RETENTION_DAYS:
        raise InvalidArgument(f"retention.expire_after_days must be between 1 and {LONGEST_RETENTION_DAYS}, got {days}")
    return days
