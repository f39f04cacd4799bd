"""Handles request lines with a whole URL, as proxies send them, and the method HEAD."""

import re
from typing import Any
from urllib.parse import unquote

from pinyon.api.error_response import is_grpc, send_error
from pinyon.errors import InvalidArgument

_WHOLE_URL = re.compile(rb"\Ahttps?://([^/?#]*)([^?#]*)", re.IGNORECASE)


class RequestLine:
    """ASGI wrapper: the application sees a path, the valid Host header, and GET for HEAD, whose body is not sent."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not is_grpc(scope):
            if _is_framed_twice(scope):
                await _send_error_and_close(scope, send)
                return
            scope = _with_path_only(scope)
            if scope["method"] == "HEAD":
                scope, send = {**scope, "method": "GET"}, _without_body(send)
        await self._app(scope, receive, send)


def _is_framed_twice(scope: Any) -> bool:
    """Whether a request gives its length in two ways. A proxy may use the other one (RFC 9112, section 6.1)."""
    names = {name for name, _ in scope["headers"]}
    return b"content-length" in names and b"transfer-encoding" in names


async def _send_error_and_close(scope: Any, send: Any) -> None:
    async def send_and_close(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    message = "A request has Content-Length or Transfer-Encoding, not both; the connection is closed"
    await send_error(scope, send_and_close, InvalidArgument(message))


def _with_path_only(scope: Any) -> Any:
    """The scope with only a path. The URL's authority replaces the Host header (RFC 9112, section 3.2.2)."""
    url = _WHOLE_URL.match(scope.get("raw_path") or b"")
    if url is None:
        return scope
    raw_path = url[2] or b"/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "raw_path": raw_path,
        "path": unquote(raw_path.decode("latin-1")),
        "headers": [*headers, (b"host", url[1])],
    }


def _without_body(send: Any) -> Any:
    async def send_head(message: Any) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
