"""gRPC over ASGI: every request is one unary call, answered with a message and trailers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import DecodeError

from pinyon.api.grpc import framing
from pinyon.api.grpc.errors import code
from pinyon.api.grpc.service import VectorService
from pinyon.domain import Index
from pinyon.errors import DeadlineExceeded, Internal, InvalidArgument, PinyonError, Unimplemented

log = logging.getLogger("pinyon.grpc")

CONTENT_TYPE = b"application/grpc"
SERVICE = "/VectorService/"
HEADERS = [(b"content-type", CONTENT_TYPE), (b"grpc-accept-encoding", b"identity,deflate,gzip")]


class GrpcCalls:
    """ASGI application for the VectorService.

    service: returns the service, or raises Unavailable while the server starts. index_of: the index of a request with
    this scope. most_bytes: the largest message of a request with this scope.
    """

    def __init__(
        self,
        service: Callable[[], VectorService],
        index_of: Callable[[Any], Awaitable[Index]],
        most_bytes: Callable[[Any], int],
    ) -> None:
        self._service, self._index_of, self._most_bytes = service, index_of, most_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["protocol"] = "grpc"
        try:
            headers = dict(scope["headers"])
            deadline = framing.timeout_s(headers.get(b"grpc-timeout"))
            body = (await receive()).get("body", b"")
            try:
                async with asyncio.timeout(deadline):
                    message, more = await self._answer(scope, headers, body)
            except TimeoutError:
                raise DeadlineExceeded("The deadline of the call passed before the answer was ready") from None
        except Exception as error:
            await send_error(scope, send, _as_pinyon_error(scope, error))
            return
        own = [(name.encode(), value.encode()) for name, value in more.items()]
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS + own, "trailers": True})
        await send({"type": "http.response.body", "body": framing.frame(message)})
        await send({"type": "http.response.trailers", "headers": framing.trailers(0)})

    async def _answer(self, scope: Any, headers: dict[bytes, bytes], body: bytes) -> tuple[bytes, Any]:
        service, path = self._service(), scope["path"]
        if scope["method"] != "POST":
            raise Unimplemented(f"Calls are made with POST, not with {scope['method']}")
        entry = service.methods.get(path.removeprefix(SERVICE)) if path.startswith(SERVICE) else None
        if entry is None:
            raise Unimplemented(f"There is no method {path}; the service is VectorService")
        kind, method = entry
        scope["state"]["operation"] = path.removeprefix(SERVICE)
        index = await self._index_of(scope)
        raw = framing.unframe(body, headers.get(b"grpc-encoding", b"identity"), self._most_bytes(scope))
        try:
            request = kind.FromString(raw)
        except DecodeError as error:
            raise InvalidArgument(f"The message is not a {kind.__name__}: {error}") from None
        reply, more = await method(index, request)
        return reply.SerializeToString(), more


def _as_pinyon_error(scope: Any, error: Exception) -> PinyonError:
    if isinstance(error, PinyonError):
        return error
    log.error("unexpected error on %s", scope["path"], exc_info=error)
    return Internal("Internal error; the log has the details")


async def send_error(scope: Any, send: Any, error: PinyonError) -> None:
    """End a call with an error status. The request id is in the trailers, because clients read only these."""
    more = {"x-pinecone-request-id": scope["state"]["request_id"]}
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS, "trailers": True})
    await send({"type": "http.response.body", "body": b""})
    await send({"type": "http.response.trailers", "headers": framing.trailers(code(error), error.message, more)})
