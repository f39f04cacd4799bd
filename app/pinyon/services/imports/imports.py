"""Bulk imports: jobs that import files into an index in the background, one at a time for each index."""

import asyncio
import contextvars
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from uuid import uuid4

import msgspec

from pinyon.auth import permissions
from pinyon.domain import Handle, Index, Note
from pinyon.errors import FailedPrecondition, InvalidArgument, NotFound, PinyonError, Unavailable
from pinyon.locks import NamedLocks
from pinyon.services import pages
from pinyon.services.control_plane.indexes import Indexes, now
from pinyon.services.imports import allow_list
from pinyon.services.imports.importer import LONGEST_WAIT_S, Importer, OnError, Progress
from pinyon.services.imports.sources import Source, SourceUnavailable
from pinyon.services.imports.threads import on_thread
from pinyon.services.imports.upload_files import UPLOAD, uploaded
from pinyon.storage.engine import Engine

Status = Literal["Pending", "InProgress", "Failed", "Completed", "Cancelled"]
UNFINISHED: tuple[Status, ...] = ("Pending", "InProgress")
NOTE = "import:"
"""The beginning of the keys of notes that hold jobs."""
MOST_ENDED, MOST_UNFINISHED = 100, 100
"""Ended imports of an index that are remembered: the newest. Unfinished ones that an index may have."""
PAGE = 100
RETRY_S = 30.0
"""Seconds until a source that cannot be read is tried again."""

log = logging.getLogger("pinyon.imports")


class ImportJob(msgspec.Struct, frozen=True):
    """An import as it is stored with its index. created_at, finished_at: RFC 3339. error: why it failed."""

    id: str
    uri: str
    on_error: OnError
    created_at: str
    status: Status = "Pending"
    progress: Progress = Progress()
    finished_at: str | None = None
    error: str | None = None

    @property
    def note(self) -> Note:
        """The job as a note."""
        return Note(NOTE + self.id, msgspec.json.encode(self).decode())

    @property
    def place(self) -> str:
        """Its place among the jobs of its index."""
        return f"{self.created_at} {self.id}"


class ImportState(msgspec.Struct, frozen=True):
    """A job as it is described. reason: why it failed, waits or is paused, or what it has left out."""

    job: ImportJob
    reason: str | None


