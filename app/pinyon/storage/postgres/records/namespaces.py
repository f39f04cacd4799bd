"""Lists, describes and makes the namespaces of an index. Plain functions on a connection."""

from typing import Any

import msgspec

from pinyon.domain import NamespaceInfo
from pinyon.errors import AlreadyExists, NotFound
from pinyon.storage.postgres import catalogue
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.records.selection import begins_with
from pinyon.storage.postgres.records.selection import namespace as find
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.shared.records import to_json

COLUMNS = "name, record_count, schema, truncated, foreign_vectors, bytes"


async def every(connection: Connection) -> list[NamespaceInfo]:
    """All namespaces, in byte order of their names."""
    cursor = await connection.execute(f"SELECT {COLUMNS} FROM namespaces ORDER BY name")
    return [_info(row) for row in await cursor.fetchall()]


async def page(
    connection: Connection, limit: int, after: str = "", prefix: str = ""
) -> tuple[list[NamespaceInfo], bool, int]:
    """One page of the namespaces whose names begin with the prefix, in byte order of their names.

    Returns at most `limit` namespaces whose names come after `after`, whether more follow, and how many have the prefix
    in all.
    """
    test, parameters = begins_with("name", prefix)
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM namespaces WHERE {test} AND name > %s ORDER BY name LIMIT %s",
        [*parameters, after, limit + 1],
    )
    rows = await cursor.fetchall()
    total = await (await connection.execute(f"SELECT count(*) FROM namespaces WHERE {test}", parameters)).fetchone()
    assert total is not None
    return [_info(row) for row in rows[:limit]], len(rows) > limit, int(total[0])


async def describe(connection: Connection, name: str) -> NamespaceInfo:
    """The namespace of a name. Raises NotFound."""
    row = await (await connection.execute(f"SELECT {COLUMNS} FROM namespaces WHERE name = %s", (name,))).fetchone()
    if row is None:
        raise NotFound("Namespace not found")
    return _info(row)


async def create(connection: Connection, name: str, schema: dict[str, Any] | None) -> int:
    """Make an empty namespace. Returns the LSN of the write. Raises AlreadyExists."""
    if await find(connection, name) is not None:
        raise AlreadyExists("Namespace already exists")
    await insert(connection, name, None if schema is None else to_json(schema))
    return await catalogue.next_lsn(connection)


async def named(connection: Connection, name: str) -> Namespace:
    """The namespace of a name, which is made if need be."""
    ns = await find(connection, name)
    return await insert(connection, name, None) if ns is None else ns


async def insert(connection: Connection, name: str, schema: str | None) -> Namespace:
    """Enter a new namespace. No other ever has its number. schema: in JSON."""
    row = await (
        await connection.execute("UPDATE state SET next_namespace = next_namespace + 1 RETURNING next_namespace - 1")
    ).fetchone()
    assert row is not None
    inserted = "INSERT INTO namespaces (ns, name, schema) VALUES (%s, %s, %s) RETURNING ns, buckets"
    row = await (await connection.execute(inserted, (row[0], name, schema))).fetchone()
    assert row is not None
    return Namespace(*row)


def _info(row: tuple[Any, ...]) -> NamespaceInfo:
    name, count, schema, *others = row
    return NamespaceInfo(name, count, None if schema is None else msgspec.json.decode(schema), *others)
