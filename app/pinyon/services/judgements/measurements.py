"""Measures in the background how well the ways to search rank the judged queries of a namespace."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import msgspec

from pinyon.auth import permissions
from pinyon.domain import Handle, Index
from pinyon.errors import FailedPrecondition, PinyonError
from pinyon.evaluation.asking import TOP_K, Answers, Pipeline, ask
from pinyon.services.data_plane.records.records import Records
from pinyon.services.judgements.files import JudgedQuery
from pinyon.services.judgements.judgements import Judgements
from pinyon.services.moments import now

log = logging.getLogger("pinyon.judgements")

DEPTH = 50
"""Hits that are reranked."""
MOST_MEASURED = 100
"""Measurements that are remembered: the newest."""


class Interval(msgspec.Struct, frozen=True):
    """A mean over the queries, and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


class Quality(msgspec.Struct, frozen=True):
    """How well a pipeline ranks. ndcg: nDCG@10. recall: recall@100; None if fewer hits were reranked.

    against_dense: the difference of nDCG@10. word: better, worse or no difference, which is chance; empty for dense
    itself. computed_by: labels of models.
    """

    pipeline: str
    ndcg: Interval
    recall: float | None
    against_dense: Interval | None
    word: str
    computed_by: list[str]


class Measurement(msgspec.Struct, frozen=True):
    """A measurement. done, total: searches. begun: RFC 3339. failed: why it stopped. qualities: empty until the end."""

    begun: str
    queries: int
    done: int
    total: int
    running: bool = True
    failed: str | None = None
    qualities: list[Quality] = []


class Measurements:
    """The last measurement of each namespace, while the server runs. Call from the event-loop thread only."""

    def __init__(self, records: Records, judgements: Judgements) -> None:
        self._records, self._judgements = records, judgements
        self._last: dict[tuple[Handle, str], Measurement] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def last(self, index: Index, namespace: str) -> Measurement | None:
        """The measurement that runs, or the last one. None if there was none since the server started."""
        permissions.check("read", index.handle, namespace)
        return self._last.get((index.handle, namespace))

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
        if self._tasks:
            raise FailedPrecondition("A measurement is running already; wait until it is done")
        pipelines = _pipelines(index, reranker)
        key, total = (index.handle, namespace), len(judged) * len(pipelines)
        self._last.pop(key, None)
        self._last[key] = Measurement(now(), len(judged), 0, total)
        for old in list(self._last)[:-MOST_MEASURED]:
            del self._last[old]
        task = asyncio.create_task(self._run(index, namespace, judged, pipelines))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop what is running."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(
        self, index: Index, namespace: str, judged: Mapping[str, JudgedQuery], pipelines: Sequence[Pipeline]
    ) -> None:
        key = (index.handle, namespace)

        def answered() -> None:
            self._last[key] = msgspec.structs.replace(self._last[key], done=self._last[key].done + 1)

        queries = {id: query.text for id, query in judged.items()}
        failed, qualities = None, list[Quality]()
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
        last = self._last[key]
        self._last[key] = msgspec.structs.replace(last, running=False, failed=failed, qualities=qualities)


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
