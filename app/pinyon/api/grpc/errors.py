"""The gRPC status code of each error."""

from pinyon.errors import (
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    MethodNotAllowed,
    NotFound,
    PermissionDenied,
    PinyonError,
    ResourceExhausted,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

CODES: dict[type[PinyonError], int] = {
    InvalidArgument: 3,
    DeadlineExceeded: 4,
    NotFound: 5,
    AlreadyExists: 6,
    PermissionDenied: 7,
    ResourceExhausted: 8,
    FailedPrecondition: 9,
    # Not RESOURCE_EXHAUSTED: clients would retry.
    TooLarge: 11,
    MethodNotAllowed: 12,
    Unimplemented: 12,
    Internal: 13,
    Unavailable: 14,
    DataLoss: 15,
    Unauthenticated: 16,
}
"""Status code of each class. A subclass without an entry has that of its parent."""


def code(error: PinyonError) -> int:
    """The gRPC status code of an error."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
