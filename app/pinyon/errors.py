"""The one family of errors that callers of Pinyon can see; knows no protocol.

PinyonError
├── InvalidArgument       the request itself is wrong; sending it again will not help
│   ├── Unprocessable     its JSON has not the shape that is asked for
│   └── TooLarge          it has more bytes than are taken
├── Unauthenticated       no API key, or one that is not known
├── NotFound              the named index, namespace, model or route does not exist
├── AlreadyExists         the name is taken
├── FailedPrecondition    the request is fine, the installation is not ready for it (weights absent, folder in use)
├── PermissionDenied      this may not be done here: protected, refused to this caller, or no room left for it
├── ResourceExhausted     this caller asks more often than it may; later it may again
├── MethodNotAllowed      the route exists, the HTTP method does not
├── Unimplemented         there is no such gRPC method or encoding
├── DeadlineExceeded      the caller's time was over before the answer was there
├── Unavailable           not now (starting, stopping, overloaded); trying again later will help
│   └── VersionConflict   somebody else changed it first; read it again, then try again
├── DataLoss              the file on disk is damaged
└── Internal              a defect of Pinyon's own; details go to the log, never to the caller

Each protocol has one table from these classes to its own codes.
"""

import json
from typing import ClassVar

LONGEST_MESSAGE = 2_000
"""Characters: messages repeat names of requests, which may be megabytes."""


class PinyonError(Exception):
    """Base class. `message` says what was wrong, where, and what is allowed; a long one is cut in the middle."""

    code: ClassVar[str] = "UNKNOWN"

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[: LONGEST_MESSAGE - 500]} ... {message[-495:]}"
        super().__init__(message)
        self.message = message


class InvalidArgument(PinyonError):
    """The request itself is wrong; sending it again will not help."""

    code = "INVALID_ARGUMENT"


class TextTooLong(InvalidArgument):
    """One text of a batch is over the model's limit and must not be cut.

    position: which text of the batch, from 0, so that the caller can name the record it came from.
    """

    def __init__(self, position: int, tokens: int, limit: int, model: str) -> None:
        super().__init__(
            f"Input at position {position} has {tokens} tokens, which exceeds the maximum of {limit} tokens for "
            f"model '{model}'; shorten it or set truncate to END"
        )
        self.position, self.tokens, self.limit, self.model = position, tokens, limit, model


class Unprocessable(InvalidArgument):
    """The JSON of the request has not the shape that is asked for."""

    code = "UNPROCESSABLE_ENTITY"


class TooLarge(InvalidArgument):
    """The request, or its answer, has more bytes than are taken."""


class Unauthenticated(PinyonError):
    """No API key, or one that is not known."""

    code = "UNAUTHENTICATED"


class NotFound(PinyonError):
    """The named thing does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(PinyonError):
    """The name is taken."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(PinyonError):
    """The request is fine, the installation is not ready for it."""

    code = "FAILED_PRECONDITION"


class EmbeddedOtherwise(FailedPrecondition):
    """The vector comes from another model than the records of the index."""


class PermissionDenied(PinyonError):
    """This may not be done here: protected, refused to this caller, or no room left for it."""

    code = "PERMISSION_DENIED"


class MethodNotAllowed(PinyonError):
    """The route exists, the HTTP method does not."""

    code = "UNIMPLEMENTED"


class Unimplemented(PinyonError):
    """There is no such gRPC method or encoding."""

    code = "UNIMPLEMENTED"


class DeadlineExceeded(PinyonError):
    """The caller's time was over before the answer was there."""

    code = "DEADLINE_EXCEEDED"


class Unavailable(PinyonError):
    """Not now; trying again after `retry_after_s` seconds will help."""

    code = "UNAVAILABLE"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class VersionConflict(Unavailable):
    """The index is not at the version that the change was made for. Read it again, then try again."""


class ResourceExhausted(Unavailable):
    """This caller asks more often than it may; after `retry_after_s` seconds it may again."""

    code = "RESOURCE_EXHAUSTED"


class DataLoss(PinyonError):
    """The file on disk is damaged."""

    code = "DATA_LOSS"


class Internal(PinyonError):
    """A defect of Pinyon's own."""

    code = "INTERNAL"


def shown(value: object, longest: int) -> str:
    """A JSON value for a message, cut to `longest` characters and "..."."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=repr)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= longest else text[:longest] + "..."
