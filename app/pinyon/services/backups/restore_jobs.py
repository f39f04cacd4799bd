"""The jobs that restore backups. They are stored, so all processes of an installation tell the same."""

import logging
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal
from uuid import uuid4

import msgspec

from pinyon.domain import Index, Lease
from pinyon.errors import AlreadyExists, PinyonError
from pinyon.services.control_plane.catalogue_document import CatalogueDocument
from pinyon.services.leases import LEASE_S, renewed
from pinyon.services.moments import now
from pinyon.storage.engine import Engine

KEY = "restore-jobs"
MOST_ENDED = 100
"""Ended jobs that are remembered: the newest."""

log = logging.getLogger("pinyon.backups")


class RestoreJob(msgspec.Struct, frozen=True):
    """A backup that becomes an index. source: the index that the backup is of. problem: why it failed.

    planned: what the index will be; None at the end.
    """

    id: str
    backup_id: str
    source: str
    target: str
    target_id: str
    created_at: str
    status: Literal["InProgress", "Completed", "Failed"] = "InProgress"
    completed_at: str | None = None
    problem: str | None = None
    planned: Index | None = None

    @property
    def is_running(self) -> bool:
        """Whether its end is not known yet."""
        return self.status == "InProgress"

    def ended(self, problem: str | None) -> "RestoreJob":
        """The job at its end."""
        return msgspec.structs.replace(
            self,
            status="Completed" if problem is None else "Failed",
            completed_at=now(),
            problem=problem,
            planned=None,
        )


class RestoreJobs:
    """Call from the event-loop thread only.

    A job that no process does any more has failed, unless its index is there.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stored = CatalogueDocument(engine, KEY, list[RestoreJob], [])
        self._own: dict[str, RestoreJob] = {}  # done by this process, or their end could not be stored
        self._owner = uuid4().hex

    async def all(self) -> list[RestoreJob]:
        """Every job, oldest first."""
        return [await self._judged(self._own.get(job.id, job)) for job in await self._stored.read()]

    async def elsewhere(self) -> list[RestoreJob]:
        """The jobs that other processes do now."""
        return [job for job in await self.all() if job.is_running and job.id not in self._own]

    async def begin(self, job: RestoreJob) -> None:
        """From now on this process does a job. Raises AlreadyExists if another job makes an index of this name."""
        self._own[job.id] = job
        try:
            await self._engine.take_lease(self._lease(job), LEASE_S)
            await self._stored.change(lambda jobs: _with_new(jobs, job))
        except BaseException:
            del self._own[job.id]
            raise

    def doing(self, job: RestoreJob) -> AbstractAsyncContextManager[Any]:
        """Keep the other processes from taking the job for ended, during a block."""
        return renewed(self._engine, self._lease(job))

    async def end(self, job: RestoreJob, problem: str | None) -> None:
        """A job of this process has ended."""
        ended = self._own[job.id] = job.ended(problem)
        try:
            await self._stored.change(lambda jobs: _with(jobs, ended))
            del self._own[job.id]
            await self._engine.release_lease(self._lease(job))
        except PinyonError as error:  # this process knows the end of the job, and another one finds it out
            log.error("the end of restore job %s cannot be stored: %s", job.id, error.message)

    async def _judged(self, job: RestoreJob) -> RestoreJob:
        """A job, or its end if its process has ended."""
        if job.id in self._own or not job.is_running:
            return job
        try:
            if not await self._engine.take_lease(self._lease(job), LEASE_S):
                return job
            ids = {index.handle.id for index in self._engine.indexes()}
            ended = job.ended(None if job.target_id in ids else "the server was stopped meanwhile")
            stored = await self._stored.change(lambda jobs: [ended if each == job else each for each in jobs])
            await self._engine.release_lease(self._lease(job))
        except PinyonError as error:  # this process only reads, for example; another one will store its end
            log.info("the end of restore job %s cannot be stored: %s", job.id, error.message)
            return job
        return next((each for each in stored if each.id == job.id), ended)

    def _lease(self, job: RestoreJob) -> Lease:
        return Lease(f"restore/{job.id}", self._owner)


def _with_new(jobs: list[RestoreJob], job: RestoreJob) -> list[RestoreJob]:
    if any(each.is_running and each.target == job.target for each in jobs):
        raise AlreadyExists("Resource already exists.")
    return _with(jobs, job)


def _with(jobs: list[RestoreJob], job: RestoreJob) -> list[RestoreJob]:
    """Add or replace a job, and forget the oldest ended ones."""
    every = _in_order([*(each for each in jobs if each.id != job.id), job])
    running = [each for each in every if each.is_running]
    ended = [each for each in every if not each.is_running]
    return _in_order(ended[-MOST_ENDED:] + running)


def _in_order(jobs: list[RestoreJob]) -> list[RestoreJob]:
    return sorted(jobs, key=lambda job: (job.created_at, job.id))
