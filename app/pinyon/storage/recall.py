"""How good approximate answers are: some are given again, exactly, when nothing else is to be done, and compared."""

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from statistics import mean, stdev

from pinyon.domain import QueryAnswer, RecallSample

QUIET_S = 0.05
"""Without a query for this long, there is time."""
MOST_WAITING = 16
"""Answers that wait to be compared; of a busy server the others are not."""

Check = Callable[[], Awaitable[QueryAnswer]]


WATCHED, ENOUGH = 100, 20
"""Answers of a namespace that are judged together: the last ones, and how many there must be."""


def _recall(answer: QueryAnswer, exact: QueryAnswer) -> float:
    """Share of the exact answer's hits that an answer has; one that ties with the last of them is as good."""
    last = exact.matches[-1].score
    wanted = {match.id for match in exact.matches}
    found = sum(match.id in wanted or match.score == last for match in answer.matches)
    return min(found / len(wanted), 1.0)


SURE = 3.0
"""Standard errors that a mean must be below the target. It is looked at after every answer: chance has many tries."""


def _surely_below(recalls: Collection[float], target: float) -> bool:
    """Whether the mean of these is below the target by more than chance explains."""
    return mean(recalls) + SURE * stdev(recalls) / math.sqrt(len(recalls)) < target


class RecallSampler:
    """Recall of a share of the approximate answers, by index and namespace. Not for use by several threads."""

    def __init__(
        self, share: float, target: float = 0.0, on_less: Callable[[str, str], None] = lambda index, namespace: None
    ) -> None:
        """share: of the approximate answers, 0 to 1. target: recall that the last ones must have on average.

        on_less: told an index and a namespace whose answers do not have it.
        """
        self._share, self._target, self._on_less = share, target, on_less
        self._sums: dict[tuple[str, str], RecallSample] = {}
        self._last_ones: dict[tuple[str, str], deque[float]] = {}
        self._waiting: list[tuple[str, str, QueryAnswer, Check]] = []
        self._task: asyncio.Task[None] | None = None
        self._last = 0.0

    def offer(self, index: str, namespace: str, answer: QueryAnswer, exactly: Check) -> None:
        """Keep an answer in mind, now and then. exactly: asks the same question, to be answered exactly."""
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        if not answer.approximate or random.random() >= self._share or len(self._waiting) >= MOST_WAITING:
            return
        self._waiting.append((index, namespace, answer, exactly))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._compare())

    async def _compare(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            while (busy := self._last + QUIET_S - loop.time()) > 0:
                await asyncio.sleep(busy)
            index, namespace, answer, exactly = self._waiting.pop(0)
            try:
                exact = await exactly()
            except Exception:  # the index is gone, or is being embedded anew
                continue
            if exact.lsn != answer.lsn or not exact.matches:  # of other records: nothing to compare
                continue
            recall = _recall(answer, exact)
            before = self._sums.get((index, namespace), RecallSample(index, namespace, 0, 0.0))
            total = before.queries + 1
            mean = before.recall + (recall - before.recall) / total
            self._sums[index, namespace] = RecallSample(index, namespace, total, mean)
            self._watch(index, namespace, recall)

    def _watch(self, index: str, namespace: str, recall: float) -> None:
        last_ones = self._last_ones.setdefault((index, namespace), deque(maxlen=WATCHED))
        last_ones.append(recall)
        if len(last_ones) >= ENOUGH and _surely_below(last_ones, self._target):
            last_ones.clear()
            self._on_less(index, namespace)

    def samples(self) -> list[RecallSample]:
        """What has been measured since the start."""
        return [self._sums[key] for key in sorted(self._sums)]

    def forget(self, index: str, namespace: str | None = None) -> None:
        """Free what was measured of an index that is gone, or of one of its namespaces."""
        for key in [key for key in self._sums if key[0] == index and namespace in (None, key[1])]:
            del self._sums[key]
            self._last_ones.pop(key, None)

    async def close(self) -> None:
        """Compare nothing any more."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
