"""The request header of a read that must see a write, whichever process and whichever replica answers."""

from typing import Any

from pinyon.api.error_response import send_error
from pinyon.errors import InvalidArgument
from pinyon.storage.engine import MIN_LSN

HEADER = b"x-pinyon-min-lsn"
"""Its value is the number that the write was answered with: x-pinecone-request-lsn (headers.write_headers())."""
DIGITS = 18
"""Numbers with more digits are larger than any LSN."""


class MinLsn:
    """ASGI wrapper that sets MIN_LSN for each request, of REST and of gRPC."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            value = next((value for name, value in scope["headers"] if name.lower() == HEADER), b"0")
            if not (value.isdigit() and len(value) <= DIGITS):
                name = HEADER.decode()
                await send_error(scope, send, InvalidArgument(f"Header {name} must be the LSN of a write, such as 42"))
                return
            MIN_LSN.set(int(value))
        await self._app(scope, receive, send)
