"""Where vectors are: in the chunks in which sqlite-vec keeps them, or in memory.

Layout of sqlite-vec 0.1.9 that this file relies on:
    vectors_chunks(chunk_id, partition00, validity, rowids)   a bit and an int64 per slot
    vectors_vector_chunks00, at row id chunk_id: vectors      a float32 [dimension] per slot
    vectors_rowids(rowid, chunk_id, chunk_offset)             where a row lies
"""

from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Any

import apsw
import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.search.bounds import Coded
from pinyon.storage.sqlite.ivf.ivf_index import InvertedFile
from pinyon.storage.sqlite.row_sets import Records, Vectors, places_of, without
from pinyon.storage.sqlite.schema import changes
from pinyon.storage.sqlite.schema.migrations import CHUNK_ROWS
from pinyon.storage.sqlite.vectors.vector_cache import BLOCK, Held, VectorCache, most_bytes

MANY = 0.05
"""Share of the rows from which on all chunks are read."""
FEW = 64
"""Rows that are sooner read one by one than kept in memory."""
MOST_CHANGED, MOST_WRITES = 0.02, 500
"""Share of the rows, and writes, that may have been since vectors were kept, for the others to be read from there."""
ROWS_AT_ONCE = 4_096
"""Rows that are copied per step."""
PLACE = itemgetter(1, 2)
"""Chunk and offset of a row, its number and these."""
NONE = np.empty(0, np.int64)
FLOAT_BYTES = 4
CHUNKS_AT_ONCE = 32
"""Chunks per numpy call: enough that the cost of the call does not show."""


class Part(msgspec.Struct, frozen=True):
    """Some rows and their vectors. squares, codes: their squared lengths and byte codes, if known.

    wanted: which of the rows are, if not all.
    """

    rows: Records
    vectors: Vectors
    squares: NDArray[np.float32] | None = None
    codes: Coded | None = None
    wanted: NDArray[np.bool_] | None = None


class ComparesAll(Exception):
    """The inverted file has no answer, and all rows would have to be compared: too much for the event loop."""


class Source(msgspec.Struct, frozen=True):
    """Where the vectors of a namespace are, as one snapshot sees them. count: its records. handle: of the index.

    inverted: knows most rows that are near to a query; changed: sorted rows of which it may be wrong; recall: share of
    the nearest that it must find. quick: whether to raise ComparesAll rather than to compare all rows after all.
    """

    connection: apsw.Connection
    ns: int
    dimension: int
    count: int
    version: int
    cache: VectorCache
    handle: str
    inverted: InvertedFile | None = None
    changed: Records | None = None
    recall: float = 0.98
    quick: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """What the cache knows the namespace by."""
        return self.handle, self.ns


def vector_of(connection: apsw.Connection, record: int) -> Vectors:
    """The stored vector of one row, float32 [dimension]."""
    blob = connection.execute("SELECT embedding FROM vectors WHERE rowid = ?", (record,)).get
    return np.frombuffer(blob, dtype=np.float32)


def live(source: Source, kept: Records | None, around: bool = False) -> Iterator[Part]:
    """Live rows, their vectors and what else is known of them, many at a time; with a filter, only the kept ones.

    What is yielded is overwritten by the next step. around: where that costs less than copying the vectors that are
    kept, the others may come too.
    """
    if kept is not None and not len(kept):
        return
    asked = source.count if kept is None else len(kept)
    many = kept is None or asked >= MANY * source.count
    held, changed = _in_memory(source, FEW if many else MOST_CHANGED * source.count)
    if held is None and (many or asked > FEW):
        size = most_bytes(source.count, source.dimension)
        if source.cache.worth_keeping(source.key, source.version, size):
            held = _held(source)
            source.cache.put(source.key, held)
    if held is None:
        some = points(source, kept) if kept is not None and not many else _chunks(source, _marked(kept))
        yield from (Part(rows, vectors) for rows, vectors in some)
        return
    if len(changed):
        new = changed if kept is None else kept[places_of(kept, changed)]
        yield from (Part(rows, vectors) for rows, vectors in points(source, new))
    if kept is not None and not many:
        yield from _some(held, without(kept, changed))
        return
    allowed = _marked(kept)
    wanted = None if allowed is None else _among(allowed, held.records)
    if len(changed):
        wanted = np.ones(len(held.records), dtype=bool) if wanted is None else wanted
        wanted[places_of(held.records, changed)] = False
    yield from _blocks(held, wanted, around and (held.codes != () or 4 * asked >= source.count))


