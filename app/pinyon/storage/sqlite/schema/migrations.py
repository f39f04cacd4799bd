"""The schema of an index file, as numbered steps. Each step runs once, in one transaction with its number.

PRAGMA user_version is the number of the last step that ran. What a step does is never changed once it is released, and
it calls no code that may change, so that files of every age get the same tables. Other files pass their own steps to
check() and migrate().
"""

from collections.abc import Callable, Sequence

import apsw

from pinyon.errors import FailedPrecondition
from pinyon.storage.sqlite.transaction import Transaction

APPLICATION_ID = int.from_bytes(b"Piny")
"""In the header of a SQLite file: marks it as one of Pinyon's."""
DELETED_ID = APPLICATION_ID ^ 0x7FFFFFFF
"""Marks a file that is being deleted. Every bit but the sign differs, so a single wrong bit cannot make this mark."""


class BeingDeleted(FailedPrecondition):
    """The file is marked as being deleted."""


def _first(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- One row: the spec of the index (JSON), the fingerprint of what embedded it (JSON), and the number of the
        -- last write.
        CREATE TABLE state (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            spec TEXT NOT NULL,
            fingerprint TEXT,
            lsn INTEGER NOT NULL DEFAULT 0
        ) STRICT;

        CREATE TABLE namespaces (
            ns INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            record_count INTEGER NOT NULL DEFAULT 0,
            bytes INTEGER NOT NULL DEFAULT 0
        ) STRICT;

        -- `record` is also the row id in the vec0 table. It counts up from 1 and is never a hash, because some code
        -- of sqlite-vec compares row ids as 32-bit integers.
        CREATE TABLE records (
            record INTEGER PRIMARY KEY,
            ns INTEGER NOT NULL,
            id TEXT NOT NULL,
            metadata TEXT NOT NULL,
            UNIQUE (ns, id)
        ) STRICT;

        CREATE TABLE fields (field INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

        -- One row for every value of every metadata field. Filters search these. See postings.py for kind and value.
        CREATE TABLE postings (
            ns INTEGER NOT NULL,
            field INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            value ANY NOT NULL,
            record INTEGER NOT NULL,
            PRIMARY KEY (ns, field, kind, value, record)
        ) STRICT, WITHOUT ROWID;
        """
    )


def _second(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- Sparse vectors as given: uint32 terms, then float32 weights.
        ALTER TABLE records ADD COLUMN sparse BLOB;

        -- The inverted index of sparse vectors.
        CREATE TABLE sparse_postings (
            ns INTEGER NOT NULL,
            term INTEGER NOT NULL,
            record INTEGER NOT NULL,
            weight REAL NOT NULL,
            PRIMARY KEY (ns, term, record)
        ) STRICT, WITHOUT ROWID;

        -- The schema that the user declared for the fields of a namespace (JSON).
        ALTER TABLE namespaces ADD COLUMN schema TEXT;
        """
    )


def _third(connection: apsw.Connection) -> None:
    # The LSN of the last write to the namespace. At the same version, a namespace has the same records.
    connection.execute("ALTER TABLE namespaces ADD COLUMN version INTEGER NOT NULL DEFAULT 0")


def _fourth(connection: apsw.Connection) -> None:
    # What the owner declared about the index (JSON).
    connection.execute("ALTER TABLE state ADD COLUMN details TEXT")


def _fifth(connection: apsw.Connection) -> None:
    # When all steps have run, the texts of an older file are added: lexical.is_behind() says that they are missing.
    connection.execute(
        """
        -- Terms of texts. records.words: number of terms in a record's text. namespaces.words: their sum.
        -- namespaces.texts: the number of records with a text.
        CREATE VIRTUAL TABLE lexical USING fts5(terms, content='', contentless_delete=1, tokenize='ascii');
        CREATE VIRTUAL TABLE lexical_instances USING fts5vocab(lexical, 'instance');
        ALTER TABLE records ADD COLUMN words INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE namespaces ADD COLUMN words INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE namespaces ADD COLUMN texts INTEGER NOT NULL DEFAULT 0;
        """
    )


def _sixth(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- Whether a record's text was truncated before embedding, and for how many records of a namespace that is so.
        ALTER TABLE records ADD COLUMN truncated INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE namespaces ADD COLUMN truncated INTEGER NOT NULL DEFAULT 0;

        -- At most one row: the spec and fingerprint that the index is being re-embedded for (JSON), and up to which
        -- record that is done.
        CREATE TABLE reembedding (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            target TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            upto INTEGER NOT NULL DEFAULT 0
        ) STRICT;

        -- New vectors, until every record has one.
        CREATE TABLE reembedded (record INTEGER PRIMARY KEY, vector BLOB NOT NULL, truncated INTEGER NOT NULL) STRICT;
        """
    )


def _seventh(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- The version from which the changes of a namespace's vectors are logged; NULL: they are not logged.
        ALTER TABLE namespaces ADD COLUMN followed INTEGER;

        -- The rows that each write changed: row numbers, int64.
        CREATE TABLE changes (
            ns INTEGER NOT NULL,
            version INTEGER NOT NULL,
            rows BLOB NOT NULL,
            PRIMARY KEY (ns, version)
        ) STRICT, WITHOUT ROWID;
        """
    )


def _eighth(connection: apsw.Connection) -> None:
    # Whether a write changed vectors; 0: it changed only fields.
    connection.execute("ALTER TABLE changes ADD COLUMN of_vectors INTEGER NOT NULL DEFAULT 1")


def _ninth(connection: apsw.Connection) -> None:
    # The version of the text analysis that made the terms; 0: one from before there were versions.
    connection.execute("ALTER TABLE state ADD COLUMN analysis INTEGER NOT NULL DEFAULT 0")


def _tenth(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- In an index that embeds text: whether the vector of a record came from the caller, and how many such records
        -- a namespace has.
        ALTER TABLE records ADD COLUMN foreign_vector INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE namespaces ADD COLUMN foreign_vectors INTEGER NOT NULL DEFAULT 0;

        CREATE TRIGGER foreign_vector_gone AFTER DELETE ON records WHEN OLD.foreign_vector BEGIN
            UPDATE namespaces SET foreign_vectors = foreign_vectors - 1 WHERE ns = OLD.ns;
        END;
        CREATE TRIGGER foreign_vector_changed AFTER UPDATE OF foreign_vector ON records
            WHEN OLD.foreign_vector <> NEW.foreign_vector BEGIN
            UPDATE namespaces SET foreign_vectors = foreign_vectors + NEW.foreign_vector - OLD.foreign_vector
            WHERE ns = NEW.ns;
        END;

        -- For records of an earlier version this is known only if the index has never embedded anything.
        UPDATE records SET foreign_vector = 1
        WHERE (SELECT fingerprint IS NULL AND json_extract(spec, '$.embed') IS NOT NULL FROM state);
        """
    )


def _eleventh(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- The permanent id of the index, and the version of its configuration, which counts up from 1.
        ALTER TABLE state ADD COLUMN id TEXT NOT NULL DEFAULT '';
        ALTER TABLE state ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
        UPDATE state SET id = lower(hex(randomblob(16)));
        """
    )


def _twelfth(connection: apsw.Connection) -> None:
    # Derived: the sum of the unit vectors of a namespace, int64 [dimension] in steps of 2 ** -30. When all steps have
    # run, the sums of an older file are computed: vector_sums.are_missing() says that they are missing.
    connection.execute("CREATE TABLE vector_sums (ns INTEGER PRIMARY KEY, sum BLOB NOT NULL)")


def _thirteenth(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- In an index whose texts have different languages: as what a text was analysed, and whether the text says so
        -- itself. Otherwise NULL and 0.
        ALTER TABLE records ADD COLUMN language TEXT;
        ALTER TABLE records ADD COLUMN certain INTEGER NOT NULL DEFAULT 0;

        -- How many texts of a namespace are in each language.
        CREATE TABLE text_languages (
            ns INTEGER NOT NULL,
            language TEXT NOT NULL,
            certain INTEGER NOT NULL,
            texts INTEGER NOT NULL,
            PRIMARY KEY (ns, language, certain)
        ) STRICT, WITHOUT ROWID;
        """
    )


def _fourteenth(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- What the learned sparse model of a dense index made of the text of a record: uint32 terms, then float32
        -- weights.
        CREATE TABLE learned_vectors (record INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT;

        -- Derived: the sum of the weights of each term in a namespace, in steps of 2 ** -20.
        CREATE TABLE learned_sums (
            ns INTEGER NOT NULL,
            term INTEGER NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (ns, term)
        ) STRICT, WITHOUT ROWID;

        -- Derived: how many records of a namespace have a learned vector.
        ALTER TABLE namespaces ADD COLUMN learned INTEGER NOT NULL DEFAULT 0;

        ALTER TABLE reembedded ADD COLUMN learned BLOB;
        """
    )


def _fifteenth(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- The token vectors of texts, as search.token_codes encodes them, where the index stores them; and those that
        -- wait with the new vectors of a re-embedding.
        CREATE TABLE token_vectors (record INTEGER PRIMARY KEY, codes BLOB NOT NULL) STRICT;
        ALTER TABLE reembedded ADD COLUMN token_codes BLOB;
        """
    )


def _sixteenth(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- Small texts that services store with the index, such as how far an import is.
        CREATE TABLE notes (key TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;
        """
    )


STEP_OF_INDEX_ID = 11
"""The step that gave an index its id and its version."""
STEP_OF_LEARNED_VECTORS = 14
"""The step that made the table of learned vectors."""
STEP_OF_NOTES = 16
"""The step that made the table of notes."""
Steps = Sequence[Callable[[apsw.Connection], None]]

STEPS: Steps = [
    _first,
    _second,
    _third,
    _fourth,
    _fifth,
    _sixth,
    _seventh,
    _eighth,
    _ninth,
    _tenth,
    _eleventh,
    _twelfth,
    _thirteenth,
    _fourteenth,
    _fifteenth,
    _sixteenth,
]


def mark_deleted(connection: apsw.Connection) -> None:
    """Mark the file as being deleted, in the caller's transaction."""
    connection.execute(f"PRAGMA application_id = {DELETED_ID}")


def check(connection: apsw.Connection, name: str, steps: Steps = STEPS) -> None:
    """Raises FailedPrecondition if a file is of a later version or not Pinyon's, and BeingDeleted if it is so marked.

    name: of the file, for the message.
    """
    empty = not connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
    made_by = connection.pragma("application_id")
    if made_by == DELETED_ID:
        raise BeingDeleted(f"The file {name} is being deleted")
    if not empty and made_by != APPLICATION_ID:
        raise FailedPrecondition(f"The file {name} in the data folder was not made by Pinyon; move it elsewhere")
    version = connection.pragma("user_version")
    if version > len(steps):
        raise FailedPrecondition(
            f"The file {name} has schema {version}, this Pinyon knows up to {len(steps)}; use the newer Pinyon"
        )


def migrate(connection: apsw.Connection, steps: Steps = STEPS) -> None:
    """Bring a checked file to the newest schema."""
    version = connection.pragma("user_version")
    for number, step in enumerate(steps[version:], start=version + 1):
        with Transaction(connection, "IMMEDIATE"):
            step(connection)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
