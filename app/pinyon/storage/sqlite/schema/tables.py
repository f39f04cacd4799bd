"""The table `state` of an index file: its spec, its details, what embedded it, the number of its last write."""

from functools import lru_cache
from typing import Any
from uuid import uuid4

import apsw
import msgspec

from pinyon import decoding
from pinyon.domain import Fingerprint, Handle, Index, IndexDetails, IndexSpec
from pinyon.errors import VersionConflict
from pinyon.storage.shared.fingerprints import check_embedded_by
from pinyon.storage.sqlite.schema import token_vectors, vector_sums, vector_tables
from pinyon.storage.sqlite.text import lexical

NO_DETAILS = IndexDetails()


def create_index(connection: apsw.Connection, spec: IndexSpec, details: IndexDetails = NO_DETAILS) -> None:
    """Store what the index is, give it an id, and make the table of its vectors."""
    connection.execute(
        "INSERT INTO state (only, spec, details, analysis, id) VALUES (1, ?, ?, ?, ?)",
        (to_json(spec), to_json(details), lexical.ANALYSIS, uuid4().hex),
    )
    if not spec.sparse:
        vector_tables.create_vectors(connection, spec.dimension, spec.metric)


def index(connection: apsw.Connection) -> Index | None:
    """The index. None if the creation of the file never finished."""
    row: Any = connection.execute("SELECT spec, details, id, version FROM state").get
    if row is None:
        return None
    spec, details, id, version = row
    return Index(_spec(spec), Handle(_spec(spec).name, id), _details(details), version=version)


def index_spec(connection: apsw.Connection) -> IndexSpec | None:
    """The spec of the index. None if the creation of the file never finished."""
    text = connection.execute("SELECT spec FROM state").get
    return None if text is None else _spec(text)


def known_spec(connection: apsw.Connection) -> IndexSpec:
    """The spec of the index in this snapshot. Re-embedding may change it later."""
    return _spec(connection.execute("SELECT spec FROM state").get)


@lru_cache(maxsize=256)
def _spec(text: str) -> IndexSpec:
    return decoding.decode(text, IndexSpec)


def index_details(connection: apsw.Connection) -> IndexDetails:
    """What the owner declared about the index."""
    return _details(connection.execute("SELECT details FROM state").get)


def _details(text: str | None) -> IndexDetails:
    return NO_DETAILS if text is None else decoding.decode(text, IndexDetails)


def check_version(connection: apsw.Connection, version: int) -> None:
    """Raises VersionConflict if the index is at another version."""
    current = int(connection.execute("SELECT version FROM state").get)
    if current != version:
        raise VersionConflict(f"The index was changed meanwhile: it is at version {current}, not {version}; try again")


def configure(connection: apsw.Connection, version: int, spec: IndexSpec, details: IndexDetails) -> None:
    """Replace the details of an index, and how it embeds and searches text.

    Raises VersionConflict if the index is at another version.
    """
    check_version(connection, version)
    before = index_spec(connection)
    connection.execute(
        "UPDATE state SET spec = ?, details = ?, version = version + 1", (to_json(spec), to_json(details))
    )
    if before is not None and before.embed is None and spec.embed is not None:  # callers brought these vectors
        connection.execute("UPDATE records SET foreign_vector = 1 WHERE foreign_vector = 0")
        vector_sums.rebuild(connection, spec)
    if before is None or _text_search(before) != _text_search(spec):
        lexical.rebuild(connection, spec)
    if before is None or token_vectors.field(before) != token_vectors.field(spec):
        token_vectors.remove_all(connection)


def rename(connection: apsw.Connection, name: str, id: str, details: IndexDetails) -> None:
    """Make a copied file another index: with its own name, id and details, at version 1.

    It is not being re-embedded, and has no notes.
    """
    spec = msgspec.structs.replace(known_spec(connection), name=name)
    connection.execute(
        "UPDATE state SET spec = ?, details = ?, id = ?, version = 1", (to_json(spec), to_json(details), id)
    )
    connection.execute("DELETE FROM reembedding")
    connection.execute("DELETE FROM reembedded")
    connection.execute("DELETE FROM notes")


def _text_search(spec: IndexSpec) -> tuple[str, str] | None:
    """The text field and the language of keyword search. None if the index embeds no text."""
    return None if spec.embed is None else (spec.embed.text_field, spec.embed.analysis)


def fingerprint(connection: apsw.Connection) -> Fingerprint | None:
    """The fingerprint of what embedded the records. None until something has."""
    return _fingerprint(connection.execute("SELECT fingerprint FROM state").get)


@lru_cache(maxsize=256)
def _fingerprint(text: str | None) -> Fingerprint | None:
    return None if text is None else decoding.decode(text, Fingerprint)


def claim(connection: apsw.Connection, embedded_by: Fingerprint) -> None:
    """Store the fingerprint of what embeds, if there is none yet, because an index never mixes models.

    Raises EmbeddingMismatch if the index was embedded by something else.
    """
    stored = fingerprint(connection)
    if stored is None:
        connection.execute("UPDATE state SET fingerprint = ?", (to_json(embedded_by),))
    else:
        check_embedded_by(stored, embedded_by)


def lsn(connection: apsw.Connection) -> int:
    """The number of the last write."""
    return int(connection.execute("SELECT lsn FROM state").get)


def state(connection: apsw.Connection) -> tuple[IndexSpec, Fingerprint | None, int]:
    """known_spec(), fingerprint() and lsn() in one query."""
    spec, embedded_by, lsn = connection.execute("SELECT spec, fingerprint, lsn FROM state").get
    return _spec(spec), _fingerprint(embedded_by), lsn


def next_lsn(connection: apsw.Connection) -> int:
    """Count up the number of the last write. Returns the new number, for the write that is being made."""
    return int(connection.execute("UPDATE state SET lsn = lsn + 1 RETURNING lsn").get)


def to_json(value: object) -> str:
    """Compact JSON text."""
    return msgspec.json.encode(value).decode()
