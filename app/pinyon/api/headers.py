"""Response headers: who computed, what was written or seen, how long it took, under which id.

RequestHeaders also times every request for the metrics, and notes it down in the log if that is wanted.
"""

import logging
import time
import uuid
from collections.abc import Sequence
from typing import Any

from pinyon import metrics
from pinyon.logs import REQUEST_ID


def wrote(lsn: int) -> dict[str, str]:
    """The number of a write, under the name of Pinecone's service and the name its Python client reads."""
    return {"x-pinecone-request-lsn": str(lsn), "x-pinecone-lsn-committed": str(lsn)}


def saw(lsn: int) -> dict[str, str]:
    """The number of the last write that a read saw, under both names."""
    return {"x-pinecone-max-indexed-lsn": str(lsn), "x-pinecone-lsn-reconciled": str(lsn)}


def computed_by(labels: Sequence[str], truncated: int = 0, foreign: int = 0) -> dict[str, str]:
    """The models that answered, stand-ins named as such, and how many texts were cut for them.

    foreign: how many vectors beside theirs come from elsewhere, which nobody knows to be of the same model.
    """
    headers = {"x-pinyon-model": ", ".join(labels)} if labels else {}
    if truncated:
        headers["x-pinyon-truncated"] = str(truncated)
    if foreign:
        headers["x-pinyon-foreign-vectors"] = str(foreign)
    return headers


ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
"""For browsers: an answer is data, is nobody else's, and nothing in it is run."""

access = logging.getLogger("pinyon.access")


class RequestHeaders:
    """ASGI wrapper: every response says its request's id and its time in milliseconds.

    access_log: whether each is noted down. What handles a request leaves its name in scope["state"]["operation"].
    """

    def __init__(self, app: Any, access_log: bool = False) -> None:
        self._app, self._access_log = app, access_log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, request_id = time.perf_counter(), uuid.uuid4().hex

        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        REQUEST_ID.set(request_id)
        status = "none"

        async def send_with_headers(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.trailers":
                status = next((value.decode() for name, value in message["headers"] if name == b"grpc-status"), status)
            if message["type"] == "http.response.start":
                status = str(message["status"])
                elapsed = str(round((time.perf_counter() - started) * 1000)).encode()
                message = {
                    **message,
                    "headers": [
                        *message.get("headers", []),
                        *ALWAYS,
                        (b"x-pinecone-request-id", request_id.encode()),
                        (b"x-pinecone-request-latency-ms", elapsed),
                        (b"x-pinecone-response-duration-ms", elapsed),
                    ],
                }
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            self._note(state, time.perf_counter() - started, status)

    def _note(self, state: dict[str, Any], seconds: float, status: str) -> None:
        protocol, operation = state.get("protocol", "rest"), state.get("operation", "none")
        metrics.answered(protocol, operation, status, seconds)
        if self._access_log:
            fields = {"protocol": protocol, "operation": operation, "status": status, "ms": round(seconds * 1e3, 1)}
            told = " ".join(f"{name}={value}" for name, value in fields.items())
            access.info("%s", told, extra={"fields": fields})
