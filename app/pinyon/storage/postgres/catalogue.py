"""The catalogue of a database: which indexes there are, what they are, and small values of the services beside them.

Plain functions on a connection, in the caller's transaction.
"""

from functools import lru_cache
from typing import Any

import msgspec
from psycopg import sql

from pinyon import decoding
from pinyon.domain import CatalogueValue, Fingerprint, Handle, Index, IndexDetails, IndexRef, IndexSpec, name_of
from pinyon.errors import AlreadyExists, NotFound, VersionConflict
from pinyon.storage.postgres.connection.database import Connection, FirstQuery
from pinyon.storage.postgres.schema.migrations import check_newest
from pinyon.storage.shared.fingerprints import check_embedded_by
from pinyon.storage.shared.records import to_json

CHANNEL = "pinyon_catalogue"
"""Every change of the catalogue is told on this channel of NOTIFY, with the schema of the catalogue."""


class Entry(msgspec.Struct, frozen=True):
    """An index in the catalogue. number: names its schema."""

    number: int
    index: Index


class State(msgspec.Struct, frozen=True):
    """What a transaction sees of an index. lsn: of the last write."""

    spec: IndexSpec
    embedded_by: Fingerprint | None
    version: int
    lsn: int


COLUMNS = "number, spec, details, id, version"


async def entries(connection: Connection) -> list[Entry]:
    """Every index, by name."""
    cursor = await connection.execute(f"SELECT {COLUMNS} FROM indexes ORDER BY name")
    return [_entry(row) for row in await cursor.fetchall()]


async def changes(connection: Connection) -> int:
    """How often the catalogue has changed."""
    row = await (await connection.execute("SELECT changes FROM catalogue_state")).fetchone()
    assert row is not None
    return int(row[0])


async def changed(connection: Connection, schema: str) -> None:
    """Count a change, and tell the other processes when the transaction commits. schema: of the catalogue."""
    await connection.execute("UPDATE catalogue_state SET changes = changes + 1")
    await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, schema))


async def find(connection: Connection, index: IndexRef) -> Entry:
    """The index of this name or handle. Raises NotFound."""
    cursor = await connection.execute(f"SELECT {COLUMNS} FROM indexes WHERE name = %s", (name_of(index),))
    row = await cursor.fetchone()
    entry = None if row is None else _entry(row)
    if entry is None or index not in (entry.index.name, entry.index.handle):
        raise NotFound(f"Index {name_of(index)} not found.")
    return entry


async def insert(connection: Connection, index: Index, embedded_by: Fingerprint | None = None) -> int:
    """Enter an index. Returns its number. Raises AlreadyExists."""
    cursor = await connection.execute(
        "INSERT INTO indexes (name, id, spec, details, version, fingerprint) VALUES (%s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (name) DO NOTHING RETURNING number",
        (
            index.name,
            index.handle.id,
            to_json(index.spec),
            to_json(index.details),
            index.version,
            None if embedded_by is None else to_json(embedded_by),
        ),
    )
    row = await cursor.fetchone()
    if row is None:
        raise AlreadyExists(f"Index {index.name} already exists")
    return int(row[0])


async def change(connection: Connection, number: int, spec: IndexSpec, details: IndexDetails) -> None:
    """Replace the spec and the details of an index, and count its version up."""
    await connection.execute(
        "UPDATE indexes SET spec = %s, details = %s, version = version + 1 WHERE number = %s",
        (to_json(spec), to_json(details), number),
    )


async def remove(connection: Connection, number: int) -> None:
    """Remove an index from the catalogue."""
    await connection.execute("DELETE FROM indexes WHERE number = %s", (number,))


def check_version(entry: Entry, version: int) -> None:
    """Raises VersionConflict if the index is at another version."""
    if entry.index.version != version:
        raise VersionConflict(
            f"The index was changed meanwhile: it is at version {entry.index.version}, not {version}; try again"
        )


async def state(connection: Connection, schema: str, number: int, name: str) -> State:
    """What the transaction sees of an index. Raises NotFound if it was deleted, Unavailable as check_newest()."""
    cursor = await connection.execute(sql.SQL(_shared(schema, number)))
    cursor.nextset()
    return _state(await cursor.fetchone(), name)


def state_query(schema: str, number: int) -> FirstQuery:
    """Asks what a transaction sees of an index, as it begins. See state_in()."""
    return FirstQuery(_shared(schema, number))


def state_in(query: FirstQuery, name: str) -> State:
    """What a transaction that began with state_query() sees. Raises NotFound if the index was deleted."""
    return _state(query.row, name)


