"""Measures how good the approximate answers of an engine are: asks some of the queries again, exactly, and compares.

The second query waits until no others have come for a while.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Collection, Sequence
from statistics import mean, stdev
from typing import Any

import msgspec

from pinyon.domain import (
    FacetPlan,
    Facets,
    Fingerprint,
    Handle,
    IndexRef,
    NamespaceInfo,
    Note,
    Page,
    PagePlan,
    QueryAnswer,
    QueryPlan,
    RecallSample,
    Record,
    Selection,
    UpdatePlan,
)
from pinyon.errors import PinyonError
from pinyon.storage.engine import Engine

QUIET_S = 0.05
"""Without a query for this long, the engine has time."""
MOST_WAITING = 16
"""Answers that wait to be compared. While so many wait, no other is taken."""
WATCHED, ENOUGH = 100, 20
"""Recent answers of a namespace that are judged together, and how many there must be."""
SURE = 3.0
"""Standard errors that a mean must be below the target. It is judged after every answer, so chance has many tries."""


def recall_of(answer: QueryAnswer, exact: QueryAnswer) -> float:
    """Share of the exact answer's hits that the answer has. A hit that ties with the last of them is as good."""
    last = exact.matches[-1].score
    wanted = {match.id for match in exact.matches}
    hits = sum(match.id in wanted or match.score == last for match in answer.matches)
    return min(hits / len(wanted), 1.0)


def surely_below(recalls: Collection[float], target: float) -> bool:
    """Whether the mean of these is below the target by more than chance explains."""
    return mean(recalls) + SURE * stdev(recalls) / math.sqrt(len(recalls)) < target


class Recall:
    """What was measured of one namespace. Recalls count only while the same model has embedded the records."""

    def __init__(self, embedded_by: Fingerprint | None) -> None:
        self.embedded_by = embedded_by
        self.queries, self.mean = 0, 0.0
        self._recent: deque[float] = deque(maxlen=WATCHED)

    def add(self, recall: float, target: float) -> bool:
        """Count the recall of an answer. Returns whether recent answers are worse than the target."""
        self.queries += 1
        self.mean += (recall - self.mean) / self.queries
        self._recent.append(recall)
        if len(self._recent) < ENOUGH or not surely_below(self._recent, target):
            return False
        self._recent.clear()
        return True


class Sample(msgspec.Struct, frozen=True):
    """An approximate answer that is to be compared."""

    handle: Handle
    namespace: str
    plan: QueryPlan
    answer: QueryAnswer


class RecallSampler:
    """A DataPlane around any engine that can answer a plan approximately and exactly. Must be closed before it.

    Call from the event-loop thread only.
    """

    def __init__(self, engine: Engine, share: float, target: float) -> None:
        """share: of the approximate answers that are compared, 0 to 1. target: recall that recent ones must have.

        A namespace whose answers have less is answered exactly from then on.
        """
        self._engine, self._share, self._target = engine, share, target
        self._recalls: dict[tuple[Handle, str], Recall] = {}
        self._waiting: deque[Sample] = deque(maxlen=MOST_WAITING)
        self._task: asyncio.Task[None] | None = None
        self._last_query = 0.0

    async def query(self, index: IndexRef, namespace: str, plan: QueryPlan) -> QueryAnswer:
        answer = await self._engine.query(index, namespace, plan)
        loop = asyncio.get_running_loop()
        self._last_query = loop.time()
        if (
            answer.approximate
            and plan.grouping is None
            and len(self._waiting) < MOST_WAITING
            and random.random() < self._share
        ):
            handle = index if isinstance(index, Handle) else self._engine.index(index).handle
            self._waiting.append(Sample(handle, namespace, plan, answer))
            if self._task is None or self._task.done():
                self._task = loop.create_task(self._compare())
        return answer

    async def _compare(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            while (busy := self._last_query + QUIET_S - loop.time()) > 0:
                await asyncio.sleep(busy)
            sample = self._waiting.popleft()
            plan = msgspec.structs.replace(sample.plan, exact=True)
            try:
                exact = await self._engine.query(sample.handle, sample.namespace, plan)
                if exact.lsn == sample.answer.lsn and exact.matches:  # else the records are not the same any more
                    self._add(sample, exact)
            except PinyonError:  # the index is gone, or was re-embedded
                continue

    def _add(self, sample: Sample, exact: QueryAnswer) -> None:
        key = sample.handle, sample.namespace
        recall = self._recalls.get(key)
        if recall is None or recall.embedded_by != exact.embedded_by:
            recall = self._recalls[key] = Recall(exact.embedded_by)
        if recall.add(recall_of(sample.answer, exact), self._target):
            self._engine.answer_exactly(*key)

    def samples(self) -> list[RecallSample]:
        """What has been measured since the start, by index and namespace. Frees what belongs to deleted indexes."""
        handles = {index.handle for index in self._engine.indexes()}
        self._recalls = {key: recall for key, recall in self._recalls.items() if key[0] in handles}
        measured = [
            RecallSample(handle.name, namespace, recall.queries, recall.mean)
            for (handle, namespace), recall in self._recalls.items()
        ]
        return sorted(measured, key=lambda sample: (sample.index, sample.namespace))

    async def compared(self) -> None:
        """Wait until every answer that was taken is compared."""
        if self._task is not None:
            await self._task

    async def close(self) -> None:
        """Compare nothing any more."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def delete_namespace(self, index: IndexRef, name: str) -> int:
        handle = self._engine.index(index).handle
        lsn = await self._engine.delete_namespace(index, name)
        self._recalls.pop((handle, name), None)
        return lsn

    async def upsert(
        self,
        index: IndexRef,
        namespace: str,
        records: Sequence[Record],
        fingerprint: Fingerprint | None = None,
        note: Note | None = None,
    ) -> int:
        return await self._engine.upsert(index, namespace, records, fingerprint, note)

    async def page(self, index: IndexRef, namespace: str, plan: PagePlan) -> Page:
        return await self._engine.page(index, namespace, plan)

    async def update(self, index: IndexRef, namespace: str, plan: UpdatePlan) -> tuple[int, int]:
        return await self._engine.update(index, namespace, plan)

    async def count(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        return await self._engine.count(index, namespace, selection)

    async def facets(self, index: IndexRef, namespace: str, plan: FacetPlan) -> Facets:
        return await self._engine.facets(index, namespace, plan)

    async def delete(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        return await self._engine.delete(index, namespace, selection)

    async def every_namespace(self, index: IndexRef) -> list[NamespaceInfo]:
        return await self._engine.every_namespace(index)

    async def namespaces(
        self, index: IndexRef, limit: int, after: str = "", prefix: str = ""
    ) -> tuple[list[NamespaceInfo], bool, int]:
        return await self._engine.namespaces(index, limit, after, prefix)

    async def namespace(self, index: IndexRef, name: str) -> NamespaceInfo:
        return await self._engine.namespace(index, name)

    async def create_namespace(self, index: IndexRef, name: str, schema: dict[str, Any] | None) -> int:
        return await self._engine.create_namespace(index, name, schema)