class Imports:
    """Every operation on imports. Call from the event-loop thread only. allow: the setting [import] allow.

    data_dir: has the files that were uploaded.
    """

    def __init__(
        self, engine: Engine, indexes: Indexes, importer: Importer, allow: Sequence[str], data_dir: Path
    ) -> None:
        self._data_dir = data_dir
        self._engine, self._indexes, self._importer, self._allow = engine, indexes, importer, allow
        self._jobs: dict[Handle, dict[str, ImportJob]] = {}
        self._reasons: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns = NamedLocks()

    async def open(self) -> None:
        """Read the imports of all indexes, which have to be open, and go on with those that are not finished."""
        for index in self._engine.indexes():
            try:
                notes = await self._engine.notes(index.handle)
            except PinyonError as error:  # the other indexes are not affected
                log.error("the imports of index %s cannot be read: %s", index.name, error.message)
                continue
            jobs = [job for note in notes if (job := _decoded(index, note)) is not None]
            self._jobs[index.handle] = {job.id: job for job in sorted(jobs, key=lambda job: job.place)}
            for job in self._jobs[index.handle].values():
                if job.status in UNFINISHED:
                    self._start_task(index.handle, job)

    async def close(self) -> None:
        """Stop all imports. They go on at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

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
        handles = {each.handle for each in self._engine.indexes()}
        self._jobs = {handle: jobs for handle, jobs in self._jobs.items() if handle in handles}
        jobs = self._jobs.setdefault(index.handle, {})
        if sum(job.status in UNFINISHED for job in jobs.values()) >= MOST_UNFINISHED:
            raise FailedPrecondition(
                f"Index {index.name} has {MOST_UNFINISHED} imports that are not finished; wait, or cancel some"
            )
        job = ImportJob(str(uuid4()), uri, mode, now())
        await self._put(index.handle, job)
        for old in [job for job in jobs.values() if job.status not in UNFINISHED][:-MOST_ENDED]:
            await self._engine.put_note(index.handle, Note(NOTE + old.id, None))
            del jobs[old.id]
        self._start_task(index.handle, job)
        return job.id

    def page(self, index: Index, limit: int | None, token: str | None) -> tuple[list[ImportState], str | None]:
        """A page of imports, oldest first, and the token of the next one."""
        permissions.check("read", index.handle)
        permissions.check_whole(index.handle)
        size = pages.limit(limit, PAGE, PAGE)
        after = pages.read(token) if token else ""
        jobs = sorted(self._jobs.get(index.handle, {}).values(), key=lambda job: job.place)
        following = [job for job in jobs if job.place > after]
        page = following[:size]
        more = len(following) > size
        return [self._state(job) for job in page], pages.token(page[-1].place) if more else None

    def describe(self, index: Index, id: str) -> ImportState:
        """One import. Raises NotFound."""
        permissions.check("read", index.handle)
        permissions.check_whole(index.handle)
        return self._state(self._job(index, id))

    async def cancel(self, index: Index, id: str) -> None:
        """Stop an import; what it has stored stays. One that has ended stays as it is. Raises NotFound."""
        permissions.check("write", index.handle)
        permissions.check_whole(index.handle)
        if self._job(index, id).status not in UNFINISHED:
            return
        task = self._tasks.get(id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        job = self._job(index, id)
        if job.status in UNFINISHED:
            try:
                await self._put(index.handle, _ended(job, "Cancelled"))
            except PinyonError:
                self._start_task(index.handle, job)  # the caller hears that it is not cancelled
                raise

    def _job(self, index: Index, id: str) -> ImportJob:
        job = self._jobs.get(index.handle, {}).get(id)
        if job is None:
            raise NotFound(f"Import {id[:80]} not found.")
        return job

    def _state(self, job: ImportJob) -> ImportState:
        reason = job.error or self._reasons.get(job.id)
        progress = job.progress
        if reason is None and progress.refused:
            rows = "1 row was" if progress.refused == 1 else f"{progress.refused} rows were"
            reason = f"{rows} left out; the first: {progress.problem}"
        return ImportState(job, reason)

    def _start_task(self, handle: Handle, job: ImportJob) -> None:
        # In an empty context, because the import must not depend on what the caller's API key allows.
        task = asyncio.create_task(self._run(handle, job.id), context=contextvars.Context())
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.id, None) if self._tasks.get(job.id) is task else None)

    async def _run(self, handle: Handle, id: str) -> None:
        """Import as soon as it is this job's turn, and again later while its source cannot be read."""
        try:
            while True:
                turn = self._turns.of(handle.id)
                if turn.locked():
                    self._reasons[id] = "it waits for another import into this index"
                async with turn:
                    try:
                        await self._import(handle, id)
                        return
                    except SourceUnavailable as error:
                        self._reasons[id] = error.message
                await asyncio.sleep(RETRY_S)
        except NotFound:  # the index was deleted
            self._jobs.pop(handle, None)
        finally:
            self._reasons.pop(id, None)

    async def _import(self, handle: Handle, id: str) -> None:
        """Do the import, and store how it ended. Raises SourceUnavailable, or NotFound if the index is gone."""
        job = begun = self._jobs[handle][id]
        try:
            source = await on_thread(lambda: self._source(begun.uri))
            files = await on_thread(source.files)
            self._reasons.pop(id, None)
            job = msgspec.structs.replace(job, status="InProgress")
            await self._put_at_last(handle, job)
            watch = _Watch(self, handle, job)
            progress = await self._importer.run(handle, source, files, job.on_error, job.progress, watch)
            done = msgspec.structs.replace(progress, percent=100.0)
            ended = _ended(msgspec.structs.replace(job, progress=done), "Completed")
        except (SourceUnavailable, NotFound):
            raise
        except PinyonError as error:
            ended = _ended(self._jobs[handle][id], "Failed", error.message)
        except Exception as error:
            log.exception("import %s into index %s failed", id, handle)
            defect = f"a defect of Pinyon's own ({type(error).__name__}); the log has the details"
            ended = _ended(self._jobs[handle][id], "Failed", defect)
        await self._put_at_last(handle, ended)
        log.info("import %s into index %s: %s, %d records", id, handle, ended.status, ended.progress.imported)

    def _source(self, uri: str) -> Source:
        if uri.startswith(UPLOAD):
            return uploaded(self._data_dir, uri)
        return allow_list.source(uri, self._allow)

    async def _put_at_last(self, handle: Handle, job: ImportJob) -> None:
        """Store a job as soon as the disk takes it."""
        while True:
            try:
                await self._put(handle, job)
                self._reasons.pop(job.id, None)
                return
            except Unavailable as error:
                self.pauses(job.id, error.message)
                await asyncio.sleep(min(error.retry_after_s, LONGEST_WAIT_S))
            except NotFound:
                raise
            except PinyonError as error:  # the file of the index is damaged; this process knows the end of the import
                log.error("the state of import %s into index %s cannot be stored: %s", job.id, handle, error.message)
                self.reached(handle, job)
                return

    async def _put(self, handle: Handle, job: ImportJob) -> None:
        await self._engine.put_note(handle, job.note)
        self.reached(handle, job)

    def reached(self, handle: Handle, job: ImportJob) -> None:
        """Remember a job that is stored."""
        self._jobs.setdefault(handle, {})[job.id] = job

    def pauses(self, id: str, reason: str | None) -> None:
        """Remember why an import is paused."""
        if reason is None:
            self._reasons.pop(id, None)
        else:
            self._reasons[id] = f"paused, and goes on by itself: {reason}"


class _Watch:
    """Follows one import for its job."""

    def __init__(self, imports: Imports, handle: Handle, job: ImportJob) -> None:
        self._imports, self._handle, self._job = imports, handle, job

    def note(self, progress: Progress) -> Note:
        return self._at(progress).note

    def reached(self, progress: Progress) -> None:
        self._imports.reached(self._handle, self._at(progress))

    def pauses(self, reason: str | None) -> None:
        self._imports.pauses(self._job.id, reason)

    def _at(self, progress: Progress) -> ImportJob:
        return msgspec.structs.replace(self._job, progress=progress)


def _ended(job: ImportJob, status: Status, error: str | None = None) -> ImportJob:
    return msgspec.structs.replace(job, status=status, error=error, finished_at=now())


def _decoded(index: Index, note: Note) -> ImportJob | None:
    if not note.key.startswith(NOTE) or note.text is None:
        return None
    try:
        return msgspec.json.decode(note.text, type=ImportJob)
    except msgspec.MsgspecError as error:
        log.error("an import of index %s cannot be read, so it is not listed: %s", index.name, error)
        return None
