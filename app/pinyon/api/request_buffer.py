"""Requests are read whole before anything is done with them, and dropped when their caller hangs up.

Reading first keeps one slow or refused request from holding up the others on its HTTP/2 connection.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from pinyon.api.compression import BITS, inflated
from pinyon.api.error_response import is_grpc, refuse
from pinyon.errors import DeadlineExceeded, InvalidArgument, PinyonError, TooLarge, Unavailable

MOST_HELD = 512 * 1024 * 1024
"""Bytes of all requests that are being read or answered; beyond that the next ones are refused."""
LONGEST_BODY_S = 300.0
"""How long a request may take to arrive: nobody's memory is held for ever."""
UNWATCHED_S = 0.02
"""After so long it is looked whether the caller is still there; most answers are sooner, and need no task for it."""


class Held:
    """The bytes of all requests at once."""

    def __init__(self) -> None:
        self.bytes = 0

    @contextlib.contextmanager
    def share(self) -> Iterator["Share"]:
        """One request's part, let go at its end."""
        share = Share(self)
        try:
            yield share
        finally:
            share.let_go()


class Share:
    """The bytes of one request. refused: it did not get what it wanted."""

    def __init__(self, held: Held) -> None:
        self._held, self._bytes, self.refused = held, 0, False

    def take(self, size: int) -> bool:
        """Whether there is room for so many more bytes; once there is none, there is none for this request."""
        if not self.refused and self._held.bytes + size > MOST_HELD:
            self.let_go()
            self.refused = True
        if not self.refused:
            self._held.bytes += size
            self._bytes += size
        return not self.refused

    def let_go(self) -> None:
        """Give back all of it."""
        self._held.bytes -= self._bytes
        self._bytes = 0


class WholeRequests:
    """ASGI wrapper: the application gets the body in one message, without compression.

    most_bytes: of the body of a request with that scope; a larger one is refused.

    If the answer takes long, the connection is watched, and the handler cancelled if it goes away. A write that
    has begun is finished all the same: it runs on a thread of its own and commits as a whole.
    """

    def __init__(self, app: Any, most_bytes: Callable[[Any], int]) -> None:
        self._app, self._most_bytes = app, most_bytes
        self._held = Held()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._held.share() as share:
            await self._read_and_run(scope, receive, send, share)

    async def _read_and_run(self, scope: Any, receive: Any, send: Any, share: "Share") -> None:
        most_bytes = self._most_bytes(scope)
        try:
            async with asyncio.timeout(LONGEST_BODY_S):
                body = await read(receive, most_bytes, share)
        except TimeoutError:
            await refuse(
                scope, send, DeadlineExceeded(f"The request did not arrive as a whole within {LONGEST_BODY_S:g} s")
            )
            return
        if body is None:
            return
        try:
            scope, body = _plain(scope, body, most_bytes, share)
            if share.refused:
                raise Unavailable("Too many bytes of requests are arriving at once", retry_after_s=2)
        except PinyonError as error:
            await refuse(scope, send, error)
            return
        message: Any = {"type": "http.request", "body": body, "more_body": False}
        watched = Watched(receive)

        async def receive_whole() -> Any:
            nonlocal message
            if message is None:  # whatever comes after the body is the end of the connection
                await watched.gone()
                return {"type": "http.disconnect"}
            whole, message = message, None
            return whole

        try:
            await self._app(scope, receive_whole, send)
        except asyncio.CancelledError:
            if not watched.has_cancelled():  # somebody else wants it to end
                raise
        finally:
            watched.end()


def _plain(scope: Any, body: bytes, most_bytes: int, share: Share) -> tuple[Any, bytes]:
    """Scope and body without compression. Raises TooLarge, or InvalidArgument for an encoding that is not known."""
    if len(body) > most_bytes:
        raise TooLarge(
            f"The request body exceeds the maximum supported size of {most_bytes} bytes; split it into smaller requests"
        )
    encoding = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-encoding"), "")
    known = encoding.strip().lower()
    if known in ("", "identity") or share.refused or is_grpc(scope):
        return scope, body
    if known not in BITS:
        raise InvalidArgument(
            f"The body is encoded with '{encoding[:40]}'; send it as it is, or compressed with gzip or deflate"
        )
    plain = inflated(body, known, most_bytes)
    share.take(len(plain))
    headers = [
        (name, value) for name, value in scope["headers"] if name not in (b"content-encoding", b"content-length")
    ]
    return {**scope, "headers": [*headers, (b"content-length", str(len(plain)).encode())]}, plain


class Watched:
    """The caller of the request that this task handles: the task is cancelled if he goes away."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        handler = asyncio.current_task()
        assert handler is not None
        self._handler = handler
        self._gone = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(UNWATCHED_S, self._begin)

    def _begin(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        self._handler.cancel()

    async def gone(self) -> None:
        """Wait until the caller is."""
        self._begin()
        await self._gone.wait()

    def has_cancelled(self) -> bool:
        """Whether the task was cancelled because of that, and of nothing else."""
        return self._gone.is_set() and not self._handler.uncancel()

    def end(self) -> None:
        """Look no longer."""
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()


async def read(receive: Any, most_bytes: int, share: Share | None = None) -> bytes | None:
    """The body to its end, or its first bytes, more than `most_bytes`; None if the caller hung up before its end.

    share: what it may take of the memory for all requests; beyond that it is read and not kept.
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
        elif size <= most_bytes:  # what is too much is read all the same, so that the answer arrives, but not kept
            parts.append(part)
            size += len(part)
        if not message.get("more_body", False):
            return b"".join(parts)
