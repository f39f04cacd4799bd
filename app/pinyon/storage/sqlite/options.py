"""Options and limits of the SQLite engine."""

import msgspec

from pinyon.storage.engine import EngineLimits
from pinyon.storage.sqlite.connection.database import WRITES_PER_COMMIT

LIMITS = EngineLimits(dimension=8_192)
"""The longest vector that a table of sqlite-vec takes."""


class Tuning(msgspec.Struct, frozen=True):
    """Numbers that measurements chose. No setting changes them. Tests pass small ones.

    columns_from: records of a namespace from which on it has columns. columns_changed: rows that may have changed since
    the version of the columns; a filter reads the metadata of each. columns_updated_rows, columns_updated_writes:
    changed rows, or writes, after which columns are updated; an update copies them. postings_per_read: short reads keep
    other reads from waiting. quiet_s, patience_s: quiet time that ends a bulk load, and the longest wait for it; waits
    follow one another while a namespace grows fast.
    vectors_logged_from: records of a namespace from which on changes are logged for cached vectors.
    vectors_changed_writes: writes after which cached vectors are read again. log_spare_versions: versions that the
    change log may be too long where cached vectors need it; they move forward with nearly every write, and trimming is
    a write itself. coded_from, coded_dimension: with fewer rows, or shorter vectors, cached vectors are read as fast
    without byte codes. coded_rows: rows that are coded and scored together. one_cell_to: up to this many vectors, an
    inverted file has one cell; scoring all codes is about as fast as choosing cells, and finds more. most_full_scans:
    the codes of an inverted file are too coarse if more than this share of the queries end in comparing all rows.
    """

    columns_from: int = 2_000
    columns_changed: int = 1_000
    columns_updated_rows: int = 200
    columns_updated_writes: int = 500
    postings_per_read: int = 20_000
    quiet_s: float = 0.5
    patience_s: float = 30.0
    vectors_logged_from: int = 2_000
    vectors_changed_writes: int = 500
    log_spare_versions: int = 100
    coded_from: int = 2_000
    coded_dimension: int = 64
    coded_rows: int = 16_384
    one_cell_to: int = 1_000_000
    most_full_scans: float = 0.5


AS_MEASURED = Tuning()


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
    posting_cache_bytes: int = 0
    approximate_from: int | None = None
    approximate_recall: float = 0.98
    inline_read_s: float = 0.0
    read_only: bool = False
    tuning: Tuning = AS_MEASURED
