"""Checks that the tables of an index agree with each other: plain functions on a connection that change nothing.

Records and vectors are what a client sent. Postings, words, sparse postings and counts are derived from them. Large
tables are compared by a sum of hashes, so that memory does not grow with them.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import apsw
import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import IndexSpec
from pinyon.storage.sqlite.records import writing
from pinyon.storage.sqlite.schema import tables
from pinyon.storage.sqlite.text import lexical, sparse_index
from pinyon.storage.sqlite.text.postings import postings
from pinyon.storage.sqlite.vectors import vector_rows

ROWS = 1_000
"""Records per read."""
CHUNKS = 64
"""Chunks of vectors per read."""
MODULUS = 2**64
SHOWN = 3
"""Most errors of SQLite's own check that are reported."""
STORED_TABLES = ("state", "namespaces", "records", "vectors", "sqlite_")
"""Prefixes of the names of tables that hold what clients sent. All other tables can be derived again."""


Kind = Literal["stored", "derived"]


class Problem(msgspec.Struct, frozen=True):
    """Something that is wrong, in words. kind: "stored" if what a client sent is damaged, "derived" if it can be
    derived again.

    inverted_file: the number of a namespace, if only its inverted file is wrong.
    """

    kind: Kind
    words: str
    inverted_file: int | None = None


class Sums:
    """A sum of hashes of rows. It is the same for the same rows in any order."""

    def __init__(self) -> None:
        self.count, self._sum = 0, 0

    def add(self, rows: Iterable[Any]) -> None:
        """Add rows to the sum."""
        for row in rows:
            self.count += 1
            self._sum = (self._sum + hash(row)) % MODULUS

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sums) and (self.count, self._sum) == (other.count, other._sum)

    __hash__ = None  # type: ignore[assignment]


def problems(connection: apsw.Connection) -> list[Problem]:
    """Everything that is wrong with the file of an index."""
    found = _guarded("stored", partial(_state, connection))
    if found:
        return found
    spec = tables.known_spec(connection)
    wanted = Wanted()
    found = _guarded("stored", partial(_records, connection, spec, wanted))
    if not spec.sparse:
        found += _guarded("stored", partial(_vectors, connection, spec))
    stored_is_wrong = bool(found)
    for title, rows, sql in wanted.tables():
        found += _guarded("derived", partial(_compared, connection, title, rows, sql))
    # All stored tables could be read. So what else SQLite finds is in derived tables or free pages.
    found += _guarded("stored" if stored_is_wrong else "derived", partial(_structure, connection))
    return found


def table_of(connection: apsw.Connection, pages: list[int]) -> str:
    """The tables that pages belong to, for a message; 'unknown' if SQLite cannot tell."""
    try:
        rows: Any = connection.execute(
            "SELECT DISTINCT name FROM dbstat WHERE pageno IN (SELECT value FROM json_each(?)) ORDER BY name",
            (msgspec.json.encode(pages).decode(),),
        ).fetchall()
    except apsw.Error:
        return "unknown"
    return ", ".join(name for (name,) in rows) or "no table"


def _guarded(kind: Kind, find: Callable[[], Iterator[str]]) -> list[Problem]:
    """The problems that a part of the check finds. A value that cannot be read is one of them."""
    found: list[str] = []
    try:
        found += find()
    except (apsw.Error, msgspec.MsgspecError, ValueError) as error:
        found.append(f"a stored value cannot be read: {error}")
    return [Problem(kind, words) for words in found]


def _state(connection: apsw.Connection) -> Iterator[str]:
    if tables.index_spec(connection) is None:
        yield "the file does not say what index it is"
    tables.index_details(connection)
    tables.fingerprint(connection)


def _structure(connection: apsw.Connection) -> Iterator[str]:
    for (words,) in connection.execute(f"PRAGMA integrity_check({SHOWN})"):
        if words != "ok":
            yield f"SQLite: {words}"


