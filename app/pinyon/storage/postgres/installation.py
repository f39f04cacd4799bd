"""A database of the PostgreSQL engine, for the commands and for whoever opens it."""

import asyncio
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from pinyon.errors import FailedPrecondition
from pinyon.settings import StorageSettings
from pinyon.storage.engine import Engine, EngineLimits
from pinyon.storage.holder import Holder
from pinyon.storage.installation import Finding, Report
from pinyon.storage.postgres import database_report
from pinyon.storage.postgres.engine import PostgresEngine
from pinyon.storage.postgres.options import LIMITS, EngineOptions

BY_POSTGRES = (
    "PostgreSQL's own tools back up, check and restore a database (pg_dump, pg_basebackup, pg_amcheck); see "
    "docs/scale.md. Single indexes have backups of their own: POST /indexes/NAME/backups"
)


class PostgresInstallation:
    """An Installation: a database that any number of processes may have open."""

    def __init__(self, settings: StorageSettings) -> None:
        if not settings.dsn:
            raise FailedPrecondition(
                '[storage] engine = "postgres" needs a database: set [storage] dsn, or PINYON_STORAGE_DSN, such as '
                "postgresql://pinyon@db.example.com/pinyon"
            )
        self._settings = settings
        self._location = _location(settings)

    @property
    def location(self) -> str:
        return self._location

    @property
    def limits(self) -> EngineLimits:
        return LIMITS

    @property
    def is_shared(self) -> bool:
        return True

    async def open(self, wait: bool = True) -> Engine:
        settings = self._settings
        if settings.read_preference == "replica" and not settings.replica_dsns:
            raise FailedPrecondition(
                '[storage] read_preference = "replica" needs the connection strings of replicas: set [storage] '
                "replica_dsns"
            )
        return await PostgresEngine.open_database(
            EngineOptions(
                settings.dsn,
                settings.schema,
                replica_dsns=settings.replica_dsns if settings.read_preference == "replica" else (),
                replica_wait_s=settings.replica_wait_s,
                connections=settings.connections,
                writes_per_commit=settings.writes_per_commit,
                statement_timeout_s=settings.statement_timeout_s,
                posting_cache_bytes=settings.posting_cache_bytes,
                approximate_from=settings.approximate_from_records,
                approximate_recall=settings.approximate_recall,
                read_only=settings.read_only,
            )
        )

    def require(self) -> None:
        """Nothing to do: a start sets an empty database up."""

    def holder(self) -> Holder | None:
        return None

    def announce(self, url: str) -> None:
        """Nothing to do: commands open the database themselves, beside the server."""

    def backup(self, to: Path) -> list[str]:
        raise FailedPrecondition(BY_POSTGRES)

    def restore(self, backup: Path) -> list[str]:
        raise FailedPrecondition(BY_POSTGRES)

    def restore_index(self, backup: Path, name: str) -> Path | None:
        raise FailedPrecondition(BY_POSTGRES)

    def check(self, names: list[str]) -> Iterator[Report]:
        raise FailedPrecondition(BY_POSTGRES)

    def repair(self, report: Report, accept: bool) -> str:
        raise FailedPrecondition(BY_POSTGRES)

    def software(self) -> Iterator[Finding]:
        yield Finding("ok", "psycopg", metadata.version("psycopg"))

    def findings(self) -> Iterator[Finding]:
        yield from asyncio.run(database_report.findings(self._settings))


def _location(settings: StorageSettings) -> str:
    """Where the data are, without the password. Raises FailedPrecondition if the connection string cannot be read."""
    try:
        parts = conninfo_to_dict(settings.dsn)
    except ProgrammingError:  # its message may have parts of the password
        raise FailedPrecondition(
            "[storage] dsn is not a connection string of PostgreSQL, such as postgresql://user@host:5432/database or "
            "host=... user=... dbname=...; a % in the password of a URL is written %25"
        ) from None
    host = parts.get("host") or parts.get("service") or "localhost"
    return f"PostgreSQL on {host}, database {parts.get('dbname') or parts.get('user')}, schema {settings.schema}"
