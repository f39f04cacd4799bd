"""Backups of single indexes, as schemas of the same database. Plain functions on a connection.

A backup is made in one transaction that sees one moment of the index. So it is complete or absent, whatever happens. It
protects against mistakes of people, not against the loss of the database: see docs/scale.md for that.
"""

import msgspec

from pinyon import decoding, failpoints
from pinyon.domain import Backup, BackupLabel, Index, IndexDetails
from pinyon.errors import AlreadyExists, FailedPrecondition, NotFound
from pinyon.storage.postgres import catalogue, tables
from pinyon.storage.postgres.catalogue import Entry, State
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.schema.migrations import INDEX_STEPS, backup_schema, in_schema, index_schema
from pinyon.storage.shared.records import to_json


class Stored(msgspec.Struct, frozen=True):
    """A backup in the catalogue. number: names its schema. steps: of the schema of indexes when it was made."""

    number: int
    backup: Backup
    steps: int


async def take(connection: Connection, catalogue_schema: str, entry: Entry, state: State, label: BackupLabel) -> Backup:
    """Copy an index as the transaction sees it, which must be one snapshot. Raises AlreadyExists."""
    row = await (
        await connection.execute("SELECT count(*), coalesce(sum(record_count), 0)::bigint FROM namespaces")
    ).fetchone()
    assert row is not None
    namespaces, records = row
    number_row = await (
        await connection.execute(
            "INSERT INTO backups (id, backup, index_steps) VALUES (%s, '', %s) ON CONFLICT DO NOTHING RETURNING number",
            (label.id, len(INDEX_STEPS)),
        )
    ).fetchone()
    if number_row is None:
        raise AlreadyExists(f"Backup {label.id} already exists")
    number = int(number_row[0])
    source, target = index_schema(catalogue_schema, entry.number), backup_schema(catalogue_schema, number)
    await tables.make_tables(connection, catalogue_schema, target, state.spec, INDEX_STEPS)
    await tables.copy_rows(connection, source, target)
    failpoints.reach("copied")
    size = sum((await tables.sizes(connection, target)).values())
    index = msgspec.structs.replace(entry.index, spec=state.spec)
    backup = Backup(label, index, state.lsn, state.embedded_by, records, namespaces, size)
    await connection.execute("UPDATE backups SET backup = %s WHERE number = %s", (to_json(backup), number))
    return backup


async def every(connection: Connection) -> list[Backup]:
    """Every backup, oldest first."""
    cursor = await connection.execute("SELECT backup FROM backups")
    backups = [decoding.decode(text, Backup) for (text,) in await cursor.fetchall()]
    return sorted(backups, key=lambda backup: (backup.label.created_at, backup.label.id))


async def find(connection: Connection, id: str) -> Stored:
    """One backup. Raises NotFound, or FailedPrecondition if a later version of Pinyon made it."""
    row = await (
        await connection.execute("SELECT number, backup, index_steps FROM backups WHERE id = %s", (id,))
    ).fetchone()
    if row is None:
        raise NotFound(f"Backup {id[:80]} not found.")
    stored = Stored(row[0], decoding.decode(row[1], Backup), row[2])
    if stored.steps > len(INDEX_STEPS):
        raise FailedPrecondition(
            f"Backup {id} was made by a later version of Pinyon (step {stored.steps}, this one knows up to "
            f"{len(INDEX_STEPS)}); use that version"
        )
    return stored


async def open_tables(connection: Connection, catalogue_schema: str, id: str) -> Stored:
    """Use the tables of a backup for the rest of the transaction. Raises as find()."""
    stored = await find(connection, id)
    await in_schema(connection, backup_schema(catalogue_schema, stored.number), catalogue_schema)
    return stored


async def remove(connection: Connection, catalogue_schema: str, id: str) -> None:
    """Delete a backup. Raises NotFound."""
    cursor = await connection.execute("DELETE FROM backups WHERE id = %s RETURNING number", (id,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"Backup {id[:80]} not found.")
    await catalogue.drop_schema(connection, backup_schema(catalogue_schema, row[0]))


async def restore(connection: Connection, catalogue_schema: str, id: str, index: Index, details: IndexDetails) -> Entry:
    """Make a new index of a backup. index: with the name and the id of the new one; its spec is not used.

    Raises as find(), and AlreadyExists.
    """
    stored = await find(connection, id)
    spec = msgspec.structs.replace(stored.backup.index.spec, name=index.handle.name)
    restored = Index(spec, index.handle, details)
    number = await catalogue.insert(connection, restored, stored.backup.embedded_by)
    schema = index_schema(catalogue_schema, number)
    await tables.make_tables(connection, catalogue_schema, schema, spec, INDEX_STEPS[: stored.steps])
    await tables.copy_rows(connection, backup_schema(catalogue_schema, stored.number), schema)
    for step in INDEX_STEPS[stored.steps :]:
        await step(connection)
    return Entry(number, restored)
