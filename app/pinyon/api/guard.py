"""Who may talk to the server, decided before anything else about a request is looked at.

With API keys: whoever sends one. Without: programs on this machine, not the web pages a browser there shows. A page of
any origin can send a text/plain POST to http://localhost, and a name of its own that resolves to 127.0.0.1 makes the
answers readable (DNS rebinding). Programs name this machine as the host, and send no Origin.
"""

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from pinyon.api.error_response import is_grpc, refuse
from pinyon.api.request_buffer import read
from pinyon.auth.keys import Caller
from pinyon.auth.permissions import EVERYTHING, GRANT, Grant
from pinyon.errors import PermissionDenied, PinyonError, Unauthenticated

OPEN = ("/health", "/ready")
NOTHING = Grant(frozenset())
PATIENCE_S = 10.0
"""How long the body of a request that is refused anyway is read, so that its sender hears why."""


class Guard:
    """ASGI wrapper.

    keys: who has a key, and whether keys are asked for at all, read anew for every request. local: for
    requests without keys, whether only this machine may ask, under the names it has and `host`. origins: of web pages
    that may ask.
    """

    def __init__(
        self,
        app: Any,
        required: Callable[[], bool],
        caller: Callable[[str], Caller | None],
        local: bool,
        host: str,
        origins: Sequence[str] = (),
    ) -> None:
        self._app, self._required, self._caller = app, required, caller
        self._local, self._host, self._origins = local, host, origins

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            error, grant = None, EVERYTHING
            try:
                grant = self._admit(scope)
            except PinyonError as raised:
                error = raised
            if error is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE_S):
                        if await read(receive, 0) is None:
                            return
                await refuse(scope, send, error)
                return
            GRANT.set(grant)  # of this request's task, and of those it starts
        await self._app(scope, receive, send)

    def _admit(self, scope: Any) -> Grant:
        """What the sender may do. Raises Unauthenticated, PermissionDenied or ResourceExhausted."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self._required():
            if scope["path"] in OPEN or self._is_preflight(scope, headers):
                return NOTHING
            key = headers.get(b"api-key") or _bearer(headers.get(b"authorization", ""))
            if key is None:
                raise Unauthenticated("Missing API key: send it in the header Api-Key")
            caller = self._caller(key)
            if caller is None:
                raise Unauthenticated("Invalid API key.")
            caller.take(time.monotonic())
            return caller.grant
        if not self._local:
            return EVERYTHING
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if not self._is_here(host):
            raise PermissionDenied(
                f"Host {host!r} is not this machine; make an API key to serve it under other names (`pinyon keys "
                "create`), or say --insecure"
            )
        if origin is not None and origin not in (f"http://{host}", f"https://{host}", *self._origins):
            raise PermissionDenied(f"Requests from pages of {origin!r} are not taken; list it in cors_origins")
        return EVERYTHING

    def _is_preflight(self, scope: Any, headers: dict[bytes, str]) -> bool:
        """A browser's question before a request of a page; it never carries a key, and changes and tells nothing."""
        asks = scope["method"] == "OPTIONS" and b"access-control-request-method" in headers and not is_grpc(scope)
        return asks and ("*" in self._origins or headers.get(b"origin") in self._origins)

    def _is_here(self, host: str) -> bool:
        name = _host_name(host)
        return name is not None and (name == self._host or is_loopback(name))


@lru_cache(maxsize=256)
def _host_name(host: str) -> str | None:
    """The name in a Host header, without its port; None if it cannot be one."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return None


def _bearer(value: str) -> str | None:
    """The key of an Authorization header: what monitoring programs can send."""
    kind, _, key = value.partition(" ")
    return key.strip() or None if kind.lower() == "bearer" else None


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether only this machine answers to that name or address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
