"""The tables of one index as a whole: made, copied, measured. Plain functions on a connection."""

from psycopg import sql

from pinyon.domain import IndexSpec
from pinyon.storage.postgres import catalogue
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.schema.migrations import INDEX_STEPS, INDEX_TABLES, Steps, in_schema, put_off
from pinyon.storage.postgres.text.lexical import ANALYSIS
from pinyon.storage.postgres.vectors import vector_table

NOT_COPIED = {"reembedding", "reembedded", "notes"}
"""Tables that a copy under another name does not have."""
KINDS = {"vectors": "vectors", "records": "records", "numbers": "records", "token_vectors": "token_vectors"}
"""Under which kind the room of a table is shown; of all others: "words"."""


async def create(connection: Connection, catalogue_schema: str, schema: str, spec: IndexSpec) -> None:
    """Make the schema of an index with empty tables, and use it for the rest of the transaction."""
    await make_tables(connection, catalogue_schema, schema, spec, INDEX_STEPS)
    await connection.execute("UPDATE state SET analysis = %s", (ANALYSIS,))


async def make_tables(
    connection: Connection, catalogue_schema: str, schema: str, spec: IndexSpec, steps: Steps
) -> None:
    """Make the schema of an index as it was after some steps of its history. Raises Unavailable as put_off()."""
    await put_off(connection)
    await catalogue.create_schema(connection, schema)
    await in_schema(connection, schema, catalogue_schema)
    for step in steps:
        await step(connection)
    await vector_table.create(connection, spec)


async def copy_rows(connection: Connection, source: str, target: str) -> None:
    """Copy all rows of an index from one schema to another, which has the same tables, empty."""
    await connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(target, "state")))
    for table in INDEX_TABLES:
        if table not in NOT_COPIED:
            await connection.execute(
                sql.SQL("INSERT INTO {} SELECT * FROM {}").format(
                    sql.Identifier(target, table), sql.Identifier(source, table)
                )
            )


async def vacuum(connection: Connection, schema: str) -> None:
    """Give back the room of deleted records. Reads and writes go on. Call outside any transaction.

    PostgreSQL returns room to the disk only from the end of a table; the rest is used again by later writes.
    """
    names = sql.SQL(", ").join(sql.Identifier(schema, table) for table in INDEX_TABLES)
    await connection.execute(sql.SQL("VACUUM (ANALYZE) ") + names)


async def sizes(connection: Connection, schema: str) -> dict[str, int]:
    """How many bytes the tables of a schema take with their indexes, by kind."""
    cursor = await connection.execute(
        "SELECT relname, pg_total_relation_size(pg_class.oid) FROM pg_class"
        " JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = %s AND relkind = 'r'",
        (schema,),
    )
    by_kind: dict[str, int] = {}
    for table, size in await cursor.fetchall():
        kind = KINDS.get(table, "words")
        by_kind[kind] = by_kind.get(kind, 0) + int(size)
    return by_kind
