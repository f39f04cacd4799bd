"""Connections to one PostgreSQL server, and transactions on them."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Mode = Literal["read", "write", "snapshot write"]

BEGIN: dict[Mode, str] = {
    "read": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "write": "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    "snapshot write": "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE",
}
"""A read sees one snapshot in all its statements. Writers of an index wait for each other (catalogue.locked_state()),
and then must see what the one before has committed."""
WAIT_S = 5.0
"""How long a request waits for a free connection."""
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""A server that vanished without a word is noticed after this many seconds, not after hours."""


class Database:
    """A pool of connections. Call open() first and close() at the end.

    dsn: a connection string of libpq. most: how many connections it opens at the most. timeout_s: after which the
    server gives up a statement. path: schemas that every transaction sees after its own.
    """

    def __init__(self, dsn: str, most: int, timeout_s: float, connect_s: float = 5.0) -> None:
        self.dsn, self.path = dsn, list[str]()
        self._most, self._timeout_s = most, timeout_s
        milliseconds = round(timeout_s * 1000)
        self.arguments: dict[str, Any] = {
            "autocommit": True,
            "prepare_threshold": None,  # works behind a pooler that gives each transaction another connection
            "connect_timeout": round(connect_s),
            "application_name": "pinyon",
            "options": f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout=60000",
            **KEEPALIVE,
        }
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            kwargs=self.arguments,
            min_size=1,
            max_size=most,
            open=False,
            timeout=WAIT_S,
            reconnect_timeout=30,
        )

    async def open(self) -> None:
        """Begin to make connections. Does not wait for them."""
        await self._pool.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def connect(self) -> Connection:
        """A connection of its own, outside the pool. The caller closes it."""
        return await psycopg.AsyncConnection.connect(self.dsn, **self.arguments)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection outside any transaction, for statements that must run so. Without a statement timeout."""
        async with self._pool.connection() as connection:
            await connection.execute("SET statement_timeout = 0")
            try:
                yield connection
            finally:
                if not connection.closed:
                    await connection.execute(f"SET statement_timeout = {round(self._timeout_s * 1000)}")

    @asynccontextmanager
    async def transaction(
        self, schema: str | None = None, mode: Mode = "read", timeout_s: float | None = None
    ) -> AsyncIterator[Connection]:
        """A transaction that sees the tables of this schema, then those of `path`. None: only the latter.

        timeout_s: of each statement, if it is not that of the database; 0: none. Commits at the end; rolls back if the
        body raises.
        """
        names = sql.SQL(", ").join(map(sql.Identifier, ([] if schema is None else [schema]) + self.path))
        begin = sql.SQL(BEGIN[mode]) + sql.SQL("; SET LOCAL search_path TO ") + names
        if timeout_s is not None:
            begin += sql.SQL(f"; SET LOCAL statement_timeout = {round(timeout_s * 1000)}")
        connection = await self._begun(begin)
        try:
            yield connection
            await connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                await connection.rollback()
            raise
        finally:
            await self._pool.putconn(connection)

    async def _begun(self, begin: sql.Composed) -> Connection:
        """A connection on which a transaction has begun. Connections that broke while they were idle are left out."""
        for _ in range(self._most + 1):
            connection = await self._pool.getconn()
            try:
                await connection.execute(begin)
                return connection
            except BaseException as error:
                with contextlib.suppress(psycopg.Error):
                    await connection.rollback()
                await self._pool.putconn(connection)
                if not (isinstance(error, psycopg.OperationalError) and connection.closed):
                    raise
        raise psycopg.OperationalError("every connection broke at once")
