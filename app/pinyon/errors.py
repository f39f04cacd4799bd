"""All errors that callers of Pinyon can see. They know no protocol.

PinyonError
├── InvalidArgument       the request is wrong; sending it again does not help
│   ├── Unprocessable     the JSON does not have the required shape
│   └── TooLarge          the request has too many bytes
├── Unauthenticated       the API key is missing or unknown
├── NotFound              the named index, namespace, model or route does not exist
├── AlreadyExists         the name is taken
├── FailedPrecondition    the request is correct, but the installation is not ready (weights missing, folder in use)
│   ├── InUse             what is to be deleted is being used
│   ├── LeaseLost         another owner does the job by now
│   └── EmbeddingMismatch the vector comes from another model than the vectors of the index
├── PermissionDenied      the action is not allowed: protected, outside the rights of the key, or no room left
├── MethodNotAllowed      the route exists, but not with this HTTP method
├── Unimplemented         there is no such gRPC method or encoding
├── DeadlineExceeded      the deadline of the caller passed before the answer was ready
├── Unavailable           the server is starting, stopping or overloaded; try again later
│   ├── VersionConflict   the index was changed at the same time; read it again, then try again
│   └── ResourceExhausted the caller sends too many requests; try again later
├── DataLoss              the file on disk is damaged
└── Internal              a defect of Pinyon; details go to the log, never to the caller

Each protocol has one table that maps these classes to its own codes.
"""

import json
from typing import ClassVar

LONGEST_MESSAGE = 2_000
"""Longest message, in characters. Messages repeat names from requests, which may have megabytes."""


class PinyonError(Exception):
    """Base class. `message` says what was wrong, where, and what is allowed. Long messages are cut in the middle."""

    code: ClassVar[str] = "UNKNOWN"

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[: LONGEST_MESSAGE - 500]} ... {message[-495:]}"
        super().__init__(message)
        self.message = message


class InvalidArgument(PinyonError):
    """The request is wrong. Sending it again does not help."""

    code = "INVALID_ARGUMENT"


class TextTooLong(InvalidArgument):
    """One text of a batch is longer than the model's limit and must not be cut.

    position: the place of the text in the batch, from 0. The caller uses it to name the record.
    """

    def __init__(self, position: int, tokens: int, limit: int, model: str) -> None:
        super().__init__(
            f"Input at position {position} has {tokens} tokens, which exceeds the maximum of {limit} tokens for "
            f"model '{model}'; shorten it or set truncate to END"
        )
        self.position, self.tokens, self.limit, self.model = position, tokens, limit, model


class Unprocessable(InvalidArgument):
    """The JSON of the request does not have the required shape."""

    code = "UNPROCESSABLE_ENTITY"


class TooLarge(InvalidArgument):
    """The request, or its answer, has more bytes than are allowed."""


class Unauthenticated(PinyonError):
    """The API key is missing or unknown."""

    code = "UNAUTHENTICATED"


class NotFound(PinyonError):
    """The named thing does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(PinyonError):
    """The name is taken."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(PinyonError):
    """The request is correct, but the installation is not ready for it."""

    code = "FAILED_PRECONDITION"


class InUse(FailedPrecondition):
    """What is to be deleted is being used. Try again when it is not."""


class LeaseLost(FailedPrecondition):
    """The caller does not have the lease any more, so another owner may be doing the job by now."""


class EmbeddingMismatch(FailedPrecondition):
    """The vector comes from another model than the vectors of the index."""


class PermissionDenied(PinyonError):
    """The action is not allowed: it is protected, outside the rights of the API key, or there is no room left."""

    code = "PERMISSION_DENIED"


class MethodNotAllowed(PinyonError):
    """The route exists, but not with this HTTP method."""

    code = "UNIMPLEMENTED"


class Unimplemented(PinyonError):
    """There is no such gRPC method or encoding."""

    code = "UNIMPLEMENTED"


class DeadlineExceeded(PinyonError):
    """The deadline of the caller passed before the answer was ready."""

    code = "DEADLINE_EXCEEDED"


class Unavailable(PinyonError):
    """The server cannot answer now. Try again after `retry_after_s` seconds."""

    code = "UNAVAILABLE"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class VersionConflict(Unavailable):
    """What was to be changed is not at the version that the change was made for. Read it again, then try again."""


class ResourceExhausted(Unavailable):
    """The caller sends too many requests. It may send the next one after `retry_after_s` seconds."""

    code = "RESOURCE_EXHAUSTED"


class DataLoss(PinyonError):
    """The file on disk is damaged."""

    code = "DATA_LOSS"


class Internal(PinyonError):
    """A defect of Pinyon."""

    code = "INTERNAL"


def shown(value: object, longest: int) -> str:
    """A JSON value as text for a message. Text over `longest` characters is cut and ends in "..."."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=repr)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= longest else text[:longest] + "..."
