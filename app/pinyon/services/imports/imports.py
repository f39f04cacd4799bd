"""Bulk imports: jobs that import files into an index in the background, one at a time for each index.

What the processes of an installation know of imports is stored with the index. So all of them tell the same, any of
them can cancel an import, and another one goes on with the imports of a process that ended.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Sequence
from uuid import uuid4

import msgspec

from pinyon.auth import permissions
from pinyon.domain import Handle, Index, Lease, Note
from pinyon.errors import FailedPrecondition, InvalidArgument, LeaseLost, NotFound, PinyonError, Unavailable
from pinyon.services import pages
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.imports import allow_list, import_jobs
from pinyon.services.imports.import_jobs import CANCEL, JOB, PAUSED, ImportJob, ImportNotes
from pinyon.services.imports.importer import LONGEST_WAIT_S, Importer, OnError, Progress
from pinyon.services.imports.sources import Source, SourceUnavailable
from pinyon.services.imports.threads import on_thread
from pinyon.services.imports.upload_files import UPLOAD, upload_id, uploaded
from pinyon.services.imports.upload_mirror import UploadMirror
from pinyon.services.leased_jobs import LeasedJobs
from pinyon.services.moments import now
from pinyon.storage.engine import Engine

MOST_ENDED, MOST_UNFINISHED = 100, 100
"""Ended imports of an index that are remembered: the newest. Unfinished ones that an index may have."""
PAGE = 100
RETRY_S = 30.0
"""Seconds until a source that cannot be read is tried again."""
ASKED_EVERY_S = 1.0
"""How often the notes of an index are asked for what another process has done: a new import, or a cancellation."""
TOLD_EVERY_S = 1.0
"""How often the other processes are told at most why an import pauses."""
CANCELLED_WITHIN_S = 10.0
"""How long a cancellation waits until the import has stopped."""

log = logging.getLogger("pinyon.imports")


class ImportState(msgspec.Struct, frozen=True):
    """A job as it is described. reason: why it failed, waits or is paused, or what it has left out."""

    job: ImportJob
    reason: str | None


class Imports:
    """Every operation on imports. Call from the event-loop thread only. allow: the setting [import] allow.

    uploads: the files that were uploaded.
    """

    def __init__(
        self, engine: Engine, indexes: Indexes, importer: Importer, allow: Sequence[str], uploads: UploadMirror
    ) -> None:
        self._uploads = uploads
        self._engine, self._indexes, self._importer, self._allow = engine, indexes, importer, allow
        self._jobs = LeasedJobs(engine, "import", self._work, self._is_wanted)
        self._bells: dict[Handle, asyncio.Event] = {}
        self._paused: dict[str, str] = {}  # why imports of this process are, by their ids
        self._unstored: dict[str, ImportJob] = {}  # jobs whose end could not be stored
        self._tried_at: dict[str, float] = {}  # when the source of an import could not be read

    async def open(self) -> None:
        """Go on with the imports that are not finished. All indexes have to be open."""
        await self._jobs.open()

    async def close(self) -> None:
        """Stop all imports. They go on in another process, or at the next start."""
        await self._jobs.close()

    async def start_upload(self, index: Index, uri: str) -> str:
        """Begin to import a file that Uploads keeps, without the rows that are wrong. Returns its id.

        uri: as Uploads gives it. The API takes no such address. Raises as start().
        """
        permissions.check("write", index.handle)
        permissions.check_whole(index.handle)
        return await self._begin(index, uri, "continue")

    async def start(self, index: Index, uri: str, on_error: str = "abort") -> str:
        """Begin an import. Returns its id.

        Raises PermissionDenied unless the settings allow the address, InvalidArgument, or FailedPrecondition if too
        many imports wait.
        """
        permissions.check("write", index.handle)
        permissions.check_whole(index.handle)
        if on_error not in ("abort", "continue"):
            raise InvalidArgument(f"errorMode.onError must be abort or continue, got '{on_error[:40]}'")
        await on_thread(lambda: allow_list.source(uri, self._allow))
        return await self._begin(index, uri, "continue" if on_error == "continue" else "abort")

    async def _begin(self, index: Index, uri: str, mode: OnError) -> str:
        jobs = list((await self._notes(index.handle)).jobs.values())
        ended = [job for job in jobs if not job.is_unfinished]
        if len(jobs) - len(ended) >= MOST_UNFINISHED:
            raise FailedPrecondition(
                f"Index {index.name} has {MOST_UNFINISHED} imports that are not finished; wait, or cancel some"
            )
        job = ImportJob(str(uuid4()), uri, mode, now())
        await self._jobs.announce(index.handle)
        await self._engine.put_note(index.handle, job.note(None))
        for old in ended[:-MOST_ENDED]:
            for kind in (JOB, PAUSED):
                await self._engine.put_note(index.handle, Note(kind + old.id, None))
        self._go_on(index.handle)
        return job.id

    async def page(self, index: Index, limit: int | None, token: str | None) -> tuple[list[ImportState], str | None]:
        """A page of imports, oldest first, and the token of the next one."""
        size = pages.limit(limit, PAGE, PAGE)
        after = pages.read(token) if token else ""
        following = [state for state in await self.all(index) if state.job.place > after]
        page = following[:size]
        return page, pages.token(page[-1].job.place) if len(following) > size else None

    async def all(self, index: Index) -> list[ImportState]:
        """All imports that are remembered, oldest first."""
        permissions.check("read", index.handle)
        permissions.check_whole(index.handle)
        notes = await self._notes(index.handle)
        return [self._state(job, notes) for job in notes.jobs.values()]

    async def describe(self, index: Index, id: str) -> ImportState:
        """One import. Raises NotFound."""
        permissions.check("read", index.handle)
        permissions.check_whole(index.handle)
        notes = await self._notes(index.handle)
        return self._state(_job(notes.jobs, id), notes)

    async def cancel(self, index: Index, id: str) -> None:
        """Stop an import; what it has stored stays. One that has ended stays as it is. Raises NotFound.

        Waits for its end a short time, because another process may be at it.
        """
        permissions.check("write", index.handle)
        permissions.check_whole(index.handle)
        handle = index.handle
        if not _job((await self._notes(handle)).jobs, id).is_unfinished:
            return
        await self._jobs.announce(handle)
        await self._engine.put_note(handle, Note(CANCEL + id, now()))
        self._go_on(handle)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCELLED_WITHIN_S):
                while True:
                    bell = self._bell(handle)
                    job = (await self._notes(handle)).jobs.get(id)
                    if job is None or not job.is_unfinished:
                        return
                    await _heard(bell)

    async def _notes(self, handle: Handle) -> ImportNotes:
        notes = import_jobs.read(handle, await self._engine.notes(handle))
        for id in notes.jobs.keys() & self._unstored.keys():
            notes.jobs[id] = self._unstored[id]
        return notes

    def _state(self, job: ImportJob, notes: ImportNotes) -> ImportState:
        reason = job.error or job.waits or self._paused.get(job.id)
        if reason is None and job.is_unfinished:
            reason = notes.paused.get(job.id)
        jobs = notes.jobs.values()
        if reason is None and job.status == "Pending" and any(each.status == "InProgress" for each in jobs):
            reason = "it waits for another import into this index"
        progress = job.progress
        if reason is None and progress.refused:
            rows = "1 row was" if progress.refused == 1 else f"{progress.refused} rows were"
            reason = f"{rows} left out; the first: {progress.problem}"
        return ImportState(job, reason)

    def _go_on(self, handle: Handle) -> None:
        """See to it that the imports of an index are looked at now, because something about them has changed."""
        self._jobs.start(handle)
        self._ring(handle)

    def _ring(self, handle: Handle) -> None:
        """Wake up what waits for a change of the imports of an index."""
        bell = self._bells.pop(handle, None)
        if bell is not None:
            bell.set()

    def _bell(self, handle: Handle) -> asyncio.Event:
        """Rings at the next change of the imports of an index in this process. Take it before you read them."""
        return self._bells.setdefault(handle, asyncio.Event())

    async def _is_wanted(self, handle: Handle) -> bool:
        return any(job.is_unfinished for job in (await self._notes(handle)).jobs.values())

    async def _work(self, handle: Handle, lease: Lease) -> None:
        """Do the imports of an index one after the other, until none is left."""
        while True:
            bell = self._bell(handle)
            notes = await self._notes(handle)
            await self._end_cancelled(handle, lease, notes)
            waiting = [job for job in notes.jobs.values() if job.is_unfinished and job.id not in notes.cancelled]
            if not waiting:
                return
            due = time.monotonic() - RETRY_S
            ready = next((job for job in waiting if self._tried_at.get(job.id, due) <= due), None)
            if ready is None:
                await _heard(bell)
            else:
                await self._import_unless_cancelled(handle, lease, ready, notes.paused.get(ready.id))

    async def _import_unless_cancelled(self, handle: Handle, lease: Lease, job: ImportJob, paused: str | None) -> None:
        """Import until the end, or until somebody wants it to be cancelled. paused: as it is noted."""
        importing = asyncio.ensure_future(self._import(handle, lease, job, paused))
        try:
            while not importing.done():
                hearing = asyncio.ensure_future(_heard(self._bell(handle)))
                try:
                    await asyncio.wait([importing, hearing], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    hearing.cancel()
                with contextlib.suppress(Unavailable):  # then nothing is known, and the import waits as well
                    notes = await self._notes(handle)
                    if not importing.done() and job.id in notes.cancelled:
                        break
                    await self._end_cancelled(handle, lease, notes, running=job.id)
            else:
                await importing
        finally:
            importing.cancel()
            await asyncio.gather(importing, return_exceptions=True)
            self._paused.pop(job.id, None)

    async def _end_cancelled(self, handle: Handle, lease: Lease, notes: ImportNotes, running: str = "") -> None:
        """End the imports that are to be cancelled, except for the one that runs."""
        for id in notes.cancelled - {running}:
            job = notes.jobs.get(id)
            if job is not None and job.is_unfinished:
                await self._end(handle, lease, job.ended("Cancelled"))
            if id in notes.paused:
                await self._engine.put_note(handle, Note(PAUSED + id, None, lease))
            await self._engine.put_note(handle, Note(CANCEL + id, None, lease))

    async def _import(self, handle: Handle, lease: Lease, job: ImportJob, paused: str | None) -> None:
        """Do an import, and store how it ended. Raises LeaseLost, or NotFound if the index is gone."""
        watch = _Watch(self._engine, handle, self._paused, lease, job, paused)
        try:
            if job.uri.startswith(UPLOAD):
                await self._uploads.pull(upload_id(job.uri))
            source = await on_thread(lambda: self._source(job.uri))
            files = await on_thread(source.files)
            self._tried_at.pop(job.id, None)
            watch.job = msgspec.structs.replace(job, status="InProgress", waits=None)
            await self._put_at_last(handle, lease, watch.job)
            await watch.goes_on()
            progress = await self._importer.run(handle, source, files, job.on_error, job.progress, watch)
            done = msgspec.structs.replace(progress, percent=100.0)
            ended = msgspec.structs.replace(watch.job, progress=done).ended("Completed")
        except SourceUnavailable as error:
            self._tried_at[job.id] = time.monotonic()
            if watch.job.waits != error.message:
                await self._put_at_last(handle, lease, msgspec.structs.replace(watch.job, waits=error.message))
            return
        except (LeaseLost, NotFound):
            raise
        except PinyonError as error:
            ended = watch.job.ended("Failed", error.message)
        except Exception as error:
            log.exception("import %s into index %s failed", job.id, handle)
            defect = f"a defect of Pinyon's own ({type(error).__name__}); the log has the details"
            ended = watch.job.ended("Failed", defect)
        await watch.goes_on()
        await self._end(handle, lease, ended)

    async def _end(self, handle: Handle, lease: Lease, job: ImportJob) -> None:
        await self._put_at_last(handle, lease, job)
        log.info("import %s into index %s: %s, %d records", job.id, handle, job.status, job.progress.imported)

    def _source(self, uri: str) -> Source:
        if uri.startswith(UPLOAD):
            return uploaded(self._uploads.data_dir, uri)
        return allow_list.source(uri, self._allow)

    async def _put_at_last(self, handle: Handle, lease: Lease, job: ImportJob) -> None:
        """Store a job as soon as the disk takes it."""
        while True:
            try:
                await self._engine.put_note(handle, job.note(lease))
                self._paused.pop(job.id, None)
                break
            except Unavailable as error:
                _pause(self._paused, job.id, error.message)
                await asyncio.sleep(min(error.retry_after_s, LONGEST_WAIT_S))
            except (LeaseLost, NotFound):
                raise
            except PinyonError as error:  # the file of the index is damaged; this process knows the end of the import
                log.error("the state of import %s into index %s cannot be stored: %s", job.id, handle, error.message)
                self._unstored[job.id] = job
                break
        self._ring(handle)


class _Watch:
    """Follows one import for its job. paused: why imports are paused, by id. told: why this one is, as it is noted."""

    def __init__(
        self, engine: Engine, handle: Handle, paused: dict[str, str], lease: Lease, job: ImportJob, told: str | None
    ) -> None:
        self._engine, self._handle, self._paused, self._lease, self.job = engine, handle, paused, lease, job
        self._told, self._told_at = told, -math.inf

    def note(self, progress: Progress) -> Note:
        return msgspec.structs.replace(self.job, progress=progress).note(self._lease)

    def reached(self, progress: Progress) -> None:
        self.job = msgspec.structs.replace(self.job, progress=progress)

    async def pauses(self, reason: str | None) -> None:
        _pause(self._paused, self.job.id, reason)
        if time.monotonic() - self._told_at >= TOLD_EVERY_S:  # otherwise the next call tells
            await self._tell(self._paused.get(self.job.id))

    async def goes_on(self) -> None:
        """The import begins or ends, so whatever is noted of a pause is out of date."""
        await self._tell(None)

    async def _tell(self, reason: str | None) -> None:
        """Note for the other processes why the import pauses. While nothing can be stored, they do not learn it.

        Raises LeaseLost or NotFound.
        """
        if reason == self._told or self._engine.problem() is not None:
            return
        try:
            await self._engine.put_note(self._handle, Note(PAUSED + self.job.id, reason, self._lease))
            self._told, self._told_at = reason, time.monotonic()
        except (LeaseLost, NotFound):
            raise
        except PinyonError as error:  # a full disk, for example
            log.info("why import %s pauses cannot be stored: %s", self.job.id, error.message)


def _pause(paused: dict[str, str], id: str, reason: str | None) -> None:
    if reason is None:
        paused.pop(id, None)
    else:
        paused[id] = f"paused, and goes on by itself: {reason}"


async def _heard(bell: asyncio.Event) -> None:
    """Wait until the imports of an index have changed in this process, or may have changed in another one."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(bell.wait(), ASKED_EVERY_S)


def _job(jobs: dict[str, ImportJob], id: str) -> ImportJob:
    if id not in jobs:
        raise NotFound(f"Import {id[:80]} not found.")
    return jobs[id]
