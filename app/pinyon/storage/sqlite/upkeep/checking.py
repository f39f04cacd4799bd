"""Checks that the tables of an index agree with each other. Plain functions on a connection, which change nothing.

Records and vectors are stored as a client sent them, or as a model made them. Postings, words, sparse postings, counts
and sums of vectors are derived from them. A derived table is compared with the records by a sum of hashes, so that
memory does not grow with the table.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import apsw
import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon import decoding
from pinyon.domain import IndexSpec
from pinyon.storage.shared.centroids import are_kept
from pinyon.storage.shared.postings import postings
from pinyon.storage.shared.records import size_of
from pinyon.storage.shared.sparse import from_blob
from pinyon.storage.sqlite.schema import tables, token_vectors, vector_sums
from pinyon.storage.sqlite.text import learned_vectors, lexical
from pinyon.storage.sqlite.vectors import vector_rows

ROWS = 1_000
"""Records that are read at a time."""
CHUNKS = 64
"""Chunks of vectors that are read at a time."""
MODULUS = 2**64
MOST_SQLITE_ERRORS = 3
"""How many errors of SQLite's own check are reported."""
STORED_TABLES = ("state", "namespaces", "records", "vectors", "learned_vectors", "sqlite_")
"""Prefixes of the names of tables that hold what clients sent. All other tables can be derived again."""

Kind = Literal["stored", "derived"]


class Problem(msgspec.Struct, frozen=True):
    """Something that is wrong, in words.

    kind: "stored" if data that a client sent are damaged, "derived" if the damaged data can be derived again.
    inverted_file: the number of a namespace if only its inverted file is wrong, else None.
    """

    kind: Kind
    words: str
    inverted_file: int | None = None


class Sums:
    """A sum of hashes of rows. The same rows in another order give the same sum."""

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
    """All problems of the file of an index. Looks no further if the file does not say what index it is."""
    state_problems = _guarded("stored", partial(_state, connection))
    if state_problems:
        return state_problems
    spec = tables.known_spec(connection)
    expected = Expected()
    stored = _guarded("stored", partial(_records, connection, spec, expected))
    if not spec.sparse:
        stored += _guarded("stored", partial(_vectors, connection, spec))
    derived: list[Problem] = []
    for table in expected.tables():
        derived += _guarded("derived", partial(_compared, connection, table))
    derived += _guarded("derived", partial(_vector_sums, connection, spec))
    if not spec.sparse:
        stored += _guarded("stored", partial(_learned_vectors, connection))
        derived += _guarded("derived", partial(_learned_sums, connection))
    derived += _guarded("derived", partial(token_vectors.problems, connection, spec))
    # If all stored tables could be read, what SQLite finds beside that is in derived tables or in free pages.
    structure = _guarded("stored" if stored else "derived", partial(_structure, connection))
    return stored + derived + structure


def table_of(connection: apsw.Connection, pages: list[int]) -> str:
    """The names of the tables that the pages belong to, for a message. Returns 'unknown' if SQLite cannot tell."""
    try:
        rows: Any = connection.execute(
            "SELECT DISTINCT name FROM dbstat WHERE pageno IN (SELECT value FROM json_each(?)) ORDER BY name",
            (msgspec.json.encode(pages).decode(),),
        ).fetchall()
    except apsw.Error:
        return "unknown"
    return ", ".join(name for (name,) in rows) or "no table"


def _guarded(kind: Kind, find: Callable[[], Iterator[str]]) -> list[Problem]:
    """Run a part of the check and return its problems. A value that cannot be read ends the part and is a problem."""
    sentences: list[str] = []
    try:
        sentences.extend(find())
    except (apsw.Error, msgspec.MsgspecError, ValueError) as error:
        sentences.append(f"a stored value cannot be read: {error}")
    return [Problem(kind, words) for words in sentences]


def _state(connection: apsw.Connection) -> Iterator[str]:
    if tables.index_spec(connection) is None:
        yield "the file does not say what index it is"
    tables.index_details(connection)
    tables.fingerprint(connection)


