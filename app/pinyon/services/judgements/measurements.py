"""Measures in the background how well the ways to search rank the judged queries of a namespace.

What there is to tell of a measurement is stored with its index, so all processes of an installation tell the same.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from uuid import uuid4

import msgspec

from pinyon.auth import permissions
from pinyon.concurrency.cancellation import cancel
from pinyon.domain import Handle, Index, Lease
from pinyon.errors import FailedPrecondition, PinyonError
from pinyon.evaluation.asking import TOP_K, Answers, Pipeline, ask
from pinyon.services.data_plane.records.records import Records
from pinyon.services.judgements import stored_measurements
from pinyon.services.judgements.files import JudgedQuery
from pinyon.services.judgements.judgements import Judgements
from pinyon.services.judgements.stored_measurements import Interval, Measurement, Quality
from pinyon.services.leases import LEASE_S, work_with_lease
from pinyon.services.moments import now
from pinyon.storage.engine import Engine

log = logging.getLogger("pinyon.judgements")

DEPTH = 50
"""Hits that are reranked."""
STORED_EVERY_S = 1.0
"""How often it is stored at most how far a measurement is."""


class Measurements:
    """The last measurement of each namespace. Call from the event-loop thread only.

    A measurement is done by the process in which it was begun, because it needs the rights of who began it. If that
    process ends, the measurement has failed. engine: unguarded.
    """

    def __init__(self, engine: Engine, records: Records, judgements: Judgements) -> None:
        self._engine, self._records, self._judgements = engine, records, judgements
        self._owner = uuid4().hex
        self._own: dict[tuple[Handle, str], Measurement] = {}  # those that run here, or whose end could not be stored
        self._starting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def last(self, index: Index, namespace: str) -> Measurement | None:
        """The measurement that runs, or the last one. None if there was none."""
        permissions.check("read", index.handle, namespace)
        own = self._own.get((index.handle, namespace))
        if own is not None and own.running:
            return own
        stored = stored_measurements.of_namespace(await self._engine.notes(index.handle), namespace)
        if own is not None and (stored is None or stored.begun <= own.begun):
            return own
        if stored is not None and stored.running:
            return await self._judged(index.handle, stored)
        return stored

    async def _judged(self, handle: Handle, running: Measurement) -> Measurement | None:
        """A measurement that runs in another process, or its failure if that process has ended."""
        lease = self._lease(handle, running.namespace)
        async with self._starting:
            if (own := self._own.get((handle, running.namespace))) is not None and own.begun >= running.begun:
                return own
            try:
                if not await self._engine.take_lease(lease, LEASE_S):
                    return running
                newest = stored_measurements.of_namespace(await self._engine.notes(handle), running.namespace)
                if newest is not None and newest.running:
                    failed = "the server that measured was stopped meanwhile"
                    newest = msgspec.structs.replace(newest, running=False, failed=failed)
                    await self._engine.put_note(handle, newest.note(lease))
                await self._engine.release_lease(lease)
            except PinyonError as error:  # this process only reads, for example
                log.info("the end of a measurement of index %s cannot be stored: %s", handle.name, error.message)
                return running
        return newest

    async def start(self, index: Index, namespace: str, reranker: str) -> None:
        """Begin a measurement with the rights of the caller. Returns without waiting for it.

        reranker: the model that reranks hits of hybrid search. Raises FailedPrecondition if one is running, or if no
        query has a good record.
        """
        permissions.check("write", index.handle, namespace)
        judged = {id: query for id, query in (await self._judgements.all(index, namespace)).items() if query.ids(True)}
        if not judged:
            raise FailedPrecondition(
                "No query of this namespace has a record that is marked as good. Search, then mark hits"
            )
        pipelines, lease = _pipelines(index, reranker), self._lease(index.handle, namespace)
        async with self._starting:
            if self._tasks or not await self._engine.take_lease(lease, LEASE_S):
                raise FailedPrecondition("A measurement is running already; wait until it is done")
            measurement = Measurement(namespace, now(), len(judged), 0, len(judged) * len(pipelines))
            await self._store(index.handle, measurement, lease)
            self._own[index.handle, namespace] = measurement
            task = asyncio.create_task(self._run(index, lease, namespace, judged, pipelines))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop what is running. It has failed then."""
        await asyncio.gather(*(cancel(task) for task in list(self._tasks)))

    def _lease(self, handle: Handle, namespace: str) -> Lease:
        return Lease(f"{stored_measurements.key_of(namespace)}/{handle.id}", self._owner)

    async def _run(
        self,
        index: Index,
        lease: Lease,
        namespace: str,
        judged: Mapping[str, JudgedQuery],
        pipelines: Sequence[Pipeline],
    ) -> None:
        key = (index.handle, namespace)
        try:
            await work_with_lease(self._engine, lease, self._measure(index, lease, namespace, judged, pipelines))
        finally:
            if (own := self._own.get(key)) is not None and own.running:  # it was stopped before its end
                del self._own[key]

    async def _measure(
        self,
        index: Index,
        lease: Lease,
        namespace: str,
        judged: Mapping[str, JudgedQuery],
        pipelines: Sequence[Pipeline],
    ) -> None:
        key = (index.handle, namespace)

        def answered() -> None:
            self._own[key] = msgspec.structs.replace(self._own[key], done=self._own[key].done + 1)

        queries = {id: query.text for id, query in judged.items()}
        failed, qualities = None, list[Quality]()
        storing = asyncio.create_task(self._store_on(key, lease))
        try:
            answers = {
                pipeline: await ask(self._records, index, namespace, queries, pipeline, answered)
                for pipeline in pipelines
            }
            grades = {id: query.grades for id, query in judged.items()}
            qualities = await asyncio.to_thread(_qualities, answers, grades)
        except PinyonError as error:
            failed = error.message
        except Exception as error:
            failed = f"a defect of Pinyon's own ({type(error).__name__}); the log has the details"
            log.exception("the measurement of index %s stopped", index.name)
        finally:
            await cancel(storing)
        ended = msgspec.structs.replace(self._own[key], running=False, failed=failed, qualities=qualities)
        self._own[key] = ended
        if await self._store(index.handle, ended, lease):
            del self._own[key]

    async def _store_on(self, key: tuple[Handle, str], lease: Lease) -> None:
        """Store again and again how far a measurement of this process is."""
        stored = self._own[key]
        while True:
            await asyncio.sleep(STORED_EVERY_S)
            if self._own[key] != stored:
                stored = self._own[key]
                await self._store(key[0], stored, lease)

    async def _store(self, handle: Handle, measurement: Measurement, lease: Lease) -> bool:
        """Store a measurement. Returns False if that is not possible now."""
        try:
            await self._engine.put_note(handle, measurement.note(lease))
        except PinyonError as error:  # a full disk, for example; then the other processes do not learn it
            log.info("a measurement of index %s cannot be stored: %s", handle.name, error.message)
            return False
        return True


