"""What the metrics were in the last half hour, as samples in memory."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from pinyon import metrics
from pinyon.auth.permissions import check_unlimited
from pinyon.domain import RecallSample
from pinyon.services.overview.percentiles import percentile

EVERY_S, KEPT = 5.0, 360
"""Seconds between samples, and how many are kept: half an hour."""
WINDOW = 12
"""Samples over which rates and percentiles are taken: a minute."""


class Sample(msgspec.Struct, frozen=True):
    """The metrics at a moment, in seconds of a clock that never goes back.

    stages: for each part of requests, how many took at most as long as each of metrics.SECONDS, then all of them; all
    since the start. memory: resident bytes. recall: mean of the measured searches, 0..1; None if there are none.
    """

    at: float
    stages: dict[str, list[float]]
    memory: float
    recall: float | None = None


class Point(msgspec.Struct, frozen=True):
    """A moment of a chart. age: seconds before the last sample. values: None where nothing is known."""

    age: float
    values: list[float | None]


class History:
    """Takes samples in the background. recall: returns the measured recall of each namespace."""

    def __init__(
        self, recall: Callable[[], Sequence[RecallSample]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._recall, self._clock = recall, clock
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take a sample every EVERY_S seconds from now on."""
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self.take()
            await asyncio.sleep(EVERY_S)

    async def close(self) -> None:
        """Take no more samples."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def take(self) -> None:
        """Take a sample."""
        measured = self._recall()
        queries = sum(each.queries for each in measured)
        recall = sum(each.recall * each.queries for each in measured) / queries if queries else None
        self._samples.append(Sample(self._clock(), metrics.stage_counts(), metrics.resident_bytes(), recall))

    def stages(self) -> list[str]:
        """The parts of requests that were measured, by name. Raises PermissionDenied, as all methods that tell."""
        check_unlimited()
        return sorted(self._samples[-1].stages) if self._samples else []

    def rates(self, stage: str) -> list[Point]:
        """How often a second something was done, over a minute at each sample."""
        return self._over_windows(lambda seconds, counts: [counts[-1] / seconds], stage, 1)

    def seconds(self, stage: str, shares: Sequence[float]) -> list[Point]:
        """Percentiles of how long something took, in seconds, over a minute at each sample."""
        return self._over_windows(
            lambda _, counts: [percentile(share, metrics.SECONDS, counts) for share in shares], stage, len(shares)
        )

    def overall(self, stage: str, shares: Sequence[float]) -> tuple[int, list[float | None]]:
        """How often something was done while samples were taken, and percentiles of how long it took, in seconds."""
        check_unlimited()
        if len(self._samples) < 2:
            return 0, [None] * len(shares)
        counts = _difference(self._samples[0], self._samples[-1], stage)
        return int(counts[-1]), [percentile(share, metrics.SECONDS, counts) for share in shares]

    def memory(self) -> list[Point]:
        """Resident bytes of the process."""
        return self._each(lambda sample: sample.memory)

    def recall(self) -> list[Point]:
        """Measured recall of approximate searches, 0..1."""
        return self._each(lambda sample: sample.recall)

    def _each(self, value: Callable[[Sample], float | None]) -> list[Point]:
        check_unlimited()
        return [Point(self._samples[-1].at - sample.at, [value(sample)]) for sample in self._samples]

    def _over_windows(
        self, values: Callable[[float, list[float]], list[float | None]], stage: str, width: int
    ) -> list[Point]:
        check_unlimited()
        samples = list(self._samples)
        points = []
        for place, sample in enumerate(samples):
            first = samples[max(0, place - WINDOW)]
            seconds = sample.at - first.at
            known: list[float | None] = [None] * width
            if seconds > 0:
                known = values(seconds, _difference(first, sample, stage))
            points.append(Point(samples[-1].at - sample.at, known))
        return points


def _difference(first: Sample, last: Sample, stage: str) -> list[float]:
    """What was counted between two samples."""
    nothing = [0.0] * (len(metrics.SECONDS) + 1)
    before, after = first.stages.get(stage, nothing), last.stages.get(stage, nothing)
    return [later - earlier for earlier, later in zip(before, after, strict=True)]
