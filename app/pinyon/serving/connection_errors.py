"""Connections that end badly: counted, and told of in one line now and then, not with a traceback each.

Hypercorn leaves such errors to the event loop: of callers that hang up, of TLS handshakes and HTTP/2 that are
none, and of connections that are cut off when the server stops. Whoever reaches the port can cause many of them.
"""

import asyncio
import logging
import ssl
from collections import Counter
from typing import Any

import h2.exceptions
import h11

SUMMED_UP_S = 10.0
"""Seconds from the first of them to the line about all there were until then."""
EXPECTED = (
    asyncio.CancelledError,
    ConnectionError,
    EOFError,
    TimeoutError,
    ssl.SSLError,
    h2.exceptions.H2Error,
    h11.ProtocolError,
)
"""What the other end of a connection, or the end of the server, can cause."""

log = logging.getLogger("pinyon.serving")


class ConnectionErrors:
    """Handles what no task of the event loop has handled."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle the errors of this loop from now on."""
        loop.set_exception_handler(self._handle)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        kinds = None if error is None else _kinds(error)
        if not kinds:
            loop.default_exception_handler(context)
            return
        if not self._counts:
            loop.call_later(SUMMED_UP_S, self.sum_up)
        self._counts.update(kinds)

    def sum_up(self) -> None:
        """Log what there was since the last time, if there was anything."""
        if self._counts:
            told = ", ".join(f"{count} x {kind}" for kind, count in self._counts.most_common())
            log.warning("connections ended badly: %s", told)
        self._counts.clear()


def _kinds(error: BaseException) -> set[str]:
    """Names of the expected errors that this one consists of; none if there is another in it."""
    if isinstance(error, BaseExceptionGroup):
        parts = [_kinds(each) for each in error.exceptions]
        return set().union(*parts) if all(parts) else set()
    return {type(error).__name__} if isinstance(error, EXPECTED) else set()
