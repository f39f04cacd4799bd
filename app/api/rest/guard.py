"""Who may talk to a server without keys: programs on this machine, not the web pages a browser there shows.

A page of any origin can send a text/plain POST to http://localhost, and a name of its own that resolves to 127.0.0.1
makes the answers readable (DNS rebinding). Programs name this machine as the host, and send no Origin.
"""

import ipaddress
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from app.api.rest.errors import codes
from app.errors import PermissionDenied


class LocalOnly:
    """ASGI wrapper: 403 unless Host is this machine, and Origin, if there is one, the server or one of `origins`."""

    def __init__(self, app: Any, host: str, origins: Sequence[str] = ()) -> None:
        self._app, self._host, self._origins = app, host, origins

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
            host, origin = headers.get(b"host", ""), headers.get(b"origin")
            if not self._is_here(host):
                await _refuse(send, f"Host {host!r} is not this machine; say --insecure to serve it under other names")
                return
            if origin is not None and urlsplit(origin).netloc != host and origin not in self._origins:
                await _refuse(send, f"Requests from pages of {origin!r} are not taken; list it in cors_origins")
                return
        await self._app(scope, receive, send)

    def _is_here(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name == self._host or is_loopback(name)


def is_loopback(host: str) -> bool:
    """Whether only this machine answers to that name or address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _refuse(send: Any, message: str) -> None:
    status, code = codes(PermissionDenied(message))
    body = json.dumps({"code": code, "message": message, "details": []}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
