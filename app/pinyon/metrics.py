"""The metrics for Prometheus, as GET /metrics shows them. Names of records, namespaces and keys are never labels."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

REGISTRY = CollectorRegistry()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

ProcessCollector(registry=REGISTRY)
REQUESTS = Histogram(
    "pinyon_request_seconds", "Requests, from the first byte until the answer", ["protocol", "operation", "status"],
    buckets=SECONDS, registry=REGISTRY,
)  # fmt: skip
STAGES = Histogram(
    "pinyon_stage_seconds", "Parts of requests: queue, embed_query, embed_passage, rerank, search, write", ["stage"],
    buckets=SECONDS, registry=REGISTRY,
)  # fmt: skip
BATCH_TEXTS = Histogram(
    "pinyon_batch_texts", "Texts embedded in one call", ["input_type"],
    buckets=(1, 2, 4, 8, 16, 32), registry=REGISTRY,
)  # fmt: skip
TOKENS = Counter("pinyon_tokens", "Tokens embedded", ["input_type"], registry=REGISTRY)
CACHE = Counter(
    "pinyon_cache_lookups", "Lookups of caches: query, filter, column, vector", ["cache", "found"], registry=REGISTRY
)
QUEUE = Gauge("pinyon_queue_depth", "Calls waiting for a model", registry=REGISTRY)
READY = Gauge("pinyon_ready", "1 if requests are answered, otherwise 0", registry=REGISTRY)
INDEXES = Gauge("pinyon_indexes", "Indexes", ["state"], registry=REGISTRY)
LSN = Gauge("pinyon_index_lsn", "Sequence number of the last write", ["index"], registry=REGISTRY)
DISK = Gauge("pinyon_index_bytes", "Bytes on disk, by kind: data, log, inverted", ["index", "kind"], registry=REGISTRY)
DISK_FREE = Gauge("pinyon_disk_free_bytes", "Free bytes on the disk of the data folder", registry=REGISTRY)
CONNECTIONS = Gauge(
    "pinyon_database_connections", "Connections to the database by state: in use, idle, waited for",
    ["state"], registry=REGISTRY,
)  # fmt: skip
RECALL = Gauge(
    "pinyon_sampled_recall", "Recall of approximate searches, measured on samples", ["index"], registry=REGISTRY
)
APPROXIMATE = Counter(
    "pinyon_approximate_searches",
    "Approximate searches that looked further or compared all vectors; namespaces that became exact",
    ["outcome"], registry=REGISTRY,
)  # fmt: skip
SCHEDULED_BACKUPS = Counter(
    "pinyon_scheduled_backups", "Runs of backup schedules, by outcome: taken, failed", ["index", "outcome"],
    registry=REGISTRY,
)  # fmt: skip
RECALL_QUERIES = Gauge(
    "pinyon_sampled_queries", "Approximate searches repeated exactly to measure recall", ["index"], registry=REGISTRY
)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Measure the duration of a part of a request."""
    begun = time.perf_counter()
    try:
        yield
    finally:
        observe(name, time.perf_counter() - begun)


def observe(stage: str, seconds: float) -> None:
    """Record the duration of a part of a request."""
    _child(STAGES, stage).observe(seconds)


def embedded(input_type: str, texts: int, tokens: int, seconds: float) -> None:
    """Record a call of an embedding model."""
    observe(f"embed_{input_type}", seconds)
    _child(BATCH_TEXTS, input_type).observe(texts)
    _child(TOKENS, input_type).inc(tokens)


def answered(protocol: str, operation: str, status: str, seconds: float) -> None:
    """Record a request."""
    _child(REQUESTS, protocol, operation, status).observe(seconds)


def looked_up(cache: str, hit: bool) -> None:
    """Count a lookup of a cache."""
    _child(CACHE, cache, str(hit).lower()).inc()


def looked_further() -> None:
    """Count an approximate search that was repeated with more candidates."""
    _child(APPROXIMATE, "looked further").inc()


def compared_all() -> None:
    """Count an approximate search that compared all vectors in the end."""
    _child(APPROXIMATE, "compared all").inc()


def became_exact() -> None:
    """Count a namespace that is searched exactly from now on, because its sampled recall was too low."""
    _child(APPROXIMATE, "namespace became exact").inc()


def scheduled_backup(index: str, taken: bool) -> None:
    """Count a run of a backup schedule."""
    _child(SCHEDULED_BACKUPS, index, "taken" if taken else "failed").inc()


@cache
def _child(metric: Any, *labels: str) -> Any:
    """The metric for these labels. It is cached because the lookup takes longer than counting."""
    return metric.labels(*labels)


def stage_counts() -> dict[str, list[float]]:
    """For each part of requests, how many took at most as long as each of SECONDS, then all of them."""
    counts: dict[str, list[float]] = {}
    for metric in STAGES.collect():
        for sample in metric.samples:
            if sample.name.endswith("_bucket"):
                counts.setdefault(sample.labels["stage"], []).append(sample.value)
    return counts


def resident_bytes() -> float:
    """Memory of this process; 0 where the system does not say."""
    return REGISTRY.get_sample_value("process_resident_memory_bytes") or 0.0


def text() -> bytes:
    """All metrics in the text format of Prometheus."""
    return generate_latest(REGISTRY)
