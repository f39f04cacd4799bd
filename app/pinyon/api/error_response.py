"""Error responses to requests that reach no handler, in the protocol of the request."""

from typing import Any

import msgspec

from pinyon.api.grpc import calls
from pinyon.api.rest import errors
from pinyon.errors import PinyonError


def is_grpc(scope: Any) -> bool:
    """Whether a request is a gRPC call. Over HTTP/1.1, which has no trailers, it cannot be one."""
    return scope["http_version"] == "2" and any(
        name == b"content-type"
        and value.lower().startswith(calls.CONTENT_TYPE)
        and not value.startswith(b"application/grpc-web")
        for name, value in scope["headers"]
    )


async def send_error(scope: Any, send: Any, error: PinyonError) -> None:
    """Send the error as the response."""
    if is_grpc(scope):
        await calls.send_error(scope, send, error)
        return
    status, content, error_headers = errors.wire(scope["path"], error)
    body = msgspec.json.encode(content)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error_headers}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
