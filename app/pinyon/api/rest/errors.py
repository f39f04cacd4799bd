"""Errors on the wire: one table of codes, two bodies (data plane and control plane), one place for surprises."""

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
    # 400 and not 5xx, which clients retry: waiting does not bring weights.
    FailedPrecondition: (400, 9),
    Internal: (500, 13),
    Unavailable: (503, 14),
    ResourceExhausted: (429, 8),
    DataLoss: (500, 15),
}
"""HTTP status and rpcStatus code of each class; a subclass has its parent's."""

CAMEL_CASE = ("/vectors/", "/query")
"""Beginnings of paths whose fields are in camelCase."""
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
"""First path segments whose errors have the control plane's body."""


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
    """The answer for an error on this path."""
    status, body, own = wire(path, error)
    return Response(body, status_code=status, headers={**(headers or {}), **own}, media_type=MediaType.JSON)


def on_pinyon_error(request: Request[Any, Any, Any], error: PinyonError) -> Response[Any]:
    """Answer an error of our own family."""
    if request.scope["path"].startswith(CAMEL_CASE):
        error.message = camel_case(error.message)
    return response(request.scope["path"], error)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer what the framework refuses: no such route, wrong method, a body that does not fit."""
    return response(request.scope["path"], _own(request, error), error.headers)


def _own(request: Request[Any, Any, Any], error: HTTPException) -> PinyonError:
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


def on_surprise(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer a defect of ours: everything to the log, nothing to the caller."""
    log.error("unexpected error on %s %s", request.scope["method"], request.scope["path"], exc_info=error)
    return response(request.scope["path"], Internal("Internal error; the log has the details"))


def on_recursion(request: Request[Any, Any, Any], error: RecursionError) -> Response[Any]:
    """Answer JSON that can just be read, and is nested too deeply to be written into an answer."""
    return response(request.scope["path"], InvalidArgument("The JSON of the request is nested too deeply"))


EXCEPTION_HANDLERS: dict[Any, Any] = {
    RecursionError: on_recursion,
    PinyonError: on_pinyon_error,
    HTTPException: on_http_error,
    Exception: on_surprise,
}