def _pipelines(index: Index, reranker: str) -> list[Pipeline]:
    """The pipelines that an index has. In a sparse one, "dense" is the search by the terms of its model."""
    if index.spec.sparse:
        return [Pipeline("dense"), Pipeline("dense", reranker, DEPTH)]
    return [Pipeline("dense"), Pipeline("lexical"), Pipeline("hybrid"), Pipeline("hybrid", reranker, DEPTH)]


def _qualities(answers: Mapping[Pipeline, Answers], grades: dict[str, dict[str, int]]) -> list[Quality]:
    """How well each pipeline ranks, and how much better than dense search. Takes some tenths of a second."""
    from pinyon.evaluation.measures import compared, values  # it loads libraries that serving does not need

    measured = {pipeline: values(each.ranked, grades) for pipeline, each in answers.items()}
    baseline = next(iter(measured.values()))["nDCG@10"]
    qualities = []
    for pipeline, each in answers.items():
        ndcg = measured[pipeline]["nDCG@10"]
        mean = compared(ndcg, [0.0] * len(ndcg))
        against = None if ndcg is baseline else compared(ndcg, baseline)
        recall = measured[pipeline]["recall@100"]
        qualities.append(
            Quality(
                pipeline.name,
                Interval(mean.difference, mean.low, mean.high),
                sum(recall) / len(recall) if pipeline.depth >= TOP_K else None,
                None if against is None else Interval(against.difference, against.low, against.high),
                against.word if against else "",
                each.computed_by,
            )
        )
    return qualities