def _blocks(held: Held, wanted: NDArray[np.bool_] | None, around: bool) -> Iterator[Part]:
    """The wanted ones of the rows in memory. around: the others too."""
    for number, start in enumerate(range(0, len(held.records), BLOCK)):
        block = slice(start, start + BLOCK)
        codes = held.codes[number] if held.codes else None
        if wanted is None or wanted[block].all():
            yield Part(held.records[block], held.vectors[block], held.squares[block], codes)
        elif around:
            yield Part(held.records[block], held.vectors[block], held.squares[block], codes, wanted[block])
        else:
            places = start + np.flatnonzero(wanted[block])
            yield from _taken(held, places)


def _in_memory(source: Source, most: float) -> tuple[Held | None, Records]:
    """Vectors in memory, and the sorted rows that have changed since they were read, if these are at most so many."""
    held = source.cache.get(source.key, source.version)
    if held is not None:
        return held, NONE
    older = source.cache.latest(source.key)
    if older is None or not 0 < source.version - older.version <= MOST_WRITES:
        return None, NONE
    changed = changes.since(source.connection, source.ns, older.version)
    return (None, NONE) if changed is None or len(changed) > most else (older, changed)


def _marked(kept: Records | None) -> NDArray[np.bool_] | None:
    """Whether a row is among those kept, by its number, up to the last of them."""
    if kept is None:
        return None
    allowed = np.zeros(kept[-1] + 1, dtype=bool)
    allowed[kept] = True
    return allowed


def _some(held: Held, rows: Records) -> Iterator[Part]:
    """Those of the rows that are kept in memory."""
    yield from _taken(held, places_of(held.records, rows))


def _taken(held: Held, places: Records) -> Iterator[Part]:
    for start in range(0, len(places), ROWS_AT_ONCE):
        part = places[start : start + ROWS_AT_ONCE]
        yield Part(held.records[part], held.vectors[part], held.squares[part])


def points(source: Source, rows: Records) -> Iterator[tuple[Records, Vectors]]:
    """Those of the rows that the namespace has, and their vectors, each read by itself."""
    size = source.dimension * FLOAT_BYTES
    blob: Any = None
    try:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            found: Any = source.connection.execute(
                "SELECT value, chunk_id, chunk_offset FROM carray(?) CROSS JOIN vectors_rowids"
                " ON vectors_rowids.rowid = value"
                " WHERE (SELECT partition00 FROM vectors_chunks WHERE chunk_id = vectors_rowids.chunk_id) = ?",
                (apsw.carray(rows[start : start + ROWS_AT_ONCE]), source.ns),
            ).fetchall()
            if not found:
                continue
            found.sort(key=PLACE)
            vectors = np.empty((len(found), source.dimension), np.float32)
            target, open_chunk = memoryview(vectors.data).cast("B"), None
            for number, (_, chunk, offset) in enumerate(found):
                if blob is None:
                    blob = source.connection.blob_open("main", "vectors_vector_chunks00", "vectors", chunk, False)
                elif chunk != open_chunk:
                    blob.reopen(chunk)
                open_chunk = chunk
                blob.seek(offset * size)
                blob.read_into(target, number * size, size)
            yield np.array([row for row, _, _ in found], dtype=np.int64), vectors
    finally:
        if blob is not None:
            blob.close()


