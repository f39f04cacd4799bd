"""Gives the vectors of a namespace to compare: from memory where they are cached, else from the file.

Cached vectors are of one version. While changes are logged, rows that have not changed since are still read from the
cache, and the others from the file.
"""

from collections.abc import Iterator

import apsw
import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Handle
from pinyon.search.bounds import ByteCodes
from pinyon.storage.shared.row_sets import Mask, Records, RowSet, Vectors, in_mask, places_of, without
from pinyon.storage.sqlite.ivf.ivf_index import IvfIndex
from pinyon.storage.sqlite.schema import changes
from pinyon.storage.sqlite.vectors import vector_rows
from pinyon.storage.sqlite.vectors.vector_cache import CachedVectors, VectorCache, most_bytes

SCAN_FROM = 0.05
"""Share of the rows from which on reading all rows is faster than looking up single ones."""
CACHE_FROM = 64
"""Up to this many rows, reading them one by one is faster than caching the namespace. An inverted file brings so few,
but searches on the event-loop thread need them in memory: then the namespace is cached if there is free room."""
MOST_CHANGED = 0.02
"""Cached vectors are used until this share of the rows has changed."""
ROWS_AT_ONCE = 4_096
"""Cached rows that are copied per step."""


class Part(msgspec.Struct, frozen=True):
    """Some rows and their vectors. squares, codes: their squared lengths and byte codes, if known.

    wanted: bool [n], which of the rows were asked for; None: all of them.
    """

    rows: Records
    vectors: Vectors
    squares: NDArray[np.float32] | None = None
    codes: ByteCodes | None = None
    wanted: Mask | None = None


class NeedsReaderThread(Exception):
    """The event-loop thread cannot do it: vectors are not in memory, or all rows would have to be compared."""


class VectorSource(msgspec.Struct, frozen=True):
    """Where the vectors of a namespace are, as one snapshot sees them.

    handle: of the index. count, version: of the namespace. inverted: its inverted file, which may be wrong about the
    rows in changed (sorted). recall: share of the nearest rows that it must find on average. on_event_loop: raise
    NeedsReaderThread for what takes long there.
    """

    connection: apsw.Connection
    ns: int
    dimension: int
    count: int
    version: int
    cache: VectorCache
    handle: Handle
    inverted: IvfIndex | None = None
    changed: Records | None = None
    recall: float = 0.98
    on_event_loop: bool = False

    @property
    def key(self) -> tuple[Handle, int]:
        """What the cache knows the namespace by."""
        return self.handle, self.ns


class _Usable(msgspec.Struct, frozen=True):
    """Cached vectors that may be read, and the sorted rows that must be read from the file instead."""

    cached: CachedVectors
    changed: Records


def vectors_of(source: VectorSource, rows: RowSet | None = None, may_add_others: bool = False) -> Iterator[Part]:
    """The vectors of some rows, or of all rows of the namespace, many at a time.

    The next step overwrites what was yielded before. may_add_others: a part may hold other rows too, where that costs
    less than copying the wanted ones.
    """
    if rows is not None and not rows.count:
        return iter(())
    scan = rows is None or rows.count >= SCAN_FROM * source.count
    usable = _usable_cache(source, rows, scan)
    if usable is None and source.on_event_loop:
        raise NeedsReaderThread
    if usable is None:
        return _from_file(source, rows, scan)
    return _from_memory(source, usable, rows, scan, may_add_others)


def _usable_cache(source: VectorSource, rows: RowSet | None, scan: bool) -> _Usable | None:
    """The cached vectors, if reading them is worthwhile; they are read into the cache if that is due."""
    cached = source.cache.get(source.key, source.version)
    if cached is not None:
        return _Usable(cached, np.empty(0, np.int64))
    older = source.cache.latest(source.key)
    if older is not None and 0 < source.version - older.version <= source.cache.tuning.vectors_changed_writes:
        changed = changes.since(source.connection, source.ns, older.version)
        if changed is not None and len(changed) <= (CACHE_FROM if scan else MOST_CHANGED * source.count):
            return _Usable(older, changed)
    if source.on_event_loop:
        return None
    many = scan or (rows is not None and rows.count > CACHE_FROM)
    if many or source.inverted is not None:
        size = most_bytes(source.count, source.dimension, source.cache.tuning)
        if source.cache.worth_keeping(source.key, source.version, size, may_replace=many):
            cached = _read_all(source)
            source.cache.put(source.key, cached)
            return _Usable(cached, np.empty(0, np.int64))
    return None


def _from_file(source: VectorSource, rows: RowSet | None, scan: bool) -> Iterator[Part]:
    place = source.connection, source.ns, source.dimension
    if rows is not None and not scan:
        for some, vectors in vector_rows.iter_rows(*place, rows.rows):
            yield Part(some, vectors)
        return
    mask = None if rows is None else rows.mask
    for some, vectors in vector_rows.iter_chunks(*place):
        if mask is None:
            yield Part(some, vectors)
        elif (wanted := in_mask(mask, some)).any():
            yield Part(some[wanted], vectors[wanted])


def _from_memory(
    source: VectorSource, usable: _Usable, rows: RowSet | None, scan: bool, may_add_others: bool
) -> Iterator[Part]:
    cached, changed = usable.cached, usable.changed
    if len(changed):
        new = changed if rows is None else changed[rows.contains(changed)]
        for some, vectors in vector_rows.iter_rows(source.connection, source.ns, source.dimension, new):
            yield Part(some, vectors)
    if rows is not None and not scan:
        yield from _copied(cached, places_of(cached.records, without(rows.rows, changed)))
        return
    wanted = None if rows is None else in_mask(rows.mask, cached.records)
    if len(changed):
        wanted = np.ones(len(cached.records), dtype=bool) if wanted is None else wanted
        wanted[places_of(cached.records, changed)] = False
    most = rows is None or 4 * rows.count >= source.count
    yield from _blocks(cached, wanted, may_add_others and (cached.codes != () or most))


def _blocks(cached: CachedVectors, wanted: Mask | None, may_add_others: bool) -> Iterator[Part]:
    """The wanted rows, block by block."""
    for number, start in enumerate(range(0, len(cached.records), cached.block)):
        block = slice(start, start + cached.block)
        codes = cached.codes[number] if cached.codes else None
        if wanted is None or wanted[block].all():
            yield Part(cached.records[block], cached.vectors[block], cached.squares[block], codes)
        elif may_add_others:
            yield Part(cached.records[block], cached.vectors[block], cached.squares[block], codes, wanted[block])
        else:
            yield from _copied(cached, start + np.flatnonzero(wanted[block]))


def _copied(cached: CachedVectors, places: Records) -> Iterator[Part]:
    """The rows at these places."""
    for start in range(0, len(places), ROWS_AT_ONCE):
        some = places[start : start + ROWS_AT_ONCE]
        yield Part(cached.records[some], cached.vectors[some], cached.squares[some])


def _read_all(source: VectorSource) -> CachedVectors:
    """Read all rows of the namespace for the cache."""
    records = np.empty(source.count, np.int64)
    vectors = np.empty((source.count, source.dimension), np.float32)
    end = 0
    for some, values in vector_rows.iter_chunks(source.connection, source.ns, source.dimension):
        records[end : end + len(some)], vectors[end : end + len(some)] = some, values
        end += len(some)
    assert end == source.count
    if (records[1:] < records[:-1]).any():  # slots of deleted rows were used again
        order = np.argsort(records)
        records, vectors = records[order], vectors[order]
    return CachedVectors.of(source.version, records, vectors, source.cache.tuning)
