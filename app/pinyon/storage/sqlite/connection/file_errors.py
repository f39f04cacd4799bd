"""Turns errors of SQLite about a file into errors of Pinyon's own family."""

import struct
from pathlib import Path

import apsw
import msgspec

from pinyon.errors import DataLoss, FailedPrecondition, Internal, PinyonError, Unavailable

DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, struct.error)
"""Raised by decoding a stored value that has changed since it was stored."""
DAMAGED_READS = (apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_CORRUPTFS, apsw.SQLITE_IOERR_SHORT_READ)
"""SQLite's codes for a page whose checksum is wrong, and for a page that is not complete."""


def translated(error: apsw.Error, path: Path) -> PinyonError:
    """The error of Pinyon's own family for an error of SQLite."""
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return Unavailable(f"The file {path.name} is busy")
        case apsw.FullError():
            return Unavailable("The disk is full; nothing was written", retry_after_s=30)
        case apsw.CantOpenError():
            return Unavailable(f"The file {path.name} cannot be opened now", retry_after_s=5)
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return FailedPrecondition(f"The file {path.name} cannot be written")
        case apsw.CorruptError() | apsw.NotADBError():
            return damaged(path)
        case apsw.IOError() if getattr(error, "extendedresult", 0) in DAMAGED_READS:
            return damaged(path, "a page is not as it was written")
        case apsw.IOError():
            return Unavailable("The disk did not take or give the data", retry_after_s=5)
    return Internal(f"The file {path.name} could not be used in a way it should; the log has the details")


def unexpected(path: Path, error: Exception) -> DataLoss:
    """The error for a file that cannot be opened for an unknown reason. Most likely its content is damaged."""
    return damaged(path, f"opening it failed with {type(error).__name__}; the log says where")


def damaged(path: Path, how: str = "") -> DataLoss:
    """The error for a file that is not as it was written."""
    return DataLoss(
        f"The file {path.name} is damaged{f' ({how})' if how else ''}; restore it from a backup, or see what "
        f"`pinyon check {path.stem}` finds. Nothing of it was changed"
    )
