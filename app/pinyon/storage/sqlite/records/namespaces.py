"""Lists, describes and makes the namespaces of an index. Plain functions on a connection."""

from typing import Any

import apsw
import msgspec

from pinyon.domain import NamespaceInfo
from pinyon.errors import AlreadyExists, NotFound
from pinyon.storage.sqlite.records.selection import prefix_range
from pinyon.storage.sqlite.schema import tables

COLUMNS = "name, record_count, schema, truncated, foreign_vectors, bytes"


def every(connection: apsw.Connection) -> list[NamespaceInfo]:
    """All namespaces, in byte order of their names."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM namespaces ORDER BY name")
    return [_info(row) for row in rows]


def page(
    connection: apsw.Connection, limit: int, after: str = "", prefix: str = ""
) -> tuple[list[NamespaceInfo], bool, int]:
    """One page of the namespaces whose names begin with the prefix, in byte order of their names.

    Returns at most `limit` namespaces whose names come after `after`, whether more follow, and how many have the prefix
    in all.
    """
    first, end = prefix_range(prefix)
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM namespaces WHERE name >= ? AND name < ? AND name > ? ORDER BY name LIMIT ?",
        (first, end, after, limit + 1),
    ).fetchall()
    total = connection.execute("SELECT count(*) FROM namespaces WHERE name >= ? AND name < ?", (first, end)).get
    return [_info(row) for row in rows[:limit]], len(rows) > limit, int(total)


def describe(connection: apsw.Connection, name: str) -> NamespaceInfo:
    """The namespace of a name. Raises NotFound."""
    row = connection.execute(f"SELECT {COLUMNS} FROM namespaces WHERE name = ?", (name,)).get
    if row is None:
        raise NotFound("Namespace not found")
    return _info(row)


def create(connection: apsw.Connection, name: str, schema: dict[str, Any] | None) -> int:
    """Make an empty namespace. Returns the LSN of the write. Raises AlreadyExists."""
    if connection.execute("SELECT 1 FROM namespaces WHERE name = ?", (name,)).get is not None:
        raise AlreadyExists("Namespace already exists")
    text = None if schema is None else tables.to_json(schema)
    connection.execute("INSERT INTO namespaces (name, schema) VALUES (?, ?)", (name, text))
    return tables.next_lsn(connection)


def _info(row: tuple[Any, ...]) -> NamespaceInfo:
    name, count, schema, *others = row
    return NamespaceInfo(name, count, None if schema is None else msgspec.json.decode(schema), *others)
