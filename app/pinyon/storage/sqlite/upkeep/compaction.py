"""Gives the space of deleted records back to the disk. Plain functions on a connection.

sqlite-vec clears the slot of a deleted vector, and drops a chunk only when all its slots are empty. So random deletions
free no space, and every scan reads empty slots.
"""

import apsw

from pinyon.storage.sqlite.schema import tables, vector_tables
from pinyon.storage.sqlite.transaction import Transaction


def compact(connection: apsw.Connection) -> None:
    """Rebuild the tables and shrink the file. Call outside any transaction.

    No write may happen between the two steps. It could empty a chunk, and so leave a gap in the numbers of chunks,
    which shrink() cannot handle.
    """
    with Transaction(connection, "IMMEDIATE"):
        rebuild(connection)
    shrink(connection)


def rebuild(connection: apsw.Connection) -> None:
    """Write all vectors again without gaps, inside the caller's transaction. Row numbers stay the same."""
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
    """Give free pages back to the disk. Needs about as much free space as the file is large.

    Call outside any transaction, and only right after rebuild(). VACUUM numbers the rows of sqlite-vec's own tables
    again, and sqlite-vec looks these rows up by number. After a rebuild the new numbers are the same as the old ones.
    """
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
