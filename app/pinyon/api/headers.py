"""Response headers: models, sequence numbers, duration and request id.

RequestHeaders also measures every request for the metrics, and writes it to the access log if there is one.
"""

import logging
import time
import uuid
from collections.abc import Sequence
from typing import Any

from pinyon import metrics
from pinyon.logs import REQUEST_ID


def write_headers(lsn: int) -> dict[str, str]:
    """The sequence number of a write, under the service's name for it and the one that the Python client reads."""
    return {"x-pinecone-request-lsn": str(lsn), "x-pinecone-lsn-committed": str(lsn)}


def read_headers(lsn: int) -> dict[str, str]:
    """The sequence number of the last write that a read saw, under both names."""
    return {"x-pinecone-max-indexed-lsn": str(lsn), "x-pinecone-lsn-reconciled": str(lsn)}


def model_headers(labels: Sequence[str], truncated: int = 0, foreign: int = 0) -> dict[str, str]:
    """The labels of the models that computed the answer, and how many texts were cut for them.

    foreign: how many vectors of the namespace were brought by callers and may come from another model.
    """
    headers = {"x-pinyon-model": ", ".join(labels)} if labels else {}
    if truncated:
        headers["x-pinyon-truncated"] = str(truncated)
    if foreign:
        headers["x-pinyon-foreign-vectors"] = str(foreign)
    return headers


BROWSER_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
"""Tell browsers that the response is data, must not be cached, and contains nothing to run. Pages say it themselves."""

access = logging.getLogger("pinyon.access")


class RequestHeaders:
    """ASGI wrapper that adds the request id and the duration in milliseconds to every response.

    access_log: write each request to the log. Handlers leave the operation's name in scope["state"]["operation"].
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
                own = list(message.get("headers", []))
                said = {name for name, _ in own}
                message = {
                    **message,
                    "headers": [
                        *own,
                        *(header for header in BROWSER_HEADERS if header[0] not in said),
                        (b"x-pinecone-request-id", request_id.encode()),
                        (b"x-pinecone-request-latency-ms", elapsed),
                        (b"x-pinecone-response-duration-ms", elapsed),
                    ],
                }
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            self._record(state, time.perf_counter() - started, status)

    def _record(self, state: dict[str, Any], seconds: float, status: str) -> None:
        protocol, operation = state.get("protocol", "rest"), state.get("operation", "none")
        metrics.answered(protocol, operation, status, seconds)
        if self._access_log:
            fields = {"protocol": protocol, "operation": operation, "status": status, "ms": round(seconds * 1e3, 1)}
            text = " ".join(f"{name}={value}" for name, value in fields.items())
            access.info("%s", text, extra={"fields": fields})
