"""Whether an index's tables agree with each other: plain functions on a connection. Reads everything, changes nothing.

Records and vectors are what a client sent; postings, words, sparse postings and counts follow from them. Large tables
are compared by a sum of hashes, so that memory does not grow with them.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import apsw
import msgspec
import numpy as np

from app.domain import IndexSpec
from app.storage import lexical, sparse_index, tables, vector_rows, writing
from app.storage.postings import postings
from app.storage.vector_cache import VectorCache

ROWS = 1_000
"""Records read at a time."""
CHUNKS = 64
"""Chunks of vectors read at a time."""
MODULUS = 2**64
SHOWN = 3
"""Complaints of SQLite's own check that are passed on."""
STORED_TABLES = ("state", "namespaces", "records", "vectors", "sqlite_")
"""Beginnings of the names of tables that hold what clients sent; everything else can be made again."""


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, in words. kind: stored: what a client sent is hurt; derived: it can be made again."""

    kind: Literal["stored", "derived"]
    words: str


class Sums:
    """A number for a collection of rows, the same for the same rows in any order."""

    def __init__(self) -> None:
        self.count, self._sum = 0, 0

    def add(self, rows: Iterable[Any]) -> None:
        """Take rows in."""
        for row in rows:
            self.count += 1
            self._sum = (self._sum + hash(row)) % MODULUS

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sums) and (self.count, self._sum) == (other.count, other._sum)

    __hash__ = None  # type: ignore[assignment]


def problems(connection: apsw.Connection) -> Iterator[Problem]:
    """Everything that is wrong with the file of an index, as it is found."""
    try:
        rows = connection.execute(f"PRAGMA integrity_check({SHOWN})").fetchall()
        found = [str(row[0]) for row in rows if row[0] != "ok"]
        yield from (Problem("stored", f"SQLite: {words}") for words in found)
        spec = tables.index_spec(connection)
        if spec is None:
            yield Problem("stored", "the file does not say what index it is")
            return
        tables.index_details(connection)
        tables.fingerprint(connection)
        yield from _records(connection, spec)
        if not spec.sparse:
            yield from _vectors(connection, spec)
    except (apsw.Error, msgspec.MsgspecError, ValueError) as error:
        yield Problem("stored", f"a stored value cannot be read: {error}")


def table_of(connection: apsw.Connection, pages: list[int]) -> str:
    """The tables that pages belong to, for a message; 'unknown' where that cannot be told."""
    try:
        rows: Any = connection.execute(
            "SELECT DISTINCT name FROM dbstat WHERE pageno IN (SELECT value FROM json_each(?)) ORDER BY name",
            (msgspec.json.encode(pages).decode(),),
        ).fetchall()
    except apsw.Error:
        return "unknown"
    return ", ".join(name for (name,) in rows) or "no table"


def _records(connection: apsw.Connection, spec: IndexSpec) -> Iterator[Problem]:
    """Records against everything that follows from them."""
    fields: Any = connection.execute("SELECT name, field FROM fields")
    names: dict[str, int] = dict(fields)
    counts: dict[int, list[int]] = {}
    posted, sparse, words = Sums(), Sums(), Sums()
    wrong_lengths = 0
    for record, ns, id, text, blob, cut, length in _stored(connection):
        metadata = msgspec.json.decode(text)
        if not isinstance(metadata, dict):
            yield Problem("stored", f"the fields of record '{id}' are no object")
            continue
        posted.add((ns, names.get(field), int(kind), value, record) for field, kind, value in postings(metadata))
        vector = sparse_index.from_blob(blob)
        if vector is not None:
            terms = zip(vector.indices.tolist(), vector.values.tolist(), strict=True)
            sparse.add((ns, term, record, weight) for term, weight in terms)
        tokens = lexical.tokens_of(spec, ns, metadata)
        words.add((record, token) for token in tokens or ())
        wrong_lengths += length != len(tokens or ())
        size = writing.size_of(spec, id, text, blob)
        sums = counts.setdefault(ns, [0] * 5)
        for place, value in enumerate((1, size, cut, tokens is not None, len(tokens or ()))):
            sums[place] += int(value)
    yield from _counted(connection, counts)
    for title, wanted, sql in (
        ("postings, which filters look in,", posted, "SELECT ns, field, kind, value, record FROM postings"),
        ("postings of sparse vectors", sparse, "SELECT ns, term, record, weight FROM sparse_postings"),
        ("words of texts", words, "SELECT doc, term FROM lexical_instances"),
    ):
        there = Sums()
        there.add(connection.execute(sql))
        if there != wanted:
            yield Problem("derived", f"the {title} do not fit the records: {there.count} for {wanted.count}")
    if wrong_lengths:
        yield Problem("derived", f"{wrong_lengths} records have a wrong number of words")


def _stored(connection: apsw.Connection) -> Iterator[Any]:
    last: Any = 0
    rows: Any
    while rows := connection.execute(
        "SELECT record, ns, id, metadata, sparse, truncated, words FROM records WHERE record > ? ORDER BY record"
        " LIMIT ?",
        (last, ROWS),
    ).fetchall():
        yield from rows
        last = rows[-1][0]


def _counted(connection: apsw.Connection, counts: dict[int, list[int]]) -> Iterator[Problem]:
    known: set[int] = set()
    rows: Any = connection.execute(
        "SELECT ns, name, record_count, bytes, truncated, texts, words FROM namespaces"
    ).fetchall()
    for ns, name, *there in rows:
        known.add(ns)
        wanted = counts.get(ns, [0] * 5)
        if there != wanted:
            yield Problem("derived", f"namespace '{name}' counts {there[0]} records and has {wanted[0]}, or other sums")
    if lost := counts.keys() - known:
        number = sum(counts[ns][0] for ns in lost)
        yield Problem("stored", f"{number} records belong to a namespace that is not there")


def _vectors(connection: apsw.Connection, spec: IndexSpec) -> Iterator[Problem]:
    """Vectors against records, and whether each is one."""
    namespaces: Any = connection.execute("SELECT ns, name, record_count, version FROM namespaces").fetchall()
    for ns, name, count, version in namespaces:
        wanted = np.array(
            connection.execute("SELECT record FROM records WHERE ns = ? ORDER BY record", (ns,)).fetchall(), np.int64
        ).reshape(-1)
        there = vector_rows.rows(connection, ns)
        if not np.array_equal(wanted, there):
            yield Problem("stored", f"namespace '{name}' has {len(there)} vectors for {len(wanted)} records, or others")
        source = vector_rows.Source(connection, ns, spec.dimension, count, version, VectorCache(0), "")
        chunks = vector_rows.chunks(connection, ns)
        for start in range(0, len(chunks), CHUNKS):
            rows, vectors = vector_rows.read_chunks(source, chunks[start : start + CHUNKS])
            if not math.isfinite(float(vectors.sum(dtype=np.float64))) and not np.isfinite(vectors).all():
                yield Problem("stored", f"namespace '{name}' has a vector with a number that is none: row {rows[0]} on")
                break
        places = np.array(
            connection.execute(
                "SELECT rowid FROM vectors_rowids WHERE chunk_id IN"
                " (SELECT chunk_id FROM vectors_chunks WHERE partition00 = ?) ORDER BY rowid",
                (ns,),
            ).fetchall(),
            np.int64,
        ).reshape(-1)
        if not np.array_equal(places, there):
            yield Problem("stored", f"namespace '{name}': the places of vectors do not fit the vectors")
