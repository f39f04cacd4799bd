"""Whether a PostgreSQL server can be used: its version, and that of pgvector. Plain functions on a connection."""

import re

from psycopg import errors

from pinyon.errors import FailedPrecondition
from pinyon.storage.postgres.connection.database import Connection

OLDEST_SERVER = 140_000
"""PostgreSQL 14, the oldest that is maintained and that pgvector supports with all that is used here."""
OLDEST_PGVECTOR = (0, 8, 4)
"""Earlier versions can damage an HNSW index."""


def is_safe(version: str) -> bool:
    """Whether a version of pgvector can be used."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return numbers >= OLDEST_PGVECTOR


def check_server(connection: Connection) -> None:
    """Raises FailedPrecondition if the server is too old, or the database has another encoding than UTF-8."""
    if connection.info.server_version < OLDEST_SERVER:
        raise FailedPrecondition(
            f"The database is PostgreSQL {connection.info.server_version // 10_000}; Pinyon needs "
            f"{OLDEST_SERVER // 10_000} or later"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise FailedPrecondition(
            f"The database has the encoding {encoding}; Pinyon needs UTF8: make another one "
            "with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )


async def prepare_extension(connection: Connection, read_only: bool = False) -> str:
    """Make pgvector if need be. Returns the schema that it is in.

    Raises FailedPrecondition if it is too old, or missing. read_only: make nothing.
    """
    found = await extension(connection)
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
        except errors.InvalidSchemaName as error:
            raise FailedPrecondition(
                "The database has no pgvector, and no schema for it such as public: run CREATE SCHEMA extensions; "
                "CREATE EXTENSION vector SCHEMA extensions"
            ) from error
        except (errors.UndefinedFile, errors.FeatureNotSupported) as error:
            raise FailedPrecondition(
                "pgvector is not installed on the database server; install it there (0.8.4 or later), for example "
                "the package postgresql-18-pgvector"
            ) from error
        found = await extension(connection)
    if found is None:
        raise FailedPrecondition("The database has no pgvector; a start that may write makes it")
    version, schema = found
    check_pgvector(version)
    return schema


def check_pgvector(version: str) -> None:
    """Raises FailedPrecondition if a version of pgvector is not safe."""
    if not is_safe(version):
        raise FailedPrecondition(
            f"The database has pgvector {version}, which can damage an index; Pinyon needs "
            f"{'.'.join(map(str, OLDEST_PGVECTOR))} or later: update it, then run ALTER EXTENSION vector UPDATE"
        )


async def extension(connection: Connection) -> tuple[str, str] | None:
    """The version of pgvector in this database, and the schema that it is in."""
    row = await (
        await connection.execute(
            "SELECT extversion, nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace"
            " WHERE extname = 'vector'"
        )
    ).fetchone()
    return None if row is None else (str(row[0]), str(row[1]))
