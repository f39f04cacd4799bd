"""Counts connections that fail, and logs one line for many of them instead of a traceback for each.

Hypercorn leaves some errors to the event loop: callers that hang up, malformed TLS handshakes and HTTP/2, and
connections that are cut off when the server stops. Anybody who reaches the port can cause many of them.
"""

import asyncio
import logging
import ssl
from collections import Counter
from typing import Any

import h2.exceptions
import h11

SUMMED_UP_S = 10.0
"""Seconds from the first error to the line that sums up all errors until then."""
EXPECTED = (
    asyncio.CancelledError,
    ConnectionError,
    EOFError,
    TimeoutError,
    ssl.SSLError,
    h2.exceptions.H2Error,
    h11.ProtocolError,
)
"""Errors that the other end of a connection, or the stop of the server, can cause."""

log = logging.getLogger("pinyon.serving")


class ConnectionErrors:
    """An exception handler for an event loop."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle the exceptions that no task of this loop handles, from now on."""
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
        """Log the errors since the last call, if there were any."""
        if self._counts:
            summary = ", ".join(f"{count} x {kind}" for kind, count in self._counts.most_common())
            log.warning("connections ended badly: %s", summary)
        self._counts.clear()


def _kinds(error: BaseException) -> set[str]:
    """The names of the expected errors in this one; empty if it contains an unexpected one."""
    if isinstance(error, BaseExceptionGroup):
        parts = [_kinds(each) for each in error.exceptions]
        return set().union(*parts) if all(parts) else set()
    return {type(error).__name__} if isinstance(error, EXPECTED) else set()
