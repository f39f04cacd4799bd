"""What PostgreSQL's errors mean to callers: the one table of them."""

import contextlib
import logging
from collections.abc import Iterator

import psycopg
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from pinyon.errors import DataLoss, FailedPrecondition, NotFound, PinyonError, Unavailable

log = logging.getLogger("pinyon.storage")

RETRY_AFTER_S = 2
"""When a caller should try again after the database did not answer."""


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns PostgreSQL's errors into those of pinyon.errors. what: for the message, such as 'Index docs'.

    An error that is not in the table is a defect of Pinyon, and stays as it is.
    """
    try:
        yield
    except (psycopg.Error, PoolClosed) as error:
        meaning = meaning_of(error, what)
        if meaning is None:
            raise
        if not isinstance(meaning, NotFound):
            log.warning("%s: %s", type(error).__name__, str(error).strip())
        raise meaning from error


def meaning_of(error: Exception, what: str) -> PinyonError | None:
    """The error that callers see. None for a defect of Pinyon."""
    match error:
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
        case psycopg.OperationalError() | psycopg.InterfaceError():
            # Connections that were refused or lost, a server that starts or stops, too many clients.
            return Unavailable("The database does not answer now; try again", RETRY_AFTER_S)
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
