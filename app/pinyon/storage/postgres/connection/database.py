"""Connections to one PostgreSQL server, and transactions on them."""

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal
from weakref import WeakSet

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from pinyon.storage.postgres.connection.bounded_connection import BoundedConnection

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Mode = Literal["read", "write", "snapshot write"]

BEGIN: dict[Mode, str] = {
    "read": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "write": "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    "snapshot write": "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE",
}
"""A read sees one snapshot in all its statements. Writers of an index wait for each other (catalogue.locked_state()),
and then must see what the one before has committed."""
WAIT_S = 15.0
"""How long a request waits for a free connection."""
QUICK_S = 10.0
"""A statement that does nothing, such as BEGIN, takes longer only on a server that hangs."""
GRACE_S = 5.0
"""The server gives up a statement by itself. If it has not after so many more seconds, the connection is ended."""
NO_TIME_S = 0.01
"""As short a wait for a connection as makes the pool connect at all."""
RECONNECTED_FOR_S = 4.0
"""So long the pool tries to replace a lost connection, more and more rarely; afterwards the next request makes one."""
TIMELINE = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END"
"""The number of the primary's history: each promotion begins another. Not every managed service tells it."""
KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""A server that vanished without a word is noticed after this many seconds, not after hours."""

# It warns of each attempt to connect. Pinyon says once that the database does not answer.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class CommitUnknown(psycopg.OperationalError):
    """The connection was lost during a COMMIT, so the transaction is stored as a whole or not at all."""


class FirstQuery:
    """A query without parameters that is sent with the beginning of a transaction, which saves a round trip.

    row: its first row, once the transaction has begun; None if there is none.
    """

    def __init__(self, text: str) -> None:
        self._text = sql.SQL(text)
        self.row: tuple[Any, ...] | None = None

    async def run_after(self, begin: sql.Composed, connection: Connection) -> None:
        """Send both, and read the row."""
        cursor = await connection.execute(begin + sql.SQL("; ") + self._text)
        while cursor.nextset():
            pass
        self.row = await cursor.fetchone()


class Database:
    """A pool of connections. Call open() first and close() at the end.

    dsn: a connection string of libpq. If it has several hosts, connections go to the one that takes writes.
    most: how many connections it opens at the most. timeout_s: after which the server gives up a statement. quick_s:
    how long a transaction may take to begin. wait_s: how long it waits for a free connection; None: WAIT_S.
    patient: whether it waits for a new connection if the one that it got was broken. path: schemas that every
    transaction sees after its own. on_other_history: called when a connection shows that the server's history has
    branched off: a replica has become the primary, and may lack the last writes.
    """

    def __init__(
        self,
        dsn: str,
        most: int,
        timeout_s: float,
        connect_s: float = 5.0,
        quick_s: float = QUICK_S,
        wait_s: float | None = None,
        patient: bool = True,
    ) -> None:
        self.dsn, self.path, self._patient = dsn, list[str](), patient
        self._most, self._timeout_s, self._quick_s = most, timeout_s, quick_s
        self._connections: WeakSet[BoundedConnection] = WeakSet()
        self._timeline: str | None = None
        self.on_other_history: Callable[[], None] = lambda: None
        milliseconds = round(timeout_s * 1000)
        self.arguments: dict[str, Any] = {
            "autocommit": True,
            "prepare_threshold": None,  # works behind a pooler that gives each transaction another connection
            "connect_timeout": round(connect_s),
            "application_name": "pinyon",
            "options": f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout=60000",
            **KEEPALIVE,
            **_wanted_server(dsn),
        }
        self._pool: AsyncConnectionPool[BoundedConnection] = AsyncConnectionPool(
            dsn,
            connection_class=BoundedConnection,
            kwargs=self.arguments,
            configure=self._made,
            min_size=1,
            max_size=most,
            open=False,
            timeout=WAIT_S if wait_s is None else wait_s,
            reconnect_timeout=RECONNECTED_FOR_S,
        )

    async def _made(self, connection: BoundedConnection) -> None:
        self._connections.add(connection)
        connection.answer_within_s = self._quick_s
        with contextlib.suppress(errors.InsufficientPrivilege, errors.FeatureNotSupported, errors.UndefinedFunction):
            row = await (await connection.execute(TIMELINE)).fetchone()
            timeline = None if row is None else row[0]
            if self._timeline is not None and timeline not in (None, self._timeline):
                self.on_other_history()
            self._timeline = timeline or self._timeline

    async def open(self) -> None:
        """Begin to make connections. Does not wait for them."""
        await self._pool.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    def usage(self) -> dict[str, int]:
        """How many connections of the pool are in use and idle, and how many requests wait for one."""
        stats = self._pool.get_stats()
        idle = stats.get("pool_available", 0)
        in_use = stats.get("pool_size", 0) - idle
        return {"in use": in_use, "idle": idle, "waited for": stats.get("requests_waiting", 0)}

    async def connect(self) -> BoundedConnection:
        """A connection of its own, outside the pool. The caller closes it."""
        connection = await BoundedConnection.connect(self.dsn, **self.arguments)
        connection.answer_within_s = self._quick_s
        return connection

    def abandon(self) -> None:
        """End every connection of the pool, because the server hangs. Whoever waits for an answer gets an error."""
        for connection in list(self._connections):
            connection.abandon()

    async def replace_lost(self) -> None:
        """Replace connections of the pool that were lost while they were idle."""
        await self._pool.check()

    async def reconnect(self) -> None:
        """Let the pool connect now for requests that wait, if it has given up: otherwise only the next request does."""
        with contextlib.suppress(PoolTimeout):  # the requests that wait come first
            await self._pool.putconn(await self._pool.getconn(timeout=NO_TIME_S))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection outside any transaction, for statements that must run so. Without a statement timeout."""
        async with self._pool.connection() as connection:
            connection.answer_within_s = self._quick_s
            await connection.execute("SET statement_timeout = 0")
            connection.answer_within_s = None
            try:
                yield connection
            finally:
                connection.answer_within_s = self._quick_s
                if not connection.closed:
                    await connection.execute(f"SET statement_timeout = {round(self._timeout_s * 1000)}")

    @asynccontextmanager
    async def transaction(
        self,
        schema: str | None = None,
        mode: Mode = "read",
        timeout_s: float | None = None,
        first: "FirstQuery | None" = None,
    ) -> AsyncIterator[Connection]:
        """A transaction that sees the tables of this schema, then those of `path`. None: only the latter.

        timeout_s: of each statement, if it is not that of the database; 0: none. first: is run before the body. Commits
        at the end; rolls back if the body raises.
        """
        names = sql.SQL(", ").join(map(sql.Identifier, ([] if schema is None else [schema]) + self.path))
        begin = sql.SQL(BEGIN[mode]) + sql.SQL("; SET LOCAL search_path TO ") + names
        if timeout_s is not None:
            begin += sql.SQL(f"; SET LOCAL statement_timeout = {round(timeout_s * 1000)}")
        connection = await self._begun(begin, mode, first)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            connection.answer_within_s = limit_s + GRACE_S if limit_s else None
            yield connection
            await self._commit(connection, mode)
        except BaseException as error:
            connection.answer_within_s = self._quick_s
            with contextlib.suppress(psycopg.Error):
                await connection.rollback()
            if isinstance(error, errors.ReadOnlySqlTransaction):
                await connection.close()  # the server has become a standby: the next connection finds the primary
            raise
        finally:
            await self._pool.putconn(connection)

    async def _commit(self, connection: BoundedConnection, mode: Mode) -> None:
        connection.warnings.clear()
        try:
            await connection.execute("COMMIT")
        except psycopg.OperationalError as error:
            if mode != "read" and connection.closed:
                raise CommitUnknown(str(error)) from error
            raise
        if mode != "read" and connection.warnings:
            # The server waited too long for a synchronous standby: the write is on its own disk, and on no other.
            raise CommitUnknown(connection.warnings[0])

    async def _begun(self, begin: sql.Composed, mode: Mode, first: "FirstQuery | None") -> BoundedConnection:
        """A connection on which a transaction has begun. Connections that broke while they were idle are left out.

        So are, for a write, those to a server that has become a standby.
        """
        for _ in range(self._most + 1):
            connection = await self._pool.getconn()
            connection.answer_within_s = self._quick_s
            try:
                if first is None:
                    await connection.execute(begin)
                else:
                    await first.run_after(begin, connection)
                return connection
            except BaseException as error:
                with contextlib.suppress(psycopg.Error):
                    await connection.rollback()
                if mode != "read" and isinstance(error, errors.FeatureNotSupported):
                    await connection.close()
                    error = errors.ReadOnlySqlTransaction(str(error))
                await self._pool.putconn(connection)
                is_lost = isinstance(error, psycopg.OperationalError) and connection.closed
                is_useless = is_lost or isinstance(error, errors.ReadOnlySqlTransaction)
                if connection.is_abandoned or not (is_useless and self._patient):
                    raise
        raise psycopg.OperationalError("every connection broke at once")


def _wanted_server(dsn: str) -> dict[str, str]:
    """Which of several hosts connections go to, if the connection string does not say it."""
    hosts = str(conninfo_to_dict(dsn).get("host", ""))
    is_said = "target_session_attrs" in conninfo_to_dict(dsn) or "PGTARGETSESSIONATTRS" in os.environ
    return {"target_session_attrs": "read-write"} if "," in hosts and not is_said else {}
