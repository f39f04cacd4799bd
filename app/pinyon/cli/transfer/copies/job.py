"""Copies the records of one index to another, many pages at the same time."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from pinyon.cli.transfer.copies.remote_index import Page, RemoteIndex, Stats, Vector
from pinyon.cli.transfer.copies.state import CopyPlan, CopyState, NamespaceProgress
from pinyon.cli.transfer.state_file import StateFile
from pinyon.errors import FailedPrecondition, InvalidArgument, NotFound, PinyonError

PAGES_PER_STATE = 10
"""Pages that are copied between two writes of the state. After a crash they are copied again, which does no harm."""
SHOWN = 10
"""Names of namespaces that a message lists."""

Tell = Callable[[int, int | None], None]
"""Is told how many records are copied, and of how many."""


class CopyJob:
    """One copy. parallel: pages that are copied at the same time. Methods raise PinyonError."""

    def __init__(
        self,
        source: RemoteIndex,
        target: RemoteIndex,
        state: CopyState,
        file: StateFile[CopyState],
        parallel: int,
        tell: Tell,
    ) -> None:
        self._source, self._target = source, target
        self._state, self._file, self._parallel, self._tell = state, file, parallel, tell
        self._page_slots, self._namespace_slots = asyncio.Semaphore(parallel), asyncio.Semaphore(parallel)
        self._total, self._unwritten = 0, 0

    async def run(self) -> None:
        """Copy what is not copied yet. Until the end, the state file says what that is."""
        plan, state = self._state.plan, self._state
        source, target = await self._source.stats(), await self._target.stats()
        check_fit(plan, source, target)
        if not state.namespaces:
            names = wanted(plan, source)
            check_empty(plan, names, target)
            state.namespaces = {name: NamespaceProgress(target.namespaces.get(name, 0)) for name in names}
            self._file.write(state)
        self._total = sum(source.namespaces.get(name, 0) for name in state.namespaces)
        self._tell(state.copied, self._total)
        try:
            async with asyncio.TaskGroup() as group:
                for name, progress in state.namespaces.items():
                    if not progress.is_done:
                        group.create_task(self._copy_namespace(group, name, progress))
        except ExceptionGroup as failures:
            refusals = [error for error in failures.exceptions if isinstance(error, PinyonError)]
            raise refusals[0] if refusals else failures from failures
        finally:
            self._file.write(state)

    async def _copy_namespace(self, group: asyncio.TaskGroup, name: str, progress: NamespaceProgress) -> None:
        """Copy the rest of a namespace. Pages end in any order, and are counted in theirs."""
        running: deque[tuple[asyncio.Task[list[str]], Page]] = deque()
        async with self._namespace_slots:
            async for page in self._source.pages(name, progress.token):
                running.append((group.create_task(self._copy_page(name, page)), page))
                if len(running) >= self._parallel:
                    await self._count(name, progress, *running.popleft())
            for each in running:
                await self._count(name, progress, *each)

    async def _count(self, name: str, progress: NamespaceProgress, task: asyncio.Task[list[str]], page: Page) -> None:
        ids = await task
        progress.copied += len(ids)
        progress.token, progress.is_done = page.token, page.token is None
        self._state.sample.offer(name, ids)
        self._tell(self._state.copied, self._total)
        self._unwritten += 1
        if self._unwritten >= PAGES_PER_STATE:
            self._unwritten = 0
            self._file.write(self._state)

    async def _copy_page(self, name: str, page: Page) -> list[str]:
        """Copy the records of a page that still exist. Returns their ids."""
        async with self._page_slots:
            vectors = page.vectors
            if vectors is None:
                vectors = await self._source.fetch(name, page.ids)
            if self._state.plan.reembed:
                await self._target.upsert_texts(name, [text_row(vector, self._state.plan) for vector in vectors])
            else:
                await self._target.upsert(name, vectors)
        return [vector.id for vector in vectors]


def check_fit(plan: CopyPlan, source: Stats, target: Stats) -> None:
    """Raises FailedPrecondition if the target cannot take the vectors of the source."""
    if not plan.reembed and source.dimension != target.dimension:
        raise FailedPrecondition(
            f"{plan.source} has {_kind(source)} and {plan.target} has {_kind(target)}; the vectors of one do not fit "
            "into the other. --reembed embeds the texts anew"
        )


def _kind(stats: Stats) -> str:
    return f"vectors of {stats.dimension} numbers" if stats.dimension else "sparse vectors"


def wanted(plan: CopyPlan, source: Stats) -> list[str]:
    """The namespaces to copy. Raises NotFound."""
    if plan.namespace is None:
        return sorted(source.namespaces)
    if plan.namespace not in source.namespaces:
        known = ", ".join(sorted(source.namespaces)[:SHOWN]) or "none"
        raise NotFound(f"{plan.source} has no namespace '{plan.namespace}'; it has: {known}")
    return [plan.namespace]


def check_empty(plan: CopyPlan, names: list[str], target: Stats) -> None:
    """Raises FailedPrecondition if records would be mixed with others, and nobody said that they may."""
    taken = [name for name in names if target.namespaces.get(name)]
    if taken and not plan.overwrite:
        raise FailedPrecondition(
            f"Namespace '{taken[0]}' of {plan.target} has {target.namespaces[taken[0]]} records already. --overwrite "
            "copies into it, and replaces records with the same id; --resume goes on with an interrupted copy"
        )


def text_row(vector: Vector, plan: CopyPlan) -> dict[str, Any]:
    """A record for an index that embeds its text. Raises InvalidArgument if a field has a name that means the id."""
    fields = {plan.renamed.get(name, name): value for name, value in fields_of(vector).items()}
    for name in ("id", "_id"):
        if name in fields:
            raise InvalidArgument(
                f"Record '{vector.id}' has a field '{name}', which means the id in an index that embeds text; "
                f"--map {name}=NEW_NAME gives it another name"
            )
    return {"_id": vector.id, **fields}


def fields_of(vector: Vector) -> dict[str, Any]:
    """The fields of a record, decoded."""
    text = bytes(vector.metadata)
    fields: dict[str, Any] | None = msgspec.json.decode(text) if text else None
    return fields or {}
