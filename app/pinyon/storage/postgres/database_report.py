"""What `pinyon doctor` says about a database. Changes nothing."""

from collections.abc import AsyncIterator
from typing import Any

from psycopg import sql

from pinyon.errors import FailedPrecondition, PinyonError
from pinyon.settings import StorageSettings
from pinyon.storage.installation import Finding
from pinyon.storage.postgres import catalogue, server_check
from pinyon.storage.postgres.connection.database import Connection, Database
from pinyon.storage.postgres.connection.database_errors import translated
from pinyon.storage.postgres.schema.migrations import CATALOGUE_STEPS, INDEX_STEPS

TIMEOUT_S = 10.0
BESIDE_POOL = 2
"""Connections of a process beside its pool: one that follows the catalogue, one that builds search indexes."""
SMALL_BUFFERS, SMALL_MAINTENANCE = 256 * 2**20, 256 * 2**20
"""Bytes of shared_buffers and maintenance_work_mem below which the report says so."""


async def findings(settings: StorageSettings) -> list[Finding]:
    """What a start with this database would meet."""
    told: list[Finding] = []
    try:
        with translated("The database", says_why=True):
            connection = await Database(settings.dsn, 1, TIMEOUT_S).connect()
            async with connection:
                async for finding in _findings(connection, settings):
                    told.append(finding)
    except PinyonError as error:
        told.append(Finding("FAIL", "database", error.message))
    return told


async def _findings(connection: Connection, settings: StorageSettings) -> AsyncIterator[Finding]:
    version = connection.info.server_version
    yield Finding("ok", "database", f"PostgreSQL {version // 10_000}.{version % 10_000} answers")
    server_check.check_server(connection)
    yield await _pgvector(connection)
    if (await _row(connection, "SELECT pg_is_in_recovery()"))[0]:
        yield Finding("note", "database", "it is a standby, which takes no writes; name the primary in [storage] dsn")
    yield await _rights(connection)
    async for finding in _tables(connection, settings.schema):
        yield finding
    yield await _connections(connection, settings.connections)
    async for finding in _server_settings(connection):
        yield finding


async def _pgvector(connection: Connection) -> Finding:
    """Raises FailedPrecondition if there is none, or one that is not safe."""
    found = await server_check.extension(connection)
    if found is not None:
        version, schema = found
        server_check.check_pgvector(version)
        return Finding("ok", "pgvector", f"{version}, in the schema {schema}")
    query = "SELECT max(default_version) FROM pg_available_extensions WHERE name = 'vector'"
    (version,) = await _row(connection, query)
    if version is None:
        raise FailedPrecondition("pgvector is not installed on the database server; install it there (0.8.4 or later)")
    server_check.check_pgvector(version)
    return Finding("note", "pgvector", f"{version} is installed; the first start makes the extension, if the role may")


async def _rights(connection: Connection) -> Finding:
    query = "SELECT current_user, current_database(), has_database_privilege(current_database(), 'CREATE')"
    role, database, may_create = await _row(connection, query)
    if may_create:
        return Finding("ok", "rights", f"the role {role} may make schemas in the database {database}")
    return Finding(
        "FAIL",
        "rights",
        f"the role {role} may not make schemas, and each index has one: GRANT CREATE ON DATABASE {database} TO {role}",
    )


async def _tables(connection: Connection, schema: str) -> AsyncIterator[Finding]:
    (there,) = await _row(connection, "SELECT to_regclass(%s)", f"{schema}.catalogue_steps")
    if there is None:
        yield Finding("note", "data", f"there is no schema {schema} yet; the first start makes it")
        return
    await connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
    (catalogue_steps,) = await _row(connection, "SELECT coalesce(max(step), 0) FROM catalogue_steps")
    (index_steps,) = await _row(connection, "SELECT index_steps FROM catalogue_state")
    done, known = (catalogue_steps, index_steps), (len(CATALOGUE_STEPS), len(INDEX_STEPS))
    if done[0] > known[0] or done[1] > known[1]:
        yield Finding("FAIL", "tables", f"a later Pinyon made them: steps {done}, this one knows up to {known}")
        return
    if done == known:
        yield Finding("ok", "tables", f"of this version, in the schema {schema}")
    else:
        yield Finding("note", "tables", f"of an earlier version; the next start brings them from {done} to {known}")
    for entry in await catalogue.entries(connection):
        spec = entry.index.spec
        yield Finding("ok", "index", f"{spec.name}: {spec.dimension} dimensions, {spec.metric}", spec)


async def _connections(connection: Connection, most: int) -> Finding:
    query = (
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,"
        " (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)"
    )
    allowed, of_role = await _row(connection, query)
    allowed = allowed if of_role < 0 else min(allowed, of_role)
    each = most + BESIDE_POOL
    sentence = f"{allowed} are allowed; a process has up to {each} ([storage] connections = {most})"
    if allowed < each:
        return Finding("FAIL", "connections", f"{sentence}; raise max_connections, or lower [storage] connections")
    return Finding("ok", "connections", f"{sentence}, so there is room for {allowed // each} processes")


async def _server_settings(connection: Connection) -> AsyncIterator[Finding]:
    query = (
        "SELECT current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes'),"
        " pg_size_bytes(current_setting('shared_buffers')), pg_size_bytes(current_setting('maintenance_work_mem'))"
    )
    commit, fsync, pages, buffers, maintenance = await _row(connection, query)
    if commit == "off":
        yield Finding("note", "durability", "synchronous_commit is off: a crash of the database loses the last writes")
    for name, value in (("fsync", fsync), ("full_page_writes", pages)):
        if value == "off":
            yield Finding("note", "durability", f"{name} is off: a power cut can destroy the database")
    if buffers < SMALL_BUFFERS:
        message = f"shared_buffers is {_mb(buffers)}; a quarter of the memory of its machine is usual"
        yield Finding("note", "memory", message)
    if maintenance < SMALL_MAINTENANCE:
        message = f"maintenance_work_mem is {_mb(maintenance)}; search indexes are built faster with more"
        yield Finding("note", "memory", message)


async def _row(connection: Connection, query: str, *parameters: Any) -> tuple[Any, ...]:
    row = await (await connection.execute(query, parameters or None)).fetchone()
    assert row is not None
    return row


def _mb(size: int) -> str:
    return f"{size / 2**20:.0f} MB"
