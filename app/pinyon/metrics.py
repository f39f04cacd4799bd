"""What is counted and timed for Prometheus: GET /metrics. No name of a record, a namespace or a key is a label."""

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
    "pinyon_request_seconds", "Requests, from the first byte to the answer", ["protocol", "operation", "status"],
    buckets=SECONDS, registry=REGISTRY,
)  # fmt: skip
STAGES = Histogram(
    "pinyon_stage_seconds", "Parts of requests: queue, embed_query, embed_passage, rerank, search, write", ["stage"],
    buckets=SECONDS, registry=REGISTRY,
)  # fmt: skip
BATCH_TEXTS = Histogram(
    "pinyon_batch_texts", "Texts that were embedded in one call", ["input_type"],
    buckets=(1, 2, 4, 8, 16, 32), registry=REGISTRY,
)  # fmt: skip
TOKENS = Counter("pinyon_tokens", "Tokens that were embedded", ["input_type"], registry=REGISTRY)
CACHE = Counter(
    "pinyon_cache_lookups", "Lookups of caches: query, filter, column, vector", ["cache", "found"], registry=REGISTRY
)
QUEUE = Gauge("pinyon_queue_depth", "Calls that wait for a model", registry=REGISTRY)
READY = Gauge("pinyon_ready", "Whether requests are answered", registry=REGISTRY)
INDEXES = Gauge("pinyon_indexes", "Indexes", ["state"], registry=REGISTRY)
LSN = Gauge("pinyon_index_lsn", "Number of the last write", ["index"], registry=REGISTRY)
DISK = Gauge("pinyon_index_bytes", "Bytes on disk, by kind: data, log, inverted", ["index", "kind"], registry=REGISTRY)
DISK_FREE = Gauge("pinyon_disk_free_bytes", "Bytes that are free where the data is", registry=REGISTRY)
RECALL = Gauge(
    "pinyon_sampled_recall", "Share of the best that approximate searches found", ["index"], registry=REGISTRY
)
APPROXIMATE = Counter(
    "pinyon_approximate_searches",
    "Searches that the check of an inverted file had look further or compare all; and namespaces that became exact",
    ["outcome"], registry=REGISTRY,
)  # fmt: skip
RECALL_QUERIES = Gauge("pinyon_sampled_queries", "Searches that were repeated exactly", ["index"], registry=REGISTRY)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a part of a request."""
    begun = time.perf_counter()
    try:
        yield
    finally:
        observe(name, time.perf_counter() - begun)


def observe(stage: str, seconds: float) -> None:
    """Note how long a part of a request took."""
    _child(STAGES, stage).observe(seconds)


def embedded(input_type: str, texts: int, tokens: int, seconds: float) -> None:
    """Note a call of a model."""
    observe(f"embed_{input_type}", seconds)
    _child(BATCH_TEXTS, input_type).observe(texts)
    _child(TOKENS, input_type).inc(tokens)


def answered(protocol: str, operation: str, status: str, seconds: float) -> None:
    """Note a request."""
    _child(REQUESTS, protocol, operation, status).observe(seconds)


def looked_up(cache: str, found: bool) -> None:
    """Count a lookup of a cache."""
    _child(CACHE, cache, str(found).lower()).inc()


def looked_further() -> None:
    """Count a search that an inverted file repeated among more rows."""
    _child(APPROXIMATE, "looked further").inc()


def compared_all() -> None:
    """Count a search that an inverted file left to comparing all."""
    _child(APPROXIMATE, "compared all").inc()


def became_exact() -> None:
    """Count a namespace whose approximate answers were found to be worse than they may be."""
    _child(APPROXIMATE, "namespace became exact").inc()


@cache
def _child(metric: Any, *labels: str) -> Any:
    """A metric for these labels; looking it up takes longer than counting."""
    return metric.labels(*labels)


def text() -> bytes:
    """All of it, as Prometheus reads it."""
    return generate_latest(REGISTRY)
