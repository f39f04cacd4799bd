"""Decides who may talk to the server, before anything else happens to a request.

If there are API keys, a request needs one. If there are none, only programs on this machine may send requests, but not
web pages that a browser on this machine shows. A web page of any origin can send a text/plain POST to http://localhost,
and it can read the answers if its own host name resolves to 127.0.0.1 (DNS rebinding). Programs name this machine in
the Host header and send no Origin header; web pages do not.
"""

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from pinyon.api.error_response import is_grpc, send_error
from pinyon.api.request_buffer import read
from pinyon.auth.callers import Caller
from pinyon.auth.permissions import EVERYTHING, GRANT, Grant
from pinyon.errors import PermissionDenied, PinyonError, Unauthenticated

PUBLIC_PATHS = ("/health", "/ready")
"""Paths that need no API key."""
NOTHING = Grant(frozenset())
"""The rights of a request without an API key."""
DRAIN_S = 10.0
"""The body of a refused request is read for so many seconds, so that the client receives the error response."""


class Guard:
    """ASGI wrapper that refuses requests, or sets the rights of their API key for everything behind it.

    required: whether requests need an API key. caller: the owner of a key, or None if the key is unknown. Both are
    called for every request. local: without keys, only programs on this machine may send requests, and only under its
    own names and `host`. origins: the web pages that may send requests; "*" in preflight requests stands for all.
    page_key: called with the path and the Cookie header; returns None if the path is no page of the console, or the key
    of whoever is logged in there, or "". A page without a valid key is answered all the same, without any rights.
    """

    def __init__(
        self,
        app: Any,
        required: Callable[[], bool],
        caller: Callable[[str], Caller | None],
        local: bool,
        host: str,
        origins: Sequence[str] = (),
        page_key: Callable[[str, str], str | None] | None = None,
    ) -> None:
        self._app, self._required, self._caller = app, required, caller
        self._local, self._host, self._origins, self._page_key = local, host, origins, page_key

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            error, grant = None, EVERYTHING
            try:
                grant = self._admit(scope)
            except PinyonError as raised:
                error = raised
            if error is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(DRAIN_S):
                        if await read(receive, 0) is None:
                            return
                await send_error(scope, send, error)
                return
            GRANT.set(grant)  # for the task of this request, and for the tasks that it starts
        await self._app(scope, receive, send)

    def _admit(self, scope: Any) -> Grant:
        """The rights of the sender. Raises Unauthenticated, PermissionDenied or ResourceExhausted."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self._required():
            if scope["path"] in PUBLIC_PATHS or self._is_preflight(scope, headers):
                return NOTHING
            key = headers.get(b"api-key") or _bearer(headers.get(b"authorization", ""))
            logged_in = self._page_key(scope["path"], headers.get(b"cookie", "")) if self._page_key else None
            key = key or logged_in
            caller = self._caller(key or "")
            if key is None:
                raise Unauthenticated("Missing API key: send it in the header Api-Key")
            if caller is None:
                if logged_in is not None:  # the page asks for a key
                    return NOTHING
                raise Unauthenticated("Invalid API key.")
            caller.take(time.monotonic())
            return caller.grant
        if not self._local:
            return EVERYTHING
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if not self._is_here(host):
            raise PermissionDenied(
                f"Host {host!r} is not this machine; create an API key to serve it under other names (`pinyon keys "
                "create`), or use --insecure"
            )
        if origin is not None and origin not in (f"http://{host}", f"https://{host}", *self._origins):
            raise PermissionDenied(f"Requests from web pages of {origin!r} are not allowed; add it to cors_origins")
        return EVERYTHING

    def _is_preflight(self, scope: Any, headers: dict[bytes, str]) -> bool:
        """Whether it is a browser's preflight request for a page that may ask. It has no key and reveals nothing."""
        asks = scope["method"] == "OPTIONS" and b"access-control-request-method" in headers and not is_grpc(scope)
        return asks and ("*" in self._origins or headers.get(b"origin") in self._origins)

    def _is_here(self, host: str) -> bool:
        name = _host_name(host)
        return name is not None and (name == self._host or is_loopback(name))


@lru_cache(maxsize=256)
def _host_name(host: str) -> str | None:
    """The name in a Host header, without the port. None if the header is malformed."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return None


def _bearer(value: str) -> str | None:
    """The API key in an Authorization header, which monitoring programs can send."""
    kind, _, key = value.partition(" ")
    return key.strip() or None if kind.lower() == "bearer" else None


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a host name or address always means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
