"""What makes the engine quick, and how much of it."""

import msgspec

from pinyon.storage.engine import EngineLimits
from pinyon.storage.sqlite.connection.database import WRITES_PER_COMMIT

LIMITS = EngineLimits(dimension=8_192)
"""The longest vector that a table of sqlite-vec takes."""


class Tuning(msgspec.Struct, frozen=True):
    """What makes the engine quick; see the settings of the same names.

    approximate_from: records of a namespace from which on it is searched approximately; None: never. at_once_s: what a
    search may take for the next one to be run where it is asked; 0: none is. read_only: change nothing; whoever writes
    is another process, or nobody.
    """

    readers: int
    mmap_bytes: int
    cache_bytes: int = 0
    writes_per_commit: int = WRITES_PER_COMMIT
    filter_cache_bytes: int = 0
    column_bytes: int = 0
    approximate_from: int | None = None
    approximate_recall: float = 0.98
    at_once_s: float = 0.0
    read_only: bool = False
