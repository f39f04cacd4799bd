"""Answers to requests that never reach a handler, in the protocol they came in."""

from typing import Any

import msgspec

from pinyon.api.grpc import calls
from pinyon.api.rest import errors
from pinyon.errors import PinyonError


def is_grpc(scope: Any) -> bool:
    """Whether a request is a gRPC call; over HTTP/1.1, which has no trailers, it cannot be one."""
    return scope["http_version"] == "2" and any(
        name == b"content-type"
        and value.lower().startswith(calls.CONTENT_TYPE)
        and not value.startswith(b"application/grpc-web")
        for name, value in scope["headers"]
    )


async def refuse(scope: Any, send: Any, error: PinyonError) -> None:
    """Answer with the error."""
    if is_grpc(scope):
        await calls.fail(scope, send, error)
        return
    status, content, more = errors.wire(scope["path"], error)
    body = msgspec.json.encode(content)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **more}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
