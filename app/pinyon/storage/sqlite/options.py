"""Options and limits of the SQLite engine."""

import msgspec

from pinyon.storage.engine import EngineLimits
from pinyon.storage.sqlite.connection.database import WRITES_PER_COMMIT

LIMITS = EngineLimits(dimension=8_192)
"""The longest vector that a table of sqlite-vec takes."""


class EngineOptions(msgspec.Struct, frozen=True):
    """Options of the engine. The settings of the same names say more.

    approximate_from: a namespace with so many records is searched approximately; None: never. inline_read_s: if a
    search took no longer than this, the next one runs on the event loop; 0: none does. read_only: change nothing,
    because another process may write.
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
