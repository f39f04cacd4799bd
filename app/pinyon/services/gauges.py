"""The metrics that are looked up when they are asked for: queue, indexes, disk, recall."""

import shutil
from collections import defaultdict
from pathlib import Path

from pinyon import metrics
from pinyon.auth.permissions import check_unlimited
from pinyon.errors import PinyonError
from pinyon.inference.model_executor import ModelExecutor
from pinyon.services.control_plane.readiness import Readiness
from pinyon.storage.engine import Engine


async def measure(engine: Engine | None, executor: ModelExecutor, readiness: Readiness, data_dir: Path) -> None:
    """Set the gauges to the current values. Raises PermissionDenied unless the API key is for every index."""
    check_unlimited()
    metrics.QUEUE.set(executor.waiting)
    metrics.READY.set(readiness.waiting_for is None)
    for gauge in (metrics.LSN, metrics.DISK, metrics.RECALL, metrics.RECALL_QUERIES):
        gauge.clear()
    if engine is None:
        return
    metrics.DISK_FREE.set(shutil.disk_usage(data_dir).free)
    metrics.INDEXES.labels("usable").set(len(engine.indexes()))
    metrics.INDEXES.labels("unusable").set(len(engine.unusable()))
    for index in engine.indexes():
        try:
            found = await engine.footprint(index.handle)
        except PinyonError:  # deleted meanwhile, or its disk does not answer, which requests will say
            continue
        metrics.LSN.labels(index.name).set(found.lsn)
        for kind, size in found.bytes.items():
            metrics.DISK.labels(index.name, kind).set(size)
    samples = defaultdict(list)
    for sample in engine.recall():
        samples[sample.index].append(sample)
    for name, some in samples.items():
        queries = sum(sample.queries for sample in some)
        metrics.RECALL_QUERIES.labels(name).set(queries)
        metrics.RECALL.labels(name).set(sum(sample.recall * sample.queries for sample in some) / max(queries, 1))
