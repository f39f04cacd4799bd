"""The schema of an index file, as numbered steps; each runs once, in one transaction with its number.

check() and migrate() do the same for other files with steps of their own.

A step is never edited once released, and calls nothing that may change: a file of any age must come to the same tables.
PRAGMA user_version holds the number of the last one that ran.
"""

from collections.abc import Callable, Sequence

import apsw

from pinyon.errors import FailedPrecondition
from pinyon.storage.sqlite.transaction import Transaction

APPLICATION_ID = int.from_bytes(b"Piny")
"""Marks a SQLite file as ours, in its header."""
DELETED_ID = APPLICATION_ID ^ 0x7FFFFFFF
"""Marks a file of ours that is being deleted: every bit but the sign is another, so that no slip of a bit makes it."""


class BeingDeleted(FailedPrecondition):
    """The file says of itself that it is being deleted."""


def _first(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- One row: what this index is (JSON), what embedded it (JSON), the number of the last write.
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

        -- `record` is also the row id in the vec0 table. It counts up from 1 and is never a hash: sqlite-vec
        -- compares row ids as 32-bit integers in places.
        CREATE TABLE records (
            record INTEGER PRIMARY KEY,
            ns INTEGER NOT NULL,
            id TEXT NOT NULL,
            metadata TEXT NOT NULL,
            UNIQUE (ns, id)
        ) STRICT;

        CREATE TABLE fields (field INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

        -- One row for every value of every metadata field: what filters look in. See postings.py for kind and value.
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

        -- What the user declared of a namespace's fields (JSON).
        ALTER TABLE namespaces ADD COLUMN schema TEXT;
        """
    )


def _third(connection: apsw.Connection) -> None:
    # The LSN of the last write to the namespace: equal versions have equal records.
    connection.execute("ALTER TABLE namespaces ADD COLUMN version INTEGER NOT NULL DEFAULT 0")


def _fourth(connection: apsw.Connection) -> None:
    # What the owner says of the index (JSON).
    connection.execute("ALTER TABLE state ADD COLUMN details TEXT")


def _fifth(connection: apsw.Connection) -> None:
    # Texts of an older file are added to the table once every step has run: lexical.is_behind() tells.
    connection.execute(
        """
        -- Terms of texts. records.words: terms of a record's text; namespaces.words and .texts: their sum and number.
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
        -- Whether a record's text was cut before it was embedded, and how many of a namespace were.
        ALTER TABLE records ADD COLUMN truncated INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE namespaces ADD COLUMN truncated INTEGER NOT NULL DEFAULT 0;

        -- At most one row: what the index is being embedded anew for (JSON), and up to which record.
        CREATE TABLE reembedding (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            target TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            upto INTEGER NOT NULL DEFAULT 0
        ) STRICT;

        -- New vectors that wait for the others.
        CREATE TABLE reembedded (record INTEGER PRIMARY KEY, vector BLOB NOT NULL, truncated INTEGER NOT NULL) STRICT;
        """
    )


def _seventh(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- The version from which the changes of a namespace's vectors are written down; NULL: they are not.
        ALTER TABLE namespaces ADD COLUMN followed INTEGER;

        -- What each write changed: row numbers, int64.
        CREATE TABLE changes (
            ns INTEGER NOT NULL,
            version INTEGER NOT NULL,
            rows BLOB NOT NULL,
            PRIMARY KEY (ns, version)
        ) STRICT, WITHOUT ROWID;
        """
    )


def _eighth(connection: apsw.Connection) -> None:
    # Whether a write changed vectors, or fields only.
    connection.execute("ALTER TABLE changes ADD COLUMN of_vectors INTEGER NOT NULL DEFAULT 1")


def _ninth(connection: apsw.Connection) -> None:
    # The version of the analysis that texts were taken in by; 0: of one before versions.
    connection.execute("ALTER TABLE state ADD COLUMN analysis INTEGER NOT NULL DEFAULT 0")


def _tenth(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- Whether a caller brought the vector of a record of an index that embeds text, and how many a namespace has.
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

        -- Of an earlier version it is only known where nothing was ever embedded.
        UPDATE records SET foreign_vector = 1
        WHERE (SELECT fingerprint IS NULL AND json_extract(spec, '$.embed') IS NOT NULL FROM state);
        """
    )


def _eleventh(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- The id that an index keeps for good, and the number of changes of what it is, counted from 1.
        ALTER TABLE state ADD COLUMN id TEXT NOT NULL DEFAULT '';
        ALTER TABLE state ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
        UPDATE state SET id = lower(hex(randomblob(16)));
        """
    )


Steps = Sequence[Callable[[apsw.Connection], None]]

STEPS: Steps = [_first, _second, _third, _fourth, _fifth, _sixth, _seventh, _eighth, _ninth, _tenth, _eleventh]


def mark_deleted(connection: apsw.Connection) -> None:
    """Have the file say that it is being deleted, in the caller's transaction."""
    connection.execute(f"PRAGMA application_id = {DELETED_ID}")


def check(connection: apsw.Connection, name: str, steps: Steps = STEPS) -> None:
    """Raises FailedPrecondition, with the file's name, for a file of a later version or one that is not Pinyon's."""
    empty = not connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
    made_by = connection.pragma("application_id")
    if made_by == DELETED_ID:
        raise BeingDeleted(f"The file {name} is being deleted")
    if not empty and made_by != APPLICATION_ID:
        raise FailedPrecondition(f"The file {name} in the data folder was not made by Pinyon; move it elsewhere")
    found = connection.pragma("user_version")
    if found > len(steps):
        raise FailedPrecondition(
            f"The file {name} has schema {found}, this Pinyon knows up to {len(steps)}; use the newer Pinyon"
        )


def migrate(connection: apsw.Connection, steps: Steps = STEPS) -> None:
    """Bring a checked file to the newest schema."""
    found = connection.pragma("user_version")
    for number, step in enumerate(steps[found:], start=found + 1):
        with Transaction(connection, "IMMEDIATE"):
            step(connection)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
