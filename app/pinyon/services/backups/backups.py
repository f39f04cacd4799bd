"""Backups of indexes, and the jobs that restore them."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, Literal, TypeVar
from uuid import uuid4

import msgspec

from pinyon.auth import permissions
from pinyon.concurrency.cancellation import cancel
from pinyon.domain import Backup, BackupLabel, Handle, Index
from pinyon.errors import InUse, NotFound, PinyonError
from pinyon.services import pages
from pinyon.services.backups.deleted_sources import DeletedSources
from pinyon.services.backups.restore_jobs import RestoreJob, RestoreJobs
from pinyon.services.backups.unfinished import UnfinishedBackup, UnfinishedBackups
from pinyon.services.control_plane import index_rules
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.moments import now
from pinyon.storage.engine import Engine

WAIT_S = 2.0
"""A response waits so many seconds for a backup or an index. Most are done by then."""
PAGE, LARGEST_PAGE = 10, 100
LONGEST_NAME, LONGEST_DESCRIPTION = 255, 1_000
"""Characters of the name and the description of a backup."""
LOOKED_EVERY_S = 5.0
"""How often a process looks whether a restore job of another one has lost its process."""

T = TypeVar("T")

log = logging.getLogger("pinyon.backups")


class BackupState(msgspec.Struct, frozen=True):
    """A backup, finished or not. index: what it is of. backup: None until it is ready. problem: why it failed.

    planned_for: when it will be taken, if that is not yet. source_deleted_at: when its index was deleted; None if it
    exists. Both by RFC 3339.
    """

    label: BackupLabel
    index: Index
    status: Literal["Initializing", "Ready", "Failed"]
    backup: Backup | None = None
    problem: str | None = None
    planned_for: str | None = None
    source_deleted_at: str | None = None


class Backups:
    """Every operation on backups. Call from the event-loop thread only.

    Backups that are being taken or have failed are stored, and so are restore jobs. So all processes tell the same.
    """

    def __init__(self, engine: Engine, indexes: Indexes) -> None:
        self._engine, self._indexes = engine, indexes
        self._unfinished = UnfinishedBackups(engine)
        self._jobs = RestoreJobs(engine)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sources = DeletedSources(engine)
        self._changed = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        indexes.after_deletion.append(self._note_deleted_sources)

    async def open(self) -> None:
        """Read what other processes noted, and from now on follow it. Call it when all indexes are open."""
        await self._sources.open()
        self._engine.watch(self._changed.set)
        is_waiting = await self._look_at_restores()
        self._following = asyncio.create_task(self._follow(is_waiting), context=contextvars.Context())

    async def close(self) -> None:
        """Wait for what is being copied."""
        if self._following is not None:
            await cancel(self._following)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def create(self, name: str, title: str | None, description: str | None) -> BackupState:
        """Take a backup of an index: as it is at one moment, while reads and writes go on.

        If it fails, its state says why. Raises NotFound or InvalidArgument.
        """
        permissions.check("control", name)
        index = self._indexes.index(name)
        label = BackupLabel(
            str(uuid4()),
            now(),
            index_rules.short_text(title, "name", LONGEST_NAME),
            index_rules.short_text(description, "description", LONGEST_DESCRIPTION),
        )
        await asyncio.wait([self._begin(index, label)], timeout=WAIT_S)
        return await self._state(label.id)

    async def take_scheduled(self, index: Index, label: BackupLabel) -> str | None:
        """Take a backup with the rights of the server, and wait for its end. Returns why it failed, or None.

        If the caller is cancelled, the backup is taken all the same.
        """
        taking = self._begin(index, label)
        await asyncio.wait([taking])
        return taking.result()

    def _begin(self, index: Index, label: BackupLabel) -> asyncio.Task[str | None]:
        backup = UnfinishedBackup(label, index)
        self._unfinished.begin(backup)
        return self._start(self._take(backup))

    async def _take(self, backup: UnfinishedBackup) -> str | None:
        """Take a backup that was begun. Returns why it failed, or None."""
        problem = None
        try:
            async with self._unfinished.taking(backup):
                await self._engine.create_backup(backup.index.handle, backup.label)
        except Exception as error:
            problem = _in_words(error)
            log.error("index %s was not backed up: %s", backup.index.name, problem, exc_info=_if_defect(error))
        await self._unfinished.end(msgspec.structs.replace(backup, problem=problem))
        return problem

    async def page(
        self, index: str | None, limit: int | None, token: str | None, include_deleted: bool = True
    ) -> tuple[list[BackupState], str | None]:
        """A page of backups, oldest first, and the token of the next one.

        index: only those of this index, by name. include_deleted: also those of deleted indexes that had the name.
        Raises NotFound if no such index exists, and no backup of a deleted one may be shown.
        """
        permissions.check("read")
        every = await self._visible()
        if index is not None:
            permissions.check_index(index)
            every = [state for state in every if state.index.name == index]
            if not include_deleted:
                every = [state for state in every if state.source_deleted_at is None]
            if not every:
                self._indexes.shown(index)  # raises NotFound
        rows = [(place(state.label.created_at, state.label.id), state) for state in every]
        return pages.page(rows, limit, PAGE, LARGEST_PAGE, token)

    async def describe(self, id: str) -> BackupState:
        """One backup. Raises NotFound."""
        permissions.check("read")
        return await self._state(id)

    async def delete(self, id: str) -> None:
        """Delete a backup. Raises NotFound, or InUse while it is being taken or restored."""
        permissions.check("control")
        state = await self._state(id)
        if state.status == "Failed":
            await self._unfinished.forget(id)
            return
        if state.status == "Initializing":
            raise InUse(f"Backup {id} is being taken; delete it when it is ready")
        await self.remove(id)

    async def remove(self, id: str) -> None:
        """Delete a backup that is ready, with the rights of the server.

        Raises NotFound, or InUse while it is being restored.
        """
        if any(job.backup_id == id and job.is_running for job in await self._jobs.all()):
            raise InUse(f"Backup {id} is being restored; delete it when the restore job has ended")
        await self._engine.delete_backup(id)

    async def restore(
        self,
        id: str,
        name: str,
        tags: Mapping[str, str],
        deletion_protection: bool,
        read_capacity: Mapping[str, Any] | None = None,
    ) -> RestoreJob:
        """Begin to make a new index of a backup.

        Raises NotFound, InUse if the backup is not ready, InvalidArgument, AlreadyExists, or PermissionDenied if no
        port is free. What goes wrong later is in the job.
        """
        permissions.check("control")
        state = await self._state(id)
        permissions.check("control", index_rules.name(name))
        if state.backup is None:
            raise InUse(f"Backup {id} is not ready: {state.problem or 'it is being taken'}")
        self._indexes.check_room_for(name)
        details = msgspec.structs.replace(
            state.index.details,
            created_at=now(),
            tags=index_rules.tags({}, tags),
            deletion_protection=deletion_protection,
            read_capacity=index_rules.read_capacity(read_capacity),
        )
        planned = Index(msgspec.structs.replace(state.index.spec, name=name), Handle(name, uuid4().hex), details)
        job = RestoreJob(str(uuid4()), id, state.index.name, name, planned.handle.id, now(), planned=planned)
        await self._jobs.begin(job)
        await asyncio.wait([self._start(self._restore(job, planned))], timeout=WAIT_S)
        return await self.job(job.id)

    async def _restore(self, job: RestoreJob, planned: Index) -> None:
        async def make() -> Index:
            return await self._engine.restore_backup(job.backup_id, job.target, job.target_id, planned.details)

        problem = None
        try:
            async with self._jobs.doing(job):
                await self._indexes.restore(planned, make)
        except Exception as error:
            problem = _in_words(error)
            what = job.backup_id, job.target, problem
            log.error("backup %s was not restored as index %s: %s", *what, exc_info=_if_defect(error))
        await self._jobs.end(job, problem)

    async def jobs(self, limit: int | None, token: str | None) -> tuple[list[RestoreJob], str | None]:
        """A page of restore jobs, oldest first, and the token of the next one."""
        permissions.check("read")
        visible = [job for job in await self._jobs.all() if is_visible(job.source) and is_visible(job.target)]
        rows = [(place(job.created_at, job.id), job) for job in visible]
        return pages.page(rows, limit, PAGE, LARGEST_PAGE, token)

    async def job(self, id: str) -> RestoreJob:
        """One restore job. Raises NotFound."""
        permissions.check("read")
        for job in await self._jobs.all():
            if job.id == id and is_visible(job.source) and is_visible(job.target):
                return job
        raise NotFound(f"Restore job {id[:80]} not found.")

    async def _look_at_restores(self) -> bool:
        """Tell the indexes which of them other processes restore. Returns whether there are any."""
        try:
            running = await self._jobs.elsewhere()
        except PinyonError as error:  # the next look may succeed
            log.info("restore jobs cannot be read: %s", error.message)
            return True
        except Exception:
            log.exception("restore jobs cannot be read")
            return True
        self._indexes.restored_elsewhere = {job.target: job.planned for job in running if job.planned is not None}
        return bool(running)

    async def _follow(self, is_waiting: bool) -> None:
        """Look at restore jobs when something has changed, and now and then while other processes do some."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LOOKED_EVERY_S if is_waiting else None)
            self._changed.clear()
            is_waiting = await self._look_at_restores()

    async def ready(self) -> list[BackupState]:
        """Every backup that is ready, whoever may see it."""
        backups = await self._engine.backups()
        await self._sources.note(backups)
        return [
            BackupState(each.label, each.index, "Ready", each, source_deleted_at=self._sources.deleted_at(each.index))
            for each in backups
        ]

    async def _note_deleted_sources(self) -> None:
        try:
            await self.ready()
        except PinyonError as error:  # the next look at the backups notes it
            log.error("backups cannot be read: %s", error.message)

    async def _visible(self) -> list[BackupState]:
        """Every backup that the API key may see, oldest first."""
        begun = await self._unfinished.all()  # before the others are read: one may get ready meanwhile
        ready = await self.ready()
        known = {state.label.id for state in ready}
        unfinished = [_state(each) for each in begun if each.label.id not in known]
        return sorted(
            (state for state in (*ready, *unfinished) if is_visible(state.index.name)),
            key=lambda state: (state.label.created_at, state.label.id),
        )

    async def _state(self, id: str) -> BackupState:
        for state in await self._visible():
            if state.label.id == id:
                return state
        raise NotFound(f"Backup {id[:80]} not found.")

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start to do this in the background.

        It has the rights of the server, because they were checked, and because the caller's key may end before it.
        """
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _state(backup: UnfinishedBackup) -> BackupState:
    status: Literal["Initializing", "Failed"] = "Initializing" if backup.problem is None else "Failed"
    return BackupState(backup.label, backup.index, status, problem=backup.problem)


def _in_words(error: Exception) -> str:
    if isinstance(error, PinyonError):
        return error.message
    return f"a defect of Pinyon's own ({type(error).__name__}); the log has the details"


def _if_defect(error: Exception) -> Exception | None:
    """The error, if its traceback says more than its message."""
    return None if isinstance(error, PinyonError) else error


def is_visible(index: str) -> bool:
    """Whether the API key is for this index as a whole. A backup has all its namespaces."""
    grant = permissions.GRANT.get()
    return grant.namespaces is None and grant.allows_index(index)


def place(created_at: str, id: str) -> str:
    """The place of a backup, a job or a schedule in a list that is ordered by time."""
    return f"{created_at} {id}"
