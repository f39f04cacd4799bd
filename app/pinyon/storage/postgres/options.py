"""Options and limits of the PostgreSQL engine."""

from collections.abc import Sequence

import msgspec

from pinyon.storage.engine import EngineLimits

LIMITS = EngineLimits(dimension=16_000)
"""The longest vector that pgvector stores."""


class EngineOptions(msgspec.Struct, frozen=True):
    """Options of the engine. The settings of the same names have longer explanations.

    dsn: a connection string of libpq. schema: of the catalogue, and the beginning of the name of the schema of each
    index. replica_dsns: of the replicas that answer reads. connections: the most that a process opens to the primary,
    and to each replica. approximate_from: namespaces with at least this many records are searched approximately; None:
    none is.
    """

    dsn: str
    schema: str = "pinyon"
    replica_dsns: Sequence[str] = ()
    replica_wait_s: float = 0.2
    connections: int = 8
    writes_per_commit: int = 64
    statement_timeout_s: float = 30.0
    posting_cache_bytes: int = 0
    approximate_from: int | None = None
    approximate_recall: float = 0.98
    read_only: bool = False