async def locked_state(connection: Connection, schema: str, number: int, name: str, alone: bool = False) -> State:
    """Wait until no other write to the index runs, keep others from beginning, and return what the index is now.

    alone: wait for reads too, and keep them from beginning. A change that empties or drops a table needs that: a
    snapshot from before it would show an empty table.
    One message with two statements, because the second must see what others have committed while the first waited.
    """
    table = _state_table(schema)
    lock = f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE" if alone else f"SELECT FROM {table} FOR UPDATE"
    cursor = await connection.execute(sql.SQL(f"{lock}; {_query(schema, number)}"))
    cursor.nextset()
    return _state(await cursor.fetchone(), name)


async def lsn(connection: Connection) -> int:
    """The number of the last write."""
    row = await (await connection.execute("SELECT lsn FROM state")).fetchone()
    assert row is not None
    return int(row[0])


async def next_lsn(connection: Connection) -> int:
    """Count up the number of the last write. Returns the new number, for the write that is being made."""
    row = await (await connection.execute("UPDATE state SET lsn = lsn + 1 RETURNING lsn")).fetchone()
    assert row is not None
    return int(row[0])


async def claim(connection: Connection, number: int, stored: Fingerprint | None, embedded_by: Fingerprint) -> None:
    """Store the fingerprint of what embeds, if there is none yet, because an index never mixes models.

    Raises EmbeddingMismatch if the index was embedded by something else.
    """
    check_embedded_by(stored, embedded_by)
    if stored is None:
        await set_fingerprint(connection, number, embedded_by)


async def set_fingerprint(connection: Connection, number: int, embedded_by: Fingerprint) -> None:
    """Store what embedded the records."""
    await connection.execute("UPDATE indexes SET fingerprint = %s WHERE number = %s", (to_json(embedded_by), number))


async def values(connection: Connection) -> dict[str, CatalogueValue]:
    """The values of the services, by key."""
    cursor = await connection.execute("SELECT key, text, version FROM catalogue_values")
    return {key: CatalogueValue(text, version) for key, text, version in await cursor.fetchall()}


async def put_value(connection: Connection, key: str, text: str, version: int) -> None:
    """Store a value in place of the one with this version; 0: of none. Raises VersionConflict."""
    if version:
        query = "UPDATE catalogue_values SET text = %s, version = version + 1 WHERE key = %s AND version = %s"
        cursor = await connection.execute(query, (text, key, version))
    else:
        query = "INSERT INTO catalogue_values (key, text, version) VALUES (%s, %s, 1) ON CONFLICT DO NOTHING"
        cursor = await connection.execute(query, (key, text))
    if not cursor.rowcount:
        row = await (await connection.execute("SELECT version FROM catalogue_values WHERE key = %s", (key,))).fetchone()
        current = 0 if row is None else row[0]
        raise VersionConflict(
            f"The value {key} was changed meanwhile: it is at version {current}, not {version}; try again"
        )


async def create_schema(connection: Connection, schema: str) -> None:
    """Make an empty schema."""
    await connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))


async def drop_schema(connection: Connection, schema: str) -> None:
    """Remove a schema with everything in it."""
    await connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def _entry(row: tuple[Any, ...]) -> Entry:
    number, spec, details, id, version = row
    known = _spec(spec)
    return Entry(number, Index(known, Handle(known.name, id), _details(details), version))


def _state_table(schema: str) -> str:
    """The table with the schema in front: if the index is gone, no table of somebody else is taken for it."""
    return sql.Identifier(schema, "state").as_string()


def _query(schema: str, number: int) -> str:
    return (
        f"SELECT spec, fingerprint, version, lsn, index_steps FROM indexes CROSS JOIN {_state_table(schema)}"
        f" CROSS JOIN catalogue_state WHERE number = {number}"
    )


def _shared(schema: str, number: int) -> str:
    """The state, once no change runs that must be alone. The lock comes first, because it takes no snapshot yet."""
    return f"LOCK TABLE {_state_table(schema)} IN ACCESS SHARE MODE; {_query(schema, number)}"


def _state(row: tuple[Any, ...] | None, name: str) -> State:
    if row is None:
        raise NotFound(f"Index {name} not found.")
    spec, embedded_by, version, lsn, index_steps = row
    check_newest(index_steps)
    return State(_spec(spec), _fingerprint(embedded_by), version, lsn)


@lru_cache(maxsize=256)
def _spec(text: str) -> IndexSpec:
    return decoding.decode(text, IndexSpec)


@lru_cache(maxsize=256)
def _details(text: str) -> IndexDetails:
    return decoding.decode(text, IndexDetails)


@lru_cache(maxsize=256)
def _fingerprint(text: str | None) -> Fingerprint | None:
    return None if text is None else decoding.decode(text, Fingerprint)