def _structure(connection: apsw.Connection) -> Iterator[str]:
    for (words,) in connection.execute(f"PRAGMA integrity_check({MOST_SQLITE_ERRORS})"):
        if words != "ok":
            yield f"SQLite: {words}"


class DerivedTable(msgspec.Struct, frozen=True):
    """A derived table. title: its name in messages. expected: the sum of its right rows. sql: reads the rows."""

    title: str
    expected: Sums
    sql: str


class Expected(msgspec.Struct):
    """What the derived tables should hold, computed from the records.

    counts: the counts of each namespace. languages: the number of texts by namespace, language and certainty.
    """

    postings: Sums = msgspec.field(default_factory=Sums)
    sparse: Sums = msgspec.field(default_factory=Sums)
    words: Sums = msgspec.field(default_factory=Sums)
    lengths: Sums = msgspec.field(default_factory=Sums)
    counts: dict[int, list[int]] = {}
    languages: Counter[tuple[int, str, int]] = msgspec.field(default_factory=Counter)

    def tables(self) -> list[DerivedTable]:
        """The derived tables, with the sums of all records that were added."""
        return [
            DerivedTable(
                "postings, which filters use,",
                self.postings,
                "SELECT ns, name, kind, value, record FROM postings LEFT JOIN fields USING (field)",
            ),
            DerivedTable(
                "postings of sparse vectors", self.sparse, "SELECT ns, term, record, weight FROM sparse_postings"
            ),
            DerivedTable("words of texts", self.words, "SELECT doc, term FROM lexical_instances"),
            DerivedTable("numbers of words", self.lengths, "SELECT record, words, language, certain FROM records"),
            DerivedTable("languages of texts", self.text_languages(), LANGUAGES),
            DerivedTable("counts of namespaces", self.namespaces(), COUNTS),
        ]

    def namespaces(self) -> Sums:
        """The counts of every namespace that has records."""
        sums = Sums()
        sums.add((ns, *counts) for ns, counts in self.counts.items())
        return sums

    def text_languages(self) -> Sums:
        """How many texts of each namespace are in each language."""
        sums = Sums()
        sums.add((*key, texts) for key, texts in self.languages.items())
        return sums

    def add_record(self, spec: IndexSpec, row: Any) -> None:
        """Add a row of the table `records`. Raises ValueError or MsgspecError if it cannot be read."""
        record, ns, id, text, blob, cut, language = row
        metadata = decoding.decode(text, dict[str, Any])
        self.postings.add((ns, field, int(kind), value, record) for field, kind, value in postings(metadata))
        vector = from_blob(blob)
        if vector is not None:
            terms = zip(vector.indices.tolist(), vector.values.tolist(), strict=True)
            self.sparse.add((ns, term, record, weight) for term, weight in terms)
        stored = lexical.stored_text(spec, ns, metadata, language)
        if stored is None:
            self.lengths.add([(record, 0, None, 0)])
        else:
            self.words.add((record, token) for token in stored.tokens)
            self.lengths.add([(record, stored.words, stored.language, int(stored.certain))])
            if stored.language is not None:
                self.languages[ns, stored.language, int(stored.certain)] += 1
        counts = self.counts.setdefault(ns, [0] * 5)
        size = size_of(spec, id, text, blob)
        for place, value in enumerate((1, size, cut, stored is not None, 0 if stored is None else stored.words)):
            counts[place] += int(value)


COUNTS = (
    "SELECT ns, record_count, bytes, truncated, texts, words FROM namespaces"
    " WHERE record_count OR bytes OR truncated OR texts OR words"
)

LANGUAGES = "SELECT ns, language, certain, texts FROM text_languages WHERE texts"