class Wanted(msgspec.Struct):
    """What the derived tables should hold, computed from the records. counts: the counts of each namespace."""

    postings: Sums = msgspec.field(default_factory=Sums)
    sparse: Sums = msgspec.field(default_factory=Sums)
    words: Sums = msgspec.field(default_factory=Sums)
    lengths: Sums = msgspec.field(default_factory=Sums)
    counts: dict[int, list[int]] = {}

    def tables(self) -> list[tuple[str, Sums, str]]:
        """Of each derived table: its name in messages, the sum that it should have, and the query that reads it."""
        return [
            (
                "postings, which filters look in,",
                self.postings,
                "SELECT ns, name, kind, value, record FROM postings LEFT JOIN fields USING (field)",
            ),
            ("postings of sparse vectors", self.sparse, "SELECT ns, term, record, weight FROM sparse_postings"),
            ("words of texts", self.words, "SELECT doc, term FROM lexical_instances"),
            ("numbers of words", self.lengths, "SELECT record, words FROM records"),
            ("counts of namespaces", self.namespaces(), COUNTS),
        ]

    def namespaces(self) -> Sums:
        """The counts of every namespace that has records."""
        sums = Sums()
        sums.add((ns, *counts) for ns, counts in self.counts.items())
        return sums

    def take(self, spec: IndexSpec, row: Any) -> None:
        """Add a row of the table records. Raises ValueError or MsgspecError if it cannot be read."""
        record, ns, id, text, blob, cut = row
        metadata = msgspec.json.decode(text, type=dict[str, Any])
        self.postings.add((ns, field, int(kind), value, record) for field, kind, value in postings(metadata))
        vector = sparse_index.from_blob(blob)
        if vector is not None:
            terms = zip(vector.indices.tolist(), vector.values.tolist(), strict=True)
            self.sparse.add((ns, term, record, weight) for term, weight in terms)
        tokens = lexical.tokens_of(spec, ns, metadata)
        self.words.add((record, token) for token in tokens or ())
        self.lengths.add([(record, len(tokens or ()))])
        counts = self.counts.setdefault(ns, [0] * 5)
        size = writing.size_of(spec, id, text, blob)
        for place, value in enumerate((1, size, cut, tokens is not None, len(tokens or ()))):
            counts[place] += int(value)


COUNTS = (
    "SELECT ns, record_count, bytes, truncated, texts, words FROM namespaces"
    " WHERE record_count OR bytes OR truncated OR texts OR words"
)


def _records(connection: apsw.Connection, spec: IndexSpec, wanted: Wanted) -> Iterator[str]:
    """Records that cannot be read or belong to no namespace. Adds all others to `wanted`."""
    last: Any = 0
    rows: Any
    while rows := connection.execute(
        "SELECT record, ns, id, metadata, sparse, truncated FROM records WHERE record > ? ORDER BY record LIMIT ?",
        (last, ROWS),
    ).fetchall():
        for row in rows:
            try:
                wanted.take(spec, row)
            except (msgspec.MsgspecError, ValueError) as error:
                yield f"the fields of record '{row[2]}' cannot be read: {error}"
        last = rows[-1][0]
    known: Any = {ns for (ns,) in connection.execute("SELECT ns FROM namespaces")}
    if lost := wanted.counts.keys() - known:
        number = sum(wanted.counts[ns][0] for ns in lost)
        yield f"{number} records belong to a namespace that is not there"


def _compared(connection: apsw.Connection, title: str, wanted: Sums, sql: str) -> Iterator[str]:
    stored = Sums()
    stored.add(connection.execute(sql))
    if stored != wanted:
        yield f"the {title} do not fit the records: {stored.count} for {wanted.count}"


def _vectors(connection: apsw.Connection, spec: IndexSpec) -> Iterator[str]:
    """Whether each record has a vector of finite numbers."""
    namespaces: Any = connection.execute("SELECT ns, name FROM namespaces").fetchall()
    for ns, name in namespaces:
        wanted = _numbers(connection, "SELECT record FROM records WHERE ns = ? ORDER BY record", ns)
        rows = vector_rows.row_numbers(connection, ns)
        if not np.array_equal(wanted, rows):
            yield f"namespace '{name}' has {len(rows)} vectors for {len(wanted)} records, or those of others"
        places = vector_rows.placed_row_numbers(connection, ns)
        if not np.array_equal(places, rows):
            yield f"namespace '{name}': the places of vectors do not fit the vectors"
        chunks = vector_rows.chunk_ids(connection, ns)
        for start in range(0, len(chunks), CHUNKS):
            some, vectors = vector_rows.read_chunks(connection, ns, spec.dimension, chunks[start : start + CHUNKS])
            if not np.isfinite(vectors).all():
                yield f"namespace '{name}' has a vector with a number that is not finite, after row {some[0]}"


def _numbers(connection: apsw.Connection, sql: str, ns: int) -> NDArray[np.int64]:
    return np.array(connection.execute(sql, (ns,)).fetchall(), np.int64).reshape(-1)
