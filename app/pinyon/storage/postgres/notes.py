"""The table `notes` of an index: small texts that services store with it. Plain functions on a connection."""

from pinyon.domain import Note
from pinyon.storage.postgres import leases
from pinyon.storage.postgres.connection.database import Connection


async def every(connection: Connection) -> list[Note]:
    """The notes, in byte order of their keys."""
    cursor = await connection.execute("SELECT key, text FROM notes ORDER BY key")
    return [Note(key, text) for key, text in await cursor.fetchall()]


async def put(connection: Connection, note: Note) -> None:
    """Store a note in place of the one with its key, or remove that one. Raises LeaseLost if its lease is lost."""
    if note.lease is not None:
        await leases.check(connection, note.lease)
    if note.text is None:
        await connection.execute("DELETE FROM notes WHERE key = %s", (note.key,))
    else:
        await connection.execute(
            "INSERT INTO notes (key, text) VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET text = excluded.text",
            (note.key, note.text),
        )