def _records(connection: apsw.Connection, spec: IndexSpec, expected: Expected) -> Iterator[str]:
    """Finds records that cannot be read or belong to no namespace. Adds every readable record to `expected`."""
    last: Any = 0
    rows: Any
    while rows := connection.execute(
        "SELECT record, ns, id, metadata, sparse, truncated, language FROM records WHERE record > ?"
        " ORDER BY record LIMIT ?",
        (last, ROWS),
    ).fetchall():
        for row in rows:
            try:
                expected.add_record(spec, row)
            except (msgspec.MsgspecError, ValueError) as error:
                yield f"the fields of record '{row[2]}' cannot be read: {error}"
        last = rows[-1][0]
    known: Any = {ns for (ns,) in connection.execute("SELECT ns FROM namespaces")}
    if lost := expected.counts.keys() - known:
        number = sum(expected.counts[ns][0] for ns in lost)
        yield f"{number} records belong to a namespace that is not there"


def _compared(connection: apsw.Connection, table: DerivedTable) -> Iterator[str]:
    actual = Sums()
    actual.add(connection.execute(table.sql))
    if actual != table.expected:
        yield f"the {table.title} do not fit the records: {actual.count} instead of {table.expected.count}"


def _vectors(connection: apsw.Connection, spec: IndexSpec) -> Iterator[str]:
    """Finds records without a vector, vectors without a record, and vectors with numbers that are not finite."""
    namespaces: Any = connection.execute("SELECT ns, name FROM namespaces").fetchall()
    for ns, name in namespaces:
        records = _numbers(connection, "SELECT record FROM records WHERE ns = ? ORDER BY record", ns)
        rows = vector_rows.row_numbers(connection, ns)
        if not np.array_equal(records, rows):
            yield f"namespace '{name}': the rows of its {len(records)} records and its {len(rows)} vectors differ"
        placed_rows = vector_rows.placed_row_numbers(connection, ns)
        if not np.array_equal(placed_rows, rows):
            yield f"namespace '{name}': the places of vectors do not fit the vectors"
        chunks = vector_rows.chunk_ids(connection, ns)
        for start in range(0, len(chunks), CHUNKS):
            numbers, vectors = vector_rows.read_chunks(connection, ns, spec.dimension, chunks[start : start + CHUNKS])
            if not np.isfinite(vectors).all():
                yield f"namespace '{name}' has a vector with a number that is not finite, in or after row {numbers[0]}"


def _vector_sums(connection: apsw.Connection, spec: IndexSpec) -> Iterator[str]:
    """Finds namespaces whose sum of vectors is not that of their vectors."""
    if vector_sums.are_missing(connection, spec):  # the next start of a server adds them
        return
    namespaces: Any = connection.execute("SELECT ns, name FROM namespaces").fetchall()
    for ns, name in namespaces:
        if are_kept(spec) and not vector_sums.is_right(connection, spec, ns):
            yield f"namespace '{name}': the sum of its vectors does not fit the vectors"


def _learned_vectors(connection: apsw.Connection) -> Iterator[str]:
    """Finds learned vectors without a record, and such with weights that are not finite."""
    lost = connection.execute(
        "SELECT count(*) FROM learned_vectors WHERE record NOT IN (SELECT record FROM records)"
    ).get
    if lost:
        yield f"{lost} learned vectors belong to a record that is not there"
    rows: Any = connection.execute("SELECT record, vector FROM learned_vectors")
    for record, blob in rows:
        vector = from_blob(blob)
        if vector is None or not np.isfinite(vector.values).all():
            yield f"the learned vector of row {record} has a weight that is not finite"


def _learned_sums(connection: apsw.Connection) -> Iterator[str]:
    """Finds namespaces whose sums of learned vectors are not those of their vectors."""
    namespaces: Any = connection.execute("SELECT ns, name FROM namespaces").fetchall()
    for ns, name in namespaces:
        if not learned_vectors.are_right(connection, ns):
            yield f"namespace '{name}': the sums of its learned vectors do not fit the vectors"


def _numbers(connection: apsw.Connection, sql: str, ns: int) -> NDArray[np.int64]:
    return np.array(connection.execute(sql, (ns,)).fetchall(), np.int64).reshape(-1)
