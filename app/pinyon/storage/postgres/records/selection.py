"""Finds the rows that a call is about: the number of a namespace, and SQL conditions for the selected records."""

from typing import Any

from pinyon.domain import Selection
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.filters.filter_sql import SQL, compile_filter
from pinyon.storage.postgres.schema.buckets import Namespace


async def namespace(connection: Connection, name: str) -> Namespace | None:
    """The namespace of a name, or None if there is none."""
    row = await (await connection.execute("SELECT ns, buckets FROM namespaces WHERE name = %s", (name,))).fetchone()
    return None if row is None else Namespace(*row)


def where(selection: Selection, ns: Namespace) -> SQL:
    """The selected records as an SQL condition on the table records, and its parameters."""
    if selection.ids is not None:
        return f"records.{ns.rows_of(selection.ids)} AND records.id = ANY(%s)", [list(selection.ids)]
    if selection.filter is not None:
        text, parameters = compile_filter(selection.filter, ns)
        return f"records.{ns.rows} AND {text}", parameters
    return f"records.{ns.rows}", []


def begins_with(column: str, prefix: str) -> tuple[str, list[Any]]:
    """A condition for strings with a prefix, which an index can answer. prefix: ASCII."""
    if not prefix:
        return "TRUE", []
    if "\0" in prefix:  # PostgreSQL stores no such string, and takes none
        return "FALSE", []
    return f"({column} >= %s AND {column} < %s)", [prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)]