def _among(allowed: NDArray[np.bool_], records: Records) -> NDArray[np.bool_]:
    """Which of the rows are allowed; allowed has a place for every row number up to its own last."""
    return np.asarray(allowed[np.minimum(records, len(allowed) - 1)] & (records < len(allowed)))


def _held(source: Source) -> Held:
    """All live rows, read into memory."""
    records = np.empty(source.count, np.int64)
    vectors = np.empty((source.count, source.dimension), np.float32)
    end = 0
    for some, rows in _chunks(source):
        records[end : end + len(some)], vectors[end : end + len(some)] = some, rows
        end += len(some)
    assert end == source.count
    if (records[1:] < records[:-1]).any():  # slots of deleted rows were used again
        order = np.argsort(records)
        records, vectors = records[order], vectors[order]
    return Held.of(source.version, records, vectors)


def chunks(connection: apsw.Connection, ns: int) -> Records:
    """The numbers of the chunks of a namespace."""
    found: Any = connection.execute("SELECT chunk_id FROM vectors_chunks WHERE partition00 = ?", (ns,)).fetchall()
    return np.array(found, dtype=np.int64).reshape(-1)


def rows(connection: apsw.Connection, ns: int) -> Records:
    """The sorted row numbers of a namespace."""
    blobs: Any = connection.execute(
        "SELECT rowids, validity FROM vectors_chunks WHERE partition00 = ?", (ns,)
    ).fetchall()
    records = np.frombuffer(b"".join(row[0] for row in blobs), dtype=np.int64)
    bits = np.frombuffer(b"".join(row[1] for row in blobs), dtype=np.uint8)
    return np.sort(records[np.unpackbits(bits, bitorder="little").astype(bool)])


def read_chunks(source: Source, some: Records) -> tuple[Records, Vectors]:
    """All live rows of some chunks, and their vectors; of chunks that are gone, none."""
    parts = [(rows.copy(), vectors.copy()) for rows, vectors in _chunks(source, only=some)]
    if not parts:
        return np.empty(0, np.int64), np.empty((0, source.dimension), np.float32)
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([vectors for _, vectors in parts])


def _chunks(
    source: Source, allowed: NDArray[np.bool_] | None = None, only: Records | None = None
) -> Iterator[tuple[Records, Vectors]]:
    """The same from the file, chunk by chunk; only: these chunks.

    Blobs are read straight into one buffer: through rows of a query they would be copied twice, with Python's lock
    held, and searches would wait for each other.
    """
    sql = "SELECT chunk_id, rowids, validity FROM vectors_chunks WHERE partition00 = ?"
    bindings: tuple[object, ...] = (source.ns,)
    if only is not None:
        sql += " AND chunk_id IN (SELECT value FROM carray(?))"
        bindings = (source.ns, apsw.carray(only))
    buffer = np.empty((CHUNKS_AT_ONCE * CHUNK_ROWS, source.dimension), np.float32)
    chunk_bytes = CHUNK_ROWS * source.dimension * FLOAT_BYTES
    target = memoryview(buffer.data).cast("B")
    cursor, blob = source.connection.execute(sql, bindings), None
    try:
        while group := list(islice(cursor, CHUNKS_AT_ONCE)):
            for place, (chunk, _, _) in enumerate(group):
                if blob is None:
                    blob = source.connection.blob_open("main", "vectors_vector_chunks00", "vectors", chunk, False)
                else:
                    blob.reopen(chunk)
                blob.read_into(target, place * chunk_bytes, chunk_bytes)
            records = np.frombuffer(b"".join(row[1] for row in group), dtype=np.int64)
            bits = np.frombuffer(b"".join(row[2] for row in group), dtype=np.uint8)
            vectors = buffer[: len(records)]
            live = np.unpackbits(bits, bitorder="little").astype(bool)
            if allowed is not None:
                live &= _among(allowed, records)
            if live.all():
                yield records, vectors
            elif live.any():
                yield records[live], vectors[live]
    finally:
        if blob is not None:
            blob.close()
