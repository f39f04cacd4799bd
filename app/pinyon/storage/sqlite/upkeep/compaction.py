"""Giving back the room of what was deleted: plain functions on a connection.

sqlite-vec zeroes a deleted vector's slot and drops a chunk only once all of it is empty, so that deletes at random give
nothing back and make every scan read what is not there.
"""

import apsw

from pinyon.storage.sqlite.schema import tables, vector_tables
from pinyon.storage.sqlite.transaction import Transaction


def compact(connection: apsw.Connection) -> None:
    """Both steps, outside any transaction. A write between could empty a chunk, and leave a gap in the numbers."""
    with Transaction(connection, "IMMEDIATE"):
        rebuild(connection)
    shrink(connection)


def rebuild(connection: apsw.Connection) -> None:
    """Lay the vectors out anew, without gaps, inside the caller's transaction. Rows keep their numbers."""
    spec = tables.known_spec(connection)
    if not spec.sparse:
        connection.execute("CREATE TABLE compacted (record INTEGER PRIMARY KEY, ns INTEGER, embedding BLOB)")
        connection.execute("INSERT INTO compacted SELECT rowid, ns, embedding FROM vectors")
        connection.execute("DROP TABLE vectors")
        vector_tables.create_vectors(connection, spec.dimension, spec.metric)
        connection.execute(
            "INSERT INTO vectors (rowid, ns, embedding) SELECT record, ns, embedding FROM compacted ORDER BY ns, record"
        )
        connection.execute("DROP TABLE compacted")
    connection.execute("INSERT INTO lexical (lexical) VALUES ('optimize')")


def shrink(connection: apsw.Connection) -> None:
    """Give free pages back to the disk, outside any transaction; needs about the file's size in free space.

    Only right after rebuild(): VACUUM numbers the rows of sqlite-vec's own tables anew, and it looks them up by number.
    After a rebuild the numbers are the same before and after.
    """
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
