"""Response headers: who computed, what was written or seen, how long it took, under which id."""

import time
import uuid
from collections.abc import Sequence
from typing import Any


def wrote(lsn: int) -> dict[str, str]:
    """The number of a write, under the name of Pinecone's service and the name its Python client reads."""
    return {"x-pinecone-request-lsn": str(lsn), "x-pinecone-lsn-committed": str(lsn)}


def saw(lsn: int) -> dict[str, str]:
    """The number of the last write that a read saw, under both names."""
    return {"x-pinecone-max-indexed-lsn": str(lsn), "x-pinecone-lsn-reconciled": str(lsn)}


def computed_by(labels: Sequence[str], truncated: int = 0) -> dict[str, str]:
    """The models that answered, stand-ins named as such, and how many texts were cut for them."""
    headers = {"x-pinyon-model": ", ".join(labels)} if labels else {}
    if truncated:
        headers["x-pinyon-truncated"] = str(truncated)
    return headers


class RequestHeaders:
    """ASGI wrapper: every response says its request's id and its time in milliseconds."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, request_id = time.perf_counter(), uuid.uuid4().hex

        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                elapsed = str(round((time.perf_counter() - started) * 1000)).encode()
                message = {
                    **message,
                    "headers": [
                        *message.get("headers", []),
                        (b"x-pinecone-request-id", request_id.encode()),
                        (b"x-pinecone-request-latency-ms", elapsed),
                        (b"x-pinecone-response-duration-ms", elapsed),
                    ],
                }
            await send(message)

        await self._app(scope, receive, send_with_headers)
