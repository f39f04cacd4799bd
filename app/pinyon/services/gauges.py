"""Gauges that are measured each time the metrics are read: queue, indexes, disk, recall."""

import math
from collections import defaultdict
from collections.abc import Sequence

from pinyon import metrics
from pinyon.auth.permissions import check_unlimited
from pinyon.domain import RecallSample
from pinyon.errors import PinyonError
from pinyon.inference.model_executor import ModelExecutor
from pinyon.services.control_plane.readiness import Readiness
from pinyon.storage.engine import Engine


async def measure(
    engine: Engine | None, executor: ModelExecutor, readiness: Readiness, recall: Sequence[RecallSample]
) -> None:
    """Set the gauges to the current values. Raises PermissionDenied unless the API key is for every index."""
    check_unlimited()
    metrics.QUEUE.set(executor.waiting)
    metrics.READY.set(readiness.is_ready())
    for gauge in (metrics.LSN, metrics.DISK, metrics.RECALL, metrics.RECALL_QUERIES):
        gauge.clear()
    if engine is None:
        return
    free = engine.disk_free()
    metrics.DISK_FREE.set(math.nan if free is None else free)
    for state, number in engine.connections().items():
        metrics.CONNECTIONS.labels(state).set(number)
    metrics.INDEXES.labels("usable").set(len(engine.indexes()))
    metrics.INDEXES.labels("unusable").set(len(engine.unusable()))
    for index in engine.indexes():
        try:
            footprint = await engine.footprint(index.handle)
        except PinyonError:  # the index was deleted, or its disk fails, which requests report
            continue
        metrics.LSN.labels(index.name).set(footprint.lsn)
        for kind, size in footprint.bytes.items():
            metrics.DISK.labels(index.name, kind).set(size)
    samples = defaultdict(list)
    for sample in recall:
        samples[sample.index].append(sample)
    for name, of_index in samples.items():
        queries = sum(sample.queries for sample in of_index)
        metrics.RECALL_QUERIES.labels(name).set(queries)
        metrics.RECALL.labels(name).set(sum(sample.recall * sample.queries for sample in of_index) / max(queries, 1))
