"""Backups of indexes, and the jobs that restore them."""

import asyncio
import contextvars
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, Literal
from uuid import uuid4

import msgspec

from pinyon.auth import permissions
from pinyon.domain import Backup, BackupLabel, Handle, Index, IndexDetails, Lease
from pinyon.errors import InUse, NotFound, PinyonError
from pinyon.services import pages
from pinyon.services.backups.deleted_sources import DeletedSources
from pinyon.services.control_plane import index_rules
from pinyon.services.control_plane.catalogue_document import CatalogueDocument
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.leases import LEASE_S, renewed
from pinyon.services.moments import now
from pinyon.storage.engine import Engine

WAIT_S = 2.0
"""A response waits so many seconds for a backup or an index. Most are done by then."""
PAGE, LARGEST_PAGE = 10, 100
JOBS_KEY = "restore-jobs"
MOST_JOBS = 100
"""Restore jobs that are remembered: the newest."""
LONGEST_NAME, LONGEST_DESCRIPTION = 255, 1_000
"""Characters of the name and the description of a backup."""

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


class RestoreJob(msgspec.Struct, frozen=True):
    """A backup that becomes an index. source: the index that the backup is of. problem: why it failed."""

    id: str
    backup_id: str
    source: str
    target: str
    target_id: str
    created_at: str
    status: Literal["InProgress", "Completed", "Failed"] = "InProgress"
    completed_at: str | None = None
    problem: str | None = None


