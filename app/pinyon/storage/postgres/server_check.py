"""Whether a PostgreSQL server can be used: its version, and that of pgvector. Plain functions on a connection."""

import re

from psycopg import errors, sql

from pinyon.errors import FailedPrecondition
from pinyon.storage.installation import Finding
from pinyon.storage.postgres import catalogue
from pinyon.storage.postgres.connection.database import Connection, Database
from pinyon.storage.postgres.connection.database_errors import translated

OLDEST_SERVER = 140_000
"""PostgreSQL 14, the oldest that is maintained and that pgvector supports with all that is used here."""
OLDEST_PGVECTOR = (0, 8, 4)
"""Earlier versions can damage an HNSW index."""


def is_safe(version: str) -> bool:
    """Whether a version of pgvector can be used."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return numbers >= OLDEST_PGVECTOR


async def prepare_extension(connection: Connection, read_only: bool = False) -> str:
    """Make the extension if need be. Returns the schema that it is in.

    Raises FailedPrecondition if the server or its pgvector is too old, or pgvector is missing.
    """
    if connection.info.server_version < OLDEST_SERVER:
        raise FailedPrecondition(
            f"The database is PostgreSQL {connection.info.server_version // 10_000}; Pinyon needs "
            f"{OLDEST_SERVER // 10_000} or later"
        )
    found = await _extension(connection)
    if found is None and not read_only:
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except errors.UniqueViolation:
            pass  # another process made it at the same moment
        except errors.InsufficientPrivilege as error:
            raise FailedPrecondition(
                "The database has no pgvector, and the role may not make it: run CREATE EXTENSION vector as an "
                "administrator of the database"
            ) from error
        except (errors.UndefinedFile, errors.FeatureNotSupported) as error:
            raise FailedPrecondition(
                "pgvector is not installed on the database server; install it there (0.8.4 or later), for example "
                "the package postgresql-18-pgvector"
            ) from error
        found = await _extension(connection)
    if found is None:
        raise FailedPrecondition("The database has no pgvector; a start that may write makes it")
    version, schema = found
    if not is_safe(version):
        raise FailedPrecondition(
            f"The database has pgvector {version}, which can damage an index; Pinyon needs "
            f"{'.'.join(map(str, OLDEST_PGVECTOR))} or later: update it, then run ALTER EXTENSION vector UPDATE"
        )
    return schema


async def _extension(connection: Connection) -> tuple[str, str] | None:
    """The version of pgvector in this database, and the schema that it is in."""
    row = await (
        await connection.execute(
            "SELECT extversion, nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace"
            " WHERE extname = 'vector'"
        )
    ).fetchone()
    return None if row is None else (str(row[0]), str(row[1]))


async def findings(dsn: str, schema: str) -> list[Finding]:
    """What a start with this database would meet. Changes nothing.

    Raises Unavailable if it does not answer, FailedPrecondition if it cannot be used.
    """
    database = Database(dsn, 1, timeout_s=10)
    told: list[Finding] = []
    with translated("The database"):
        connection = await database.connect()
        async with connection:
            told.append(Finding("ok", "database", f"PostgreSQL {_version(connection.info.server_version)} answers"))
            extension = await prepare_extension(connection, read_only=True)
            version, _ = await _extension(connection) or ("", "")
            told.append(Finding("ok", "pgvector", f"{version}, in the schema {extension}"))
            row = await (await connection.execute("SELECT to_regclass(%s)", (f"{schema}.indexes",))).fetchone()
            if row is None or row[0] is None:
                return [*told, Finding("note", "data", f"there is no schema {schema} yet; the first start makes it")]
            await connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
            for entry in await catalogue.entries(connection):
                spec = entry.index.spec
                told.append(Finding("ok", "index", f"{spec.name}: {spec.dimension} dimensions, {spec.metric}", spec))
            row = await (await connection.execute("SHOW synchronous_commit")).fetchone()
            if row is not None and row[0] == "off":
                message = "synchronous_commit is off: a crash of the database loses the last writes"
                told.append(Finding("note", "durability", message))
    return told


def _version(number: int) -> str:
    return f"{number // 10_000}.{number % 10_000}"
