"""The tables that say what an index file is: its spec, what embedded it, the number of its last write."""

from functools import lru_cache

import apsw
import msgspec

from pinyon.domain import Fingerprint, IndexDetails, IndexSpec
from pinyon.errors import EmbeddedOtherwise
from pinyon.storage.sqlite.schema import migrations
from pinyon.storage.sqlite.text import lexical

NO_DETAILS = IndexDetails()


def create_index(connection: apsw.Connection, spec: IndexSpec, details: IndexDetails = NO_DETAILS) -> None:
    """Say what the index is, and make the table its vectors go to."""
    connection.execute(
        "INSERT INTO state (only, spec, details, analysis) VALUES (1, ?, ?, ?)",
        (to_json(spec), to_json(details), lexical.ANALYSIS),
    )
    if not spec.sparse:
        migrations.create_vectors(connection, spec.dimension, spec.metric)


def index_spec(connection: apsw.Connection) -> IndexSpec | None:
    """What the index is; None in a file whose creation never finished."""
    text = connection.execute("SELECT spec FROM state").get
    return None if text is None else _spec(text)


def known_spec(connection: apsw.Connection) -> IndexSpec:
    """What the index is, in this very snapshot: it may become something else when it is embedded anew."""
    return _spec(connection.execute("SELECT spec FROM state").get)


@lru_cache(maxsize=256)
def _spec(text: str) -> IndexSpec:
    return msgspec.json.decode(text, type=IndexSpec)


def index_details(connection: apsw.Connection) -> IndexDetails:
    """What the owner says of the index."""
    text = connection.execute("SELECT details FROM state").get
    return NO_DETAILS if text is None else msgspec.json.decode(text, type=IndexDetails)


def configure(connection: apsw.Connection, spec: IndexSpec, details: IndexDetails) -> None:
    """Change what may change of an index: its details, and how text is embedded and found."""
    before = index_spec(connection)
    connection.execute("UPDATE state SET spec = ?, details = ?", (to_json(spec), to_json(details)))
    if before is not None and before.embed is None and spec.embed is not None:  # nobody here made these vectors
        connection.execute("UPDATE records SET foreign_vector = 1 WHERE foreign_vector = 0")
    if before is None or _found_by(before) != _found_by(spec):
        lexical.rebuild(connection, spec)


def _found_by(spec: IndexSpec) -> tuple[str, str] | None:
    """Field and language of lexical retrieval."""
    return None if spec.embed is None else (spec.embed.text_field, spec.embed.analysis)


def fingerprint(connection: apsw.Connection) -> Fingerprint | None:
    """What embedded the records; None while nothing has."""
    return _fingerprint(connection.execute("SELECT fingerprint FROM state").get)


@lru_cache(maxsize=256)
def _fingerprint(text: str | None) -> Fingerprint | None:
    return None if text is None else msgspec.json.decode(text, type=Fingerprint)


def claim(connection: apsw.Connection, embedded_by: Fingerprint) -> None:
    """Say what embeds, the first time. Raises EmbeddedOtherwise later for anything else: models are never mixed."""
    held = fingerprint(connection)
    if held is None:
        connection.execute("UPDATE state SET fingerprint = ?", (to_json(embedded_by),))
    else:
        check_embedded_by(held, embedded_by)


def check_embedded_by(held: Fingerprint | None, embedded_by: Fingerprint) -> None:
    """Raises EmbeddedOtherwise if the index was embedded by something else."""
    if held is not None and held != embedded_by:
        raise EmbeddedOtherwise(
            f"This index was embedded by '{held.weights}' ({held.version[:12]}) for '{held.model}' and cannot take "
            f"vectors of '{embedded_by.weights}' ({embedded_by.version[:12]}) for '{embedded_by.model}' until it is "
            "re-embedded"
        )


def lsn(connection: apsw.Connection) -> int:
    """The number of the last write."""
    return int(connection.execute("SELECT lsn FROM state").get)


def state(connection: apsw.Connection) -> tuple[IndexSpec, Fingerprint | None, int]:
    """What the index is, what embedded the records, and the number of the last write: known_spec() and the others."""
    spec, embedded_by, lsn = connection.execute("SELECT spec, fingerprint, lsn FROM state").get
    return _spec(spec), _fingerprint(embedded_by), lsn


def next_lsn(connection: apsw.Connection) -> int:
    """The number of the write that is being made."""
    return int(connection.execute("UPDATE state SET lsn = lsn + 1 RETURNING lsn").get)


def to_json(value: object) -> str:
    """Compact JSON text."""
    return msgspec.json.encode(value).decode()
