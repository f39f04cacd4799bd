"""Finds the rows that a call is about: the number of a namespace, and SQL conditions for the selected records."""

from typing import Any

from pinyon.domain import Selection
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.filters.filter_sql import SQL, compile_filter


async def namespace(connection: Connection, name: str) -> int | None:
    """The number of a namespace, or None if there is no such namespace."""
    row = await (await connection.execute("SELECT ns FROM namespaces WHERE name = %s", (name,))).fetchone()
    return None if row is None else int(row[0])


def where(selection: Selection, ns: int) -> SQL:
    """The selected records as an SQL condition on the table records, and its parameters.

    The number of the namespace is part of the text: only so does PostgreSQL know which partial indexes fit.
    """
    if selection.ids is not None:
        return f"records.ns = {ns} AND records.id = ANY(%s)", [list(selection.ids)]
    if selection.filter is not None:
        text, parameters = compile_filter(selection.filter, ns)
        return f"records.ns = {ns} AND {text}", parameters
    return f"records.ns = {ns}", []


def begins_with(column: str, prefix: str) -> tuple[str, list[Any]]:
    """A condition for strings with a prefix, which an index can answer. prefix: ASCII."""
    if not prefix:
        return "TRUE", []
    if "\0" in prefix:  # PostgreSQL stores no such string, and takes none
        return "FALSE", []
    return f"({column} >= %s AND {column} < %s)", [prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)]
