"""The tools over HTTP at /mcp (streamable HTTP), as an ASGI application.

Every request is answered by one JSON body. The server never sends requests or notifications of its own, so there are
no streams that would hold up the end of the process: a GET, which would open one, is refused as the protocol allows.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.responses import Response

from pinyon.api.error_response import send_error
from pinyon.auth.permissions import GRANT
from pinyon.errors import Unavailable
from pinyon.mcp.protocol import GRANT_IN_STATE

MOST_SESSIONS = 1_000
"""Open sessions. Only clients of protocol versions before 2026-07-28 have some."""
IDLE_S = 1_800.0
"""Seconds without a request after which a session is closed."""
METHODS = ("POST", "DELETE")


class McpEndpoint:
    """ASGI application. It answers while running() is entered. most_bytes: of a request's body.

    A request needs the rights of its own API key, also within a session. A session can only be used with the key that
    opened it.
    """

    def __init__(self, server: Server[Any], most_bytes: int) -> None:
        self.server = server
        # Without security settings: api/guard.py has checked the Host and Origin headers already.
        self._manager = StreamableHTTPSessionManager(
            server,
            json_response=True,
            session_idle_timeout=IDLE_S,
            max_request_body_size=most_bytes,
            max_sessions=MOST_SESSIONS,
        )
        self._running = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer requests, until the caller leaves. All sessions end then. It can be entered once."""
        begun, end = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            async with self._manager.run():
                begun.set()
                await end.wait()

        # A task of its own, because the manager ends by a cancellation, which would also reach its caller.
        serving = asyncio.create_task(serve())
        await begun.wait()
        self._running = True
        try:
            yield
        finally:
            self._running = False
            end.set()
            await asyncio.wait([serving])
            if not serving.cancelled():
                serving.result()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        state = scope.setdefault("state", {})
        state["operation"] = "pinyon_mcp"
        if scope["method"] not in METHODS:
            await Response(status_code=405, headers={"Allow": ", ".join(METHODS)})(scope, receive, send)
            return
        if not self._running:
            await send_error(scope, send, Unavailable("Not ready: the server is starting or stopping"))
            return
        state[GRANT_IN_STATE] = GRANT.get()
        user = AuthenticatedUser(AccessToken(token="", client_id=_key_digest(scope), scopes=[]))
        await self._manager.handle_request({**scope, "user": user}, receive, send)


def _key_digest(scope: Any) -> str:
    """Tells the API keys of two requests apart without storing them."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    key = headers.get(b"api-key") or headers.get(b"authorization", b"").rpartition(b" ")[2]
    return hashlib.sha256(key).hexdigest()
