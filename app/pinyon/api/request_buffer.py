"""Reads each request completely before it is handled, and stops the handler if the client disconnects.

Reading first keeps a slow or refused request from blocking the other requests on its HTTP/2 connection.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from pinyon.api.compression import BITS, inflated
from pinyon.api.error_response import is_grpc, send_error
from pinyon.errors import DeadlineExceeded, InvalidArgument, PinyonError, TooLarge, Unavailable

MAX_MEMORY_BYTES = 512 * 1024 * 1024
"""Bytes of all requests that are being read or handled. Beyond that, further requests are refused."""
BODY_TIMEOUT_S = 300.0
"""A request must arrive within so many seconds, so that no request occupies memory for ever."""
WATCH_AFTER_S = 0.02
"""The connection is watched after so many seconds. Most answers are faster and need no task that watches."""


class RequestMemory:
    """Counts the bytes of all current requests. max_bytes: how many there may be."""

    def __init__(self, max_bytes: int) -> None:
        self.bytes, self.max_bytes = 0, max_bytes

    @contextlib.contextmanager
    def share(self) -> Iterator["MemoryShare"]:
        """The bytes of one request. They are released at its end."""
        share = MemoryShare(self)
        try:
            yield share
        finally:
            share.release()


class MemoryShare:
    """Counts the bytes of one request. refused: there was no room for it."""

    def __init__(self, memory: RequestMemory) -> None:
        self._memory, self._bytes, self.refused = memory, 0, False

    def take(self, size: int) -> bool:
        """Reserve so many further bytes. Returns whether there is room; after a False it is always False."""
        if not self.refused and self._memory.bytes + size > self._memory.max_bytes:
            self.release()
            self.refused = True
        if not self.refused:
            self._memory.bytes += size
            self._bytes += size
        return not self.refused

    def release(self) -> None:
        """Give back all bytes."""
        self._memory.bytes -= self._bytes
        self._bytes = 0


class RequestBuffer:
    """ASGI wrapper: the application receives the body in one message, decompressed.

    most_bytes: the largest body of a request with this scope. If the answer takes long, the connection is watched, and
    the handler is cancelled when the client disconnects. A write that has begun is finished all the same: it runs on
    the writer thread and commits as a whole.
    """

    def __init__(
        self,
        app: Any,
        most_bytes: Callable[[Any], int],
        max_memory_bytes: int = MAX_MEMORY_BYTES,
        body_timeout_s: float = BODY_TIMEOUT_S,
        watch_after_s: float = WATCH_AFTER_S,
    ) -> None:
        self._app, self._most_bytes = app, most_bytes
        self._body_timeout_s, self._watch_after_s = body_timeout_s, watch_after_s
        self._memory = RequestMemory(max_memory_bytes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._memory.share() as share:
            await self._read_and_run(scope, receive, send, share)

    async def _read_and_run(self, scope: Any, receive: Any, send: Any, share: MemoryShare) -> None:
        most_bytes = self._most_bytes(scope)
        try:
            async with asyncio.timeout(self._body_timeout_s):
                body = await read(receive, most_bytes, share)
        except TimeoutError:
            problem = f"The request did not arrive completely within {self._body_timeout_s:g} s"
            await send_error(scope, send, DeadlineExceeded(problem))
            return
        if body is None:
            return
        try:
            scope, body = _plain(scope, body, most_bytes, share)
            if share.refused:
                raise Unavailable("Too many bytes of requests are arriving at the same time", retry_after_s=2)
        except PinyonError as error:
            await send_error(scope, send, error)
            return
        message: Any = {"type": "http.request", "body": body, "more_body": False}
        watcher = DisconnectWatcher(receive, self._watch_after_s)

        async def receive_whole() -> Any:
            nonlocal message
            if message is None:  # after the body, only the end of the connection can follow
                await watcher.disconnected()
                return {"type": "http.disconnect"}
            body_message, message = message, None
            return body_message

        try:
            await self._app(scope, receive_whole, send)
        except asyncio.CancelledError:
            if not watcher.has_cancelled():  # cancelled for another reason
                raise
        finally:
            watcher.stop()


def _plain(scope: Any, body: bytes, most_bytes: int, share: MemoryShare) -> tuple[Any, bytes]:
    """The scope and the decompressed body. Raises TooLarge, or InvalidArgument for an unknown encoding."""
    if len(body) > most_bytes:
        raise TooLarge(
            f"The request body exceeds the maximum supported size of {most_bytes} bytes; split it into smaller requests"
        )
    encoding = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-encoding"), "")
    name = encoding.strip().lower()
    if name in ("", "identity") or share.refused or is_grpc(scope):
        return scope, body
    if name not in BITS:
        raise InvalidArgument(
            f"The body is encoded with '{encoding[:40]}'; send it as it is, or compressed with gzip or deflate"
        )
    plain = inflated(body, name, most_bytes)
    share.take(len(plain))
    headers = [(key, value) for key, value in scope["headers"] if key not in (b"content-encoding", b"content-length")]
    return {**scope, "headers": [*headers, (b"content-length", str(len(plain)).encode())]}, plain


class DisconnectWatcher:
    """Cancels the current task when the client of its request disconnects. after_s: when to begin watching."""

    def __init__(self, receive: Any, after_s: float) -> None:
        self._receive = receive
        handler = asyncio.current_task()
        assert handler is not None
        self._handler = handler
        self._disconnected = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(after_s, self._start)

    def _start(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._disconnected.set()
        self._handler.cancel()

    async def disconnected(self) -> None:
        """Wait until the client disconnects."""
        self._start()
        await self._disconnected.wait()

    def has_cancelled(self) -> bool:
        """Whether the task was cancelled because the client disconnected, and for no other reason."""
        return self._disconnected.is_set() and not self._handler.uncancel()

    def stop(self) -> None:
        """Stop watching."""
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()


async def read(receive: Any, most_bytes: int, share: MemoryShare | None = None) -> bytes | None:
    """Read a body. Returns None if the client disconnected before its end.

    Of a body that is too large, only the first bytes are returned, more than most_bytes. share: counts the bytes; if
    there is no room for them, the body is read and dropped.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        if share is not None and not share.take(len(part)):
            parts.clear()
        elif size <= most_bytes:  # the rest is read and dropped, so that the client receives the answer
            parts.append(part)
            size += len(part)
        if not message.get("more_body", False):
            return b"".join(parts)
