"""Options and limits of the SQLite engine."""

import msgspec

from pinyon.storage.engine import EngineLimits
from pinyon.storage.sqlite.connection.database import WRITES_PER_COMMIT

LIMITS = EngineLimits(dimension=8_192)
"""The longest vector that a table of sqlite-vec takes."""


class EngineOptions(msgspec.Struct, frozen=True):
    """Options of the engine. The settings of the same names have longer explanations.

    approximate_from: namespaces with at least this many records are searched approximately; None: none is.
    inline_read_s: if a search took at most this many seconds, the next one runs on the event-loop thread; 0: none does.
    read_only: change nothing, because another process may be writing.
    """

    readers: int
    mmap_bytes: int
    cache_bytes: int = 0
    writes_per_commit: int = WRITES_PER_COMMIT
    filter_cache_bytes: int = 0
    column_bytes: int = 0
    approximate_from: int | None = None
    approximate_recall: float = 0.98
    inline_read_s: float = 0.0
    read_only: bool = False
