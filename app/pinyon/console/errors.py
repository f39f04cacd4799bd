"""Shows errors as pages, with the same status codes as in the API."""

import logging
from typing import Any

from litestar import Response
from litestar.exceptions import HTTPException

from pinyon.api.rest import errors
from pinyon.console.pages import AnyRequest, page
from pinyon.errors import Internal, PinyonError, Unavailable

log = logging.getLogger("pinyon.console")


def on_pinyon_error(request: AnyRequest, error: PinyonError) -> Response[str]:
    """A page that says what was wrong."""
    status, _ = errors.codes(error)
    response = page(request, "error.html", title="That did not work", status=status, message=error.message)
    if isinstance(error, Unavailable):
        response.headers["retry-after"] = str(error.retry_after_s)
    return response


def on_http_error(request: AnyRequest, error: HTTPException) -> Response[str]:
    """An error of the framework: a wrong method, or a form that cannot be read."""
    return on_pinyon_error(request, errors.as_pinyon_error(request, error))


def on_unexpected_error(request: AnyRequest, error: Exception) -> Response[str]:
    """A defect of Pinyon: all details go to the log, none to the browser."""
    log.error("unexpected error on %s %s", request.scope["method"], request.scope["path"], exc_info=error)
    return on_pinyon_error(request, Internal("Internal error; the log has the details"))


EXCEPTION_HANDLERS: dict[Any, Any] = {
    PinyonError: on_pinyon_error,
    HTTPException: on_http_error,
    Exception: on_unexpected_error,
}