class Backups:
    """Every operation on backups. Call from the event-loop thread only.

    Backups that are being taken or have failed are known to this process only: after its end they are gone. Restore
    jobs are stored. One that no process does any more has failed, unless its index is there.
    """

    def __init__(self, engine: Engine, indexes: Indexes) -> None:
        self._engine, self._indexes = engine, indexes
        self._unfinished: dict[str, BackupState] = {}
        self._stored = CatalogueDocument(engine, JOBS_KEY, list[RestoreJob], [])
        self._own_jobs: dict[str, RestoreJob] = {}  # jobs that this process does, or whose end could not be stored
        self._owner = uuid4().hex
        self._tasks: set[asyncio.Task[None]] = set()
        self._sources = DeletedSources(engine)
        indexes.after_deletion.append(self._note_deleted_sources)

    async def open(self) -> None:
        """Read what earlier processes noted. Call it when all indexes are open."""
        await self._sources.open()

    async def close(self) -> None:
        """Wait for what is being copied."""
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
        await asyncio.wait([self._begin(index, label)])
        state = self._unfinished.pop(label.id, None)  # the history of the schedule has what failed
        return None if state is None else state.problem

    def _begin(self, index: Index, label: BackupLabel) -> asyncio.Task[None]:
        self._unfinished[label.id] = BackupState(label, index, "Initializing")
        return self._start(self._take(index, label))

    async def _take(self, index: Index, label: BackupLabel) -> None:
        try:
            await self._engine.create_backup(index.handle, label)
            del self._unfinished[label.id]
        except Exception as error:
            problem = _in_words(error)
            log.error("index %s was not backed up: %s", index.name, problem, exc_info=_if_defect(error))
            failed = msgspec.structs.replace(self._unfinished[label.id], status="Failed", problem=problem)
            self._unfinished[label.id] = failed

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
            del self._unfinished[id]
            return
        if state.status == "Initializing":
            raise InUse(f"Backup {id} is being taken; delete it when it is ready")
        await self.remove(id)

    async def remove(self, id: str) -> None:
        """Delete a backup that is ready, with the rights of the server.

        Raises NotFound, or InUse while it is being restored.
        """
        if any(job.backup_id == id and job.status == "InProgress" for job in await self._jobs()):
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
        job = RestoreJob(str(uuid4()), id, state.index.name, name, uuid4().hex, now())
        await self._engine.take_lease(self._lease(job), LEASE_S)
        await self._store(job)
        self._own_jobs[job.id] = job
        await asyncio.wait([self._start(self._restore(job, state.index, details))], timeout=WAIT_S)
        return await self.job(job.id)

    async def _restore(self, job: RestoreJob, source: Index, details: IndexDetails) -> None:
        spec = msgspec.structs.replace(source.spec, name=job.target)
        planned = Index(spec, Handle(job.target, job.target_id), details)

        async def make() -> Index:
            return await self._engine.restore_backup(job.backup_id, job.target, job.target_id, details)

        problem = None
        try:
            async with renewed(self._engine, self._lease(job)):
                await self._indexes.restore(planned, make)
        except Exception as error:
            problem = _in_words(error)
            what = job.backup_id, job.target, problem
            log.error("backup %s was not restored as index %s: %s", *what, exc_info=_if_defect(error))
        finished = self._own_jobs[job.id] = _finished(job, problem)
        try:
            await self._store(finished)
            del self._own_jobs[job.id]
            await self._engine.release_lease(self._lease(job))
        except PinyonError as error:  # this process knows the end of the job, and another one finds it out
            log.error("the end of restore job %s cannot be stored: %s", job.id, error.message)

    async def jobs(self, limit: int | None, token: str | None) -> tuple[list[RestoreJob], str | None]:
        """A page of restore jobs, oldest first, and the token of the next one."""
        permissions.check("read")
        visible = [job for job in await self._jobs() if is_visible(job.source) and is_visible(job.target)]
        rows = [(place(job.created_at, job.id), job) for job in visible]
        return pages.page(rows, limit, PAGE, LARGEST_PAGE, token)

    async def job(self, id: str) -> RestoreJob:
        """One restore job. Raises NotFound."""
        permissions.check("read")
        for job in await self._jobs():
            if job.id == id and is_visible(job.source) and is_visible(job.target):
                return job
        raise NotFound(f"Restore job {id[:80]} not found.")

    async def _jobs(self) -> list[RestoreJob]:
        """Every restore job. Those that no process does any more are finished, or have failed."""
        jobs = []
        for job in await self._stored.read():
            job = self._own_jobs.get(job.id, job)
            jobs.append(await self._judged(job) if job.status == "InProgress" else job)
        return jobs

    async def _judged(self, job: RestoreJob) -> RestoreJob:
        """A job in progress, or its end if its process has ended."""
        try:
            if job.id in self._own_jobs or not await self._engine.take_lease(self._lease(job), LEASE_S):
                return job
            ids = {index.handle.id for index in self._engine.indexes()}
            ended = _finished(job, None if job.target_id in ids else "the server was stopped meanwhile")
            stored = await self._stored.change(lambda jobs: [ended if each == job else each for each in jobs])
            await self._engine.release_lease(self._lease(job))
        except PinyonError as error:  # this process only reads, for example; another one will store its end
            log.info("the end of restore job %s cannot be stored: %s", job.id, error.message)
            return job
        return next((each for each in stored if each.id == job.id), ended)

    def _lease(self, job: RestoreJob) -> Lease:
        return Lease(f"restore/{job.id}", self._owner)

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
        unfinished = list(self._unfinished.values())  # before the others are read: one may get ready meanwhile
        ready = await self.ready()
        known = {state.label.id for state in ready}
        unfinished = [state for state in unfinished if state.label.id not in known]
        return sorted(
            (state for state in (*ready, *unfinished) if is_visible(state.index.name)),
            key=lambda state: (state.label.created_at, state.label.id),
        )

    async def _state(self, id: str) -> BackupState:
        for state in await self._visible():
            if state.label.id == id:
                return state
        raise NotFound(f"Backup {id[:80]} not found.")

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start to do this in the background.

        It has the rights of the server, because they were checked, and because the caller's key may end before it.
        """
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _store(self, job: RestoreJob) -> None:
        """Store a job, and forget the oldest ended ones."""

        def with_it(jobs: list[RestoreJob]) -> list[RestoreJob]:
            every = sorted(
                [*(each for each in jobs if each.id != job.id), job], key=lambda each: place(each.created_at, each.id)
            )
            running = [each for each in every if each.status == "InProgress"]
            ended = [each for each in every if each.status != "InProgress"]
            return sorted(ended[-MOST_JOBS:] + running, key=lambda each: place(each.created_at, each.id))

        await self._stored.change(with_it)


def _finished(job: RestoreJob, problem: str | None) -> RestoreJob:
    return msgspec.structs.replace(
        job, status="Completed" if problem is None else "Failed", completed_at=now(), problem=problem
    )


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
