"""The table `vectors` of an index, which its dimension decides. Plain functions on a connection.

It is apart from the records, so that a search reads nothing but vectors, and a long text does not move a vector out of
its row.
"""

from psycopg import sql

from pinyon.domain import IndexSpec
from pinyon.storage.postgres.connection.database import Connection

IN_ROW = 1_900
"""Vectors up to this dimension fit into a page, and are stored in the row."""


async def create(connection: Connection, spec: IndexSpec) -> None:
    """Make the table. norm: the length of the vector, for bounds of scores. Sparse indexes have an empty one."""
    kind = sql.SQL("vector") if spec.sparse else sql.SQL("vector({})").format(sql.Literal(spec.dimension))
    storage = sql.SQL("PLAIN" if spec.dimension <= IN_ROW else "EXTERNAL")
    await connection.execute(
        sql.SQL(
            "CREATE TABLE vectors ("
            "ns bigint NOT NULL, record bigint NOT NULL, norm double precision NOT NULL, embedding {} NOT NULL,"
            " PRIMARY KEY (ns, record)); ALTER TABLE vectors ALTER COLUMN embedding SET STORAGE {}"
        ).format(kind, storage)
    )


async def replace(connection: Connection, spec: IndexSpec) -> None:
    """Make the table anew, empty, for another dimension."""
    await connection.execute("DROP TABLE vectors")
    await create(connection, spec)
