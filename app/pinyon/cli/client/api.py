"""Pinecone's API for commands: requests that are repeated while the server is busy."""

import asyncio
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from pinyon.cli.client.transport import JSON, Answer, Transport
from pinyon.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PinyonError,
    ResourceExhausted,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

MOST_ATTEMPTS = 10
"""Attempts at a request that a busy server refuses. Together they take about three minutes."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 60.0
"""Seconds before the second attempt, which double with each further one; and the most seconds before any."""
REFUSES = "The server refuses: "
"""How the messages of refused requests begin."""
ERRORS: dict[int, type[PinyonError]] = {
    400: InvalidArgument,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    413: TooLarge,
    422: InvalidArgument,
    429: ResourceExhausted,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


class Address(msgspec.Struct, frozen=True):
    """Where something answers. url: scheme, host and port. host: the Host header if it differs from the URL's."""

    url: str
    host: str | None = None


class Api:
    """A server. at: of its control plane. locate: the address of an index, by its name and by its described host."""

    def __init__(self, transport: Transport, at: Address, locate: Callable[[str, str], Address] | None = None) -> None:
        self.at = at
        self._transport, self._locate = transport, locate or self._as_described
        self._answered = False

    def _as_described(self, _: str, host: str) -> Address:
        return Address(host if "://" in host else f"{urlsplit(self.at.url).scheme}://{host}")

    async def index(self, name: str) -> tuple[dict[str, Any], Address]:
        """The description of an index, and where it answers. Raises NotFound."""
        described: dict[str, Any] = await self.ask("GET", f"/indexes/{quote(name, safe='')}")
        return described, self._locate(name, described["host"])

    async def ask(
        self, method: str, path: str, body: Any = None, at: Address | None = None, repeat: bool = True
    ) -> Any:
        """Send a request with a JSON body. Returns the decoded answer, or None for an empty one.

        at: an index. repeat: False if a request may not be sent twice. Raises the PinyonError that fits the status.
        """
        encoded = b"" if body is None else msgspec.json.encode(body)
        answer = await self.send(method, path, encoded, JSON, at, repeat)
        return msgspec.json.decode(answer.body) if answer.body else None

    async def send(
        self,
        method: str,
        path: str,
        body: bytes,
        content_type: str = JSON,
        at: Address | None = None,
        repeat: bool = True,
    ) -> Answer:
        """Send a request, again and again while the server is busy. Returns the answer of success. Raises as ask().

        A server that has never answered is not waited for.
        """
        at = at or self.at
        for attempt in range(MOST_ATTEMPTS):
            last = attempt == MOST_ATTEMPTS - 1
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt) * random.uniform(0.5, 1.0)
            try:
                answer = await self._transport.send(method, at.url, path, body, content_type, at.host)
            except Unavailable:
                if last or not repeat or not self._answered:
                    raise
            else:
                self._answered = True
                if answer.status < 300:
                    return answer
                error = refusal(answer)
                if last or not isinstance(error, Unavailable):
                    raise error
                wait_s = max(wait_s, min(LONGEST_WAIT_S, _retry_after_s(answer)))
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()


def refusal(answer: Answer) -> PinyonError:
    """The error that an answer without success tells, with the server's message."""
    try:
        told = msgspec.json.decode(answer.body)
        message = str(told["error"]["message"] if "error" in told else told["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        message = answer.body[:200].decode(errors="replace") or "no reason was given"
    kind = ERRORS.get(answer.status, FailedPrecondition)
    return kind(f"{REFUSES}{message}")


def _retry_after_s(answer: Answer) -> float:
    try:
        return float(answer.headers.get("retry-after", "0"))
    except ValueError:  # a date, which no known server sends
        return 0.0
