"""The overview service: what each index is, and which jobs run or have run."""

from collections.abc import Sequence
from typing import Any

import msgspec

from pinyon.auth import permissions
from pinyon.auth.permissions import GRANT
from pinyon.domain import Index, RecallSample
from pinyon.errors import PinyonError
from pinyon.services.backups.backups import Backups
from pinyon.services.control_plane.index_status import IndexStatus
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.control_plane.reembedding import Reembeddings
from pinyon.services.imports.imports import Imports
from pinyon.storage.engine import DataPlane, Engine

MOST_JOBS = 50
"""Jobs that are told: the newest."""


class IndexOverview(msgspec.Struct, frozen=True):
    """An index in numbers.

    embedded_by: the label of what embeds; "" if nobody does. stand_in: whether that is another model than the named
    one. records, namespaces: those that the API key may see. bytes, lsn: None if the key is not for the whole index.
    recall: of its approximate searches, 0..1; None if none was measured. problem: why it cannot be used.
    """

    index: Index
    state: str
    embedded_by: str = ""
    stand_in: bool = False
    namespaces: int = 0
    records: int = 0
    bytes: int | None = None
    lsn: int | None = None
    recall: float | None = None
    problem: str = ""


class Job(msgspec.Struct, frozen=True):
    """Something that runs in the background, or has. share: how much is done, 0..1; None if nobody knows."""

    kind: str
    index: str
    what: str
    status: str
    created_at: str = ""
    share: float | None = None
    problem: str = ""


class Overview:
    """What an API key may see of an installation. engine: unguarded. records: guarded."""

    def __init__(
        self,
        engine: Engine,
        records: DataPlane,
        indexes: Indexes,
        index_status: IndexStatus,
        backups: Backups,
        imports: Imports,
        reembeddings: Reembeddings,
    ) -> None:
        self._engine, self._records, self._indexes, self._status = engine, records, indexes, index_status
        self._backups, self._imports, self._reembeddings = backups, imports, reembeddings

    async def indexes(self) -> list[IndexOverview]:
        """Every index that the API key may see, by name."""
        permissions.check("read")
        states, recalls = self._status.states(), self._status.recall()
        return [await self._index(index, states.get(index.name, ""), recalls) for index in self._indexes.all()]

    async def _index(self, index: Index, state: str, recalls: Sequence[RecallSample]) -> IndexOverview:
        embedder: Any = self._indexes.embedders.loaded(index)
        label = "" if embedder is None else embedder.label
        stand_in = embedder is not None and embedder.fingerprint.stand_in
        measured = [each for each in recalls if each.index == index.name]
        queries = sum(each.queries for each in measured)
        recall = sum(each.recall * each.queries for each in measured) / queries if queries else None
        try:
            namespaces = await self._records.every_namespace(index.handle)
            footprint = None
            if GRANT.get().namespaces is None:
                footprint = await self._engine.footprint(index.handle)
        except PinyonError as error:  # it was deleted meanwhile, or its disk fails; the other indexes are not affected
            return IndexOverview(index, state, label, stand_in, problem=error.message)
        return IndexOverview(
            index,
            state,
            label,
            stand_in,
            len(namespaces),
            sum(each.record_count for each in namespaces),
            None if footprint is None else sum(footprint.bytes.values()),
            None if footprint is None else footprint.lsn,
            recall,
        )

    def unusable(self) -> dict[str, str]:
        """Indexes that cannot be used, and why."""
        return self._indexes.unusable()

    def disk_free(self) -> int | None:
        """Free bytes on the disk of the data, if known. Raises PermissionDenied unless the key is for every index."""
        permissions.check_unlimited()
        return self._engine.disk_free()

    async def jobs(self) -> list[Job]:
        """The newest jobs. None for an API key that is for some namespaces only, because jobs are of whole indexes."""
        permissions.check("read")
        if GRANT.get().namespaces is not None:
            return []
        jobs = []
        for index in self._indexes.all():
            try:
                jobs += [*await self._imports_of(index), *await self._reembedding_of(index)]
            except PinyonError:  # it was deleted meanwhile, or its disk fails, which the list of indexes tells
                continue
        jobs += [*await self._backup_jobs(), *await self._restores()]
        return sorted(jobs, key=lambda job: (job.status in ("running", "waiting"), job.created_at), reverse=True)[
            :MOST_JOBS
        ]

    async def _imports_of(self, index: Index) -> list[Job]:
        states = await self._imports.all(index)
        words = {"Pending": "waiting", "InProgress": "running", "Completed": "done"}
        return [
            Job(
                "Import",
                index.name,
                f"{state.job.progress.imported:,} records from {state.job.uri}",
                words.get(state.job.status, state.job.status.lower()),
                state.job.created_at,
                state.job.progress.percent / 100,
                state.reason or "",
            )
            for state in states
        ]

    async def _reembedding_of(self, index: Index) -> list[Job]:
        progress = await self._reembeddings.progress(index.name)
        if progress.model is None and progress.failed is None:
            return []
        status = "running" if progress.running else "failed" if progress.failed else "stopped"
        what = f"{progress.done:,} of {progress.total:,} records by {progress.model}"
        share = progress.done / progress.total if progress.total else None
        return [Job("Re-embedding", index.name, what, status, share=share, problem=progress.failed or "")]

    async def _backup_jobs(self) -> list[Job]:
        states, _ = await self._backups.page(None, None, None)
        words = {"Initializing": "running", "Ready": "done", "Failed": "failed"}
        return [
            Job(
                "Backup",
                state.index.name,
                f"{state.backup.records:,} records, {state.backup.bytes:,} bytes" if state.backup else "",
                "waiting" if state.planned_for else words[state.status],
                state.label.created_at,
                problem=state.problem or "",
            )
            for state in states
        ]

    async def _restores(self) -> list[Job]:
        jobs, _ = await self._backups.jobs(None, None)
        words = {"InProgress": "running", "Completed": "done", "Failed": "failed"}
        return [
            Job("Restore", job.target, f"of {job.source}", words[job.status], job.created_at, problem=job.problem or "")
            for job in jobs
        ]
