"""Requests are read whole before anything is done with them, and dropped when their caller hangs up.

Reading first keeps one slow or refused request from holding up the others on its HTTP/2 connection.
"""

import asyncio
import contextlib
from typing import Any

from app.api.refusal import refuse
from app.errors import TooLarge


class WholeRequests:
    """ASGI wrapper: the application gets the body in one message; one over `most_bytes` is refused.

    Once the request has been read the connection is watched, and the handler cancelled if it goes away. A write that
    has begun is finished all the same: it runs on a thread of its own and commits as a whole.
    """

    def __init__(self, app: Any, most_bytes: int) -> None:
        self._app, self._most_bytes = app, most_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await read(receive, self._most_bytes)
        if body is None:
            return
        if len(body) > self._most_bytes:
            await refuse(
                scope,
                send,
                TooLarge(f"The request body exceeds the maximum supported size of {self._most_bytes} bytes"),
            )
            return
        gone = asyncio.Event()
        message: Any = {"type": "http.request", "body": body, "more_body": False}

        async def receive_whole() -> Any:
            nonlocal message
            if message is None:  # whatever comes after the body is the end of the connection
                await gone.wait()
                return {"type": "http.disconnect"}
            whole, message = message, None
            return whole

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        handler = asyncio.ensure_future(self._app(scope, receive_whole, send))
        watcher = asyncio.create_task(watch())
        try:
            await asyncio.wait({handler, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if not handler.done():
                handler.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await handler
                return
            await handler
        finally:
            for task in (handler, watcher):
                task.cancel()
            await asyncio.gather(handler, watcher, return_exceptions=True)


async def read(receive: Any, most_bytes: int) -> bytes | None:
    """The body to its end, or its first bytes, more than `most_bytes`; None if the caller hung up before its end."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        if size <= most_bytes:  # what is too much is read all the same, so that the answer arrives, but not kept
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if not message.get("more_body", False):
            return b"".join(parts)
