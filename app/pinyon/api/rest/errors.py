"""Turns errors into REST responses: one table of codes, and the bodies of the data plane and the control plane."""

import logging
from typing import Any

from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException

from pinyon.api.rest.bodies import camel_case
from pinyon.api.rest.schemas.record_schemas import ErrorDetail, ErrorResponse, RpcStatus
from pinyon.errors import (
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InUse,
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
    Unprocessable,
)

log = logging.getLogger("pinyon.rest")

STATUS: dict[type[PinyonError], tuple[int, int]] = {
    InvalidArgument: (400, 3),
    Unprocessable: (422, 3),
    Unauthenticated: (401, 16),
    PermissionDenied: (403, 7),
    NotFound: (404, 5),
    MethodNotAllowed: (405, 12),
    AlreadyExists: (409, 6),
    Unimplemented: (501, 12),
    DeadlineExceeded: (504, 4),
    # Not 5xx: clients would retry, and waiting does not help if weights are missing.
    FailedPrecondition: (400, 9),
    InUse: (412, 9),
    Internal: (500, 13),
    Unavailable: (503, 14),
    ResourceExhausted: (429, 8),
    DataLoss: (500, 15),
}
"""HTTP status and rpcStatus code of each class. A subclass without an entry has those of its parent."""

CAMEL_CASE = ("/vectors/", "/query", "/bulk/")
"""Paths that begin like this have fields in camelCase."""
CONTROL_PLANE = (
    "/indexes",
    "/collections",
    "/backups",
    "/backup-schedules",
    "/restore-jobs",
    "/embed",
    "/rerank",
    "/models",
)
"""Errors of paths that begin like this have the body of the control plane."""


def codes(error: PinyonError) -> tuple[int, int]:
    """HTTP status and rpcStatus code of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def wire(path: str, error: PinyonError) -> tuple[int, RpcStatus | ErrorResponse, dict[str, str]]:
    """HTTP status, body and headers of an error on this path."""
    status, code = codes(error)
    headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Unavailable) else {}
    if "/" + path.lstrip("/").split("/", 1)[0] in CONTROL_PLANE:
        name = "FORBIDDEN" if isinstance(error, PermissionDenied) else error.code
        return status, ErrorResponse(ErrorDetail(name, error.message), status), headers
    return status, RpcStatus(code, error.message, []), headers


def response(path: str, error: PinyonError, headers: dict[str, str] | None = None) -> Response[Any]:
    """The response to an error on this path."""
    status, body, own = wire(path, error)
    return Response(body, status_code=status, headers={**(headers or {}), **own}, media_type=MediaType.JSON)


def on_pinyon_error(request: Request[Any, Any, Any], error: PinyonError) -> Response[Any]:
    """Handle a PinyonError."""
    if request.scope["path"].startswith(CAMEL_CASE):
        error.message = camel_case(error.message)
    return response(request.scope["path"], error)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Handle an error of the framework: unknown route, wrong method, malformed request."""
    return response(request.scope["path"], as_pinyon_error(request, error), error.headers)


def as_pinyon_error(request: Request[Any, Any, Any], error: HTTPException) -> PinyonError:
    """An error of the framework as one of the family."""
    method, path = request.scope["method"], request.scope["path"]
    match error.status_code:
        case 404:
            return NotFound(f"There is no route {path}")
        case 405:
            allowed = (error.headers or {}).get("Allow") or (error.headers or {}).get("allow", "another one")
            return MethodNotAllowed(f"{method} is not allowed on {path}; allowed: {allowed}")
        case 413:
            return TooLarge("The request body exceeds the maximum supported size")
        case status if status < 500:
            return InvalidArgument(error.detail)
    log.error("framework error on %s %s: %s", method, path, error.detail)
    return Internal("Internal error; the log has the details")


def on_unexpected_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Handle a defect of Pinyon: all details go to the log, none to the caller."""
    log.error("unexpected error on %s %s", request.scope["method"], request.scope["path"], exc_info=error)
    return response(request.scope["path"], Internal("Internal error; the log has the details"))


def on_recursion(request: Request[Any, Any, Any], error: RecursionError) -> Response[Any]:
    """Handle JSON that can be read, but is nested too deeply to be written into a response."""
    return response(request.scope["path"], InvalidArgument("The JSON of the request is nested too deeply"))


EXCEPTION_HANDLERS: dict[Any, Any] = {
    RecursionError: on_recursion,
    PinyonError: on_pinyon_error,
    HTTPException: on_http_error,
    Exception: on_unexpected_error,
}
