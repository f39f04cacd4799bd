"""Callers that hang up: what they asked for is dropped instead of computed for nobody."""

import asyncio
import contextlib
from typing import Any


class DropOnHangUp:
    """ASGI wrapper: once a request has been read, watch the connection, and cancel the handler if it goes away.

    A write that has begun is finished all the same: it runs on a thread of its own and commits as a whole.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read, gone = asyncio.Event(), asyncio.Event()

        async def receive_and_note() -> Any:
            if read.is_set():  # whatever comes after the body is the end of the connection
                await gone.wait()
                return {"type": "http.disconnect"}
            message = await receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                read.set()
            return message

        async def watch() -> None:
            await read.wait()
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        handler = asyncio.ensure_future(self._app(scope, receive_and_note, send))
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
