"""A connection that does not wait for ever for a server that hangs."""

import asyncio
import os
import socket
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

RV = TypeVar("RV")

LAST_CHANCE_S = 0.5
"""How long the event loop reads what has come, after the time of an answer has passed."""


class BoundedConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """answer_within_s: how long the server may take for each answer; None: without limit.

    A server that takes longer is taken for one that hangs: the connection is ended, and whoever waits gets an
    OperationalError. Asking the server to cancel the statement would not help.

    is_abandoned: whether it was ended so. warnings: what the server warned of, in its own words.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.answer_within_s: float | None = None
        self.is_abandoned = False
        self.warnings: list[str] = []
        self.add_notice_handler(self._noticed)

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self.warnings.append(notice.message_primary or "")

    async def wait(self, gen: PQGen[RV], *arguments: Any, **options: Any) -> RV:
        """Run a generator of psycopg. Everything that waits for the server comes through here."""
        if self.answer_within_s is None:
            return await super().wait(gen, *arguments, **options)
        loop, timers = asyncio.get_running_loop(), list[asyncio.TimerHandle]()

        def late() -> None:  # if the event loop was busy, the answer may be here and not read yet
            timers.append(loop.call_later(LAST_CHANCE_S, self.abandon))

        timers.append(loop.call_later(self.answer_within_s, late))
        try:
            return await super().wait(gen, *arguments, **options)
        finally:
            for timer in timers:
                timer.cancel()

    def abandon(self) -> None:
        """End the connection now. libpq then finds that the server has closed it."""
        if self.closed:
            return
        self.is_abandoned = True
        with socket.socket(fileno=os.dup(self.pgconn.socket)) as shared:
            shared.shutdown(socket.SHUT_RDWR)
