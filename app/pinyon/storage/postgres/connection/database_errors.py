"""What PostgreSQL's errors mean to callers: the one table of them."""

import contextlib
import logging
import time
from collections.abc import Iterator

import psycopg
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from pinyon.errors import DataLoss, FailedPrecondition, NotFound, PinyonError, Unavailable
from pinyon.storage.postgres.connection.database import CommitUnknown

log = logging.getLogger("pinyon.storage")

RETRY_AFTER_S = 2
"""When a caller should try again after the database did not answer."""
SILENT_S = 60.0
"""An error is logged again when it did not come for so long."""
OUTAGES = ("08", "57P")
"""How the codes of errors begin that end a connection."""
_last_seen: dict[str, float] = {}
"""When an error of each kind came last, on the monotonic clock."""


@contextlib.contextmanager
def translated(what: str, says_why: bool = False) -> Iterator[None]:
    """Turns PostgreSQL's errors into those of pinyon.errors. what: for the message, such as 'Index docs'.

    says_why: the message has what PostgreSQL says when it does not answer. That is for whoever runs the server, because
    it names hosts and roles; it never has the password.

    An error that is not in the table is a defect of Pinyon, and stays as it is.
    """
    try:
        yield
    except (psycopg.Error, PoolClosed) as error:
        meaning = meaning_of(error, what)
        if meaning is None:
            raise
        if says_why and isinstance(meaning, Unavailable):
            raise Unavailable(f"{what} does not answer: {_first_line(error)}", RETRY_AFTER_S) from error
        if not isinstance(meaning, NotFound):
            complain(error)
        raise meaning from error


def complain(error: Exception) -> None:
    """Log an error of the database. An outage is one line, and not one for each request."""
    kind, now = "outage" if _is_outage(error) else type(error).__name__, time.monotonic()
    is_new = now - _last_seen.get(kind, -SILENT_S) >= SILENT_S
    _last_seen[kind] = now
    is_known = isinstance(error, psycopg.Error | PoolClosed)
    level = logging.WARNING if is_new else logging.DEBUG
    log.log(level, "%s: %s", type(error).__name__, _first_line(error), exc_info=None if is_known else error)


def _is_outage(error: Exception) -> bool:
    """Whether the server was not reached, or ended the connection."""
    state = error.sqlstate if isinstance(error, psycopg.OperationalError) else None
    return isinstance(error, psycopg.OperationalError) and (state is None or state.startswith(OUTAGES))


def answers_again() -> None:
    """Log that an outage is over. The next one is logged whenever it comes."""
    _last_seen.clear()
    log.info("the database answers again")


def meaning_of(error: Exception, what: str) -> PinyonError | None:
    """The error that callers see. None for a defect of Pinyon."""
    match error:
        case CommitUnknown():
            return Unavailable(
                "The connection to the database was lost while it stored this write, which may or may not be stored, "
                "but never in part. Repeating an upsert, an update or a deletion is safe",
                RETRY_AFTER_S,
            )
        case PoolTimeout() | TooManyRequests():
            return Unavailable("No connection to the database was free in time, or it does not answer; try again", 1)
        case PoolClosed():
            return Unavailable("The server is stopping")
        case errors.UndefinedTable() | errors.InvalidSchemaName():
            # Another process deleted the index after this one had looked it up.
            return NotFound(f"{what} not found.")
        case errors.QueryCanceled():
            return Unavailable("The database took too long for this request ([storage] statement_timeout_s)", 1)
        case errors.DiskFull() | errors.OutOfMemory() | errors.InsufficientResources():
            return Unavailable(f"The database has no room: {_first_line(error)}", 10)
        case errors.ReadOnlySqlTransaction():
            return Unavailable("The database takes no writes now: it is a standby or is being replaced", RETRY_AFTER_S)
        case errors.SerializationFailure() | errors.DeadlockDetected() | errors.LockNotAvailable():
            return Unavailable("The database could not order two changes; try again", 1)
        case errors.DataCorrupted() | errors.IndexCorrupted():
            return DataLoss(f"The database reports damaged data: {_first_line(error)}")
        case errors.InsufficientPrivilege():
            return FailedPrecondition(
                f"The database role has too few rights: {_first_line(error)}; see docs/scale.md for what it needs"
            )
        case errors.DuplicateSchema() | errors.DuplicateTable():
            return FailedPrecondition(
                f"The database has something of another program where {what} needs room: {_first_line(error)}; give "
                "Pinyon another schema ([storage] schema) or a database of its own"
            )
        case psycopg.OperationalError() | psycopg.InterfaceError():
            # Connections that were refused or lost, a server that starts or stops, too many clients.
            return Unavailable("The database does not answer now; try again", RETRY_AFTER_S)
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
