"""The table `notes` of an index file: small texts that services store with the index."""

import apsw

from pinyon.domain import Note


def every(connection: apsw.Connection) -> list[Note]:
    """All notes, in byte order of their keys."""
    return [Note(str(key), str(text)) for key, text in connection.execute("SELECT key, text FROM notes ORDER BY key")]


def put(connection: apsw.Connection, note: Note) -> None:
    """Store a note in place of the one with its key, or remove that one."""
    if note.text is None:
        connection.execute("DELETE FROM notes WHERE key = ?", (note.key,))
    else:
        connection.execute("INSERT OR REPLACE INTO notes (key, text) VALUES (?, ?)", (note.key, note.text))
