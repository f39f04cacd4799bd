"""Who sends requests: the owners of the API keys that a running server knows. Keys are compared in constant time."""

import hmac
import logging
import math
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from pinyon.auth.permissions import EVERYTHING, Grant
from pinyon.auth.stored_keys import Limits, StoredKey, digest
from pinyon.errors import ResourceExhausted

log = logging.getLogger("pinyon.keys")


class Caller(msgspec.Struct):
    """The sender of a key: what it may do, and how often.

    The rate limit is a token bucket. tokens: requests that may be sent now. refilled: when tokens was last updated, in
    seconds.
    """

    grant: Grant
    per_second: float | None = None
    tokens: float = 1.0
    refilled: float = 0.0

    def take(self, now: float) -> None:
        """Count a request. now: time in seconds. Raises ResourceExhausted if there were too many requests."""
        if self.per_second is None:
            return
        most = max(1.0, self.per_second)  # the requests of one second may come together
        self.tokens = min(most, self.tokens + max(0.0, now - self.refilled) * self.per_second)
        self.refilled = now
        if self.tokens < 1:
            wait = math.ceil((1 - self.tokens) / self.per_second)
            raise ResourceExhausted(f"This API key may send {self.per_second:g} requests per second", wait)
        self.tokens -= 1


class KnownKeys:
    """The keys of a running server: those that are stored, and the one in the settings, which may do everything."""

    def __init__(self, settings_key: str) -> None:
        self._fixed = {digest(settings_key): Caller(EVERYTHING)} if settings_key else {}
        self._callers: dict[str, Caller] = {}
        self._required = bool(settings_key)
        self._problem: str | None = None

    def required(self) -> bool:
        """Whether a request needs a key. True if there is a key, or was one at any time since the start."""
        self._required = self._required or bool(self._callers)
        return self._required

    def problem(self) -> str | None:
        """Why the stored keys cannot be read, or None."""
        return self._problem

    def caller(self, key: str) -> Caller | None:
        """The caller with this key, or None."""
        sent = digest(key).encode()
        # All known keys are compared, so that the time does not reveal which one matched.
        callers = self._fixed | self._callers
        matches = [caller for known, caller in callers.items() if hmac.compare_digest(sent, known.encode())]
        return matches[0] if matches else None

    def _accept(self, stored: Sequence[StoredKey]) -> None:
        """From now on know these stored keys."""
        self._callers, self._problem = {key.sha256: _caller(key) for key in stored}, None

    def _refuse_all(self, problem: str) -> None:
        """While the stored keys cannot be read, refuse them all."""
        self._report(problem)
        self._callers, self._required = {}, True

    def _report(self, problem: str) -> None:
        """Remember a problem, and log it when it is new, not with every request."""
        if problem != self._problem:
            log.error("%s", problem)
        self._problem = problem


class KeyStore(Protocol):
    """Where keys are stored. Methods raise FailedPrecondition if that cannot be read or written."""

    async def stored(self) -> list[StoredKey]:
        """All keys, oldest first."""
        ...

    async def create(self, name: str, limits: Limits) -> str:
        """Make a key and return it. It cannot be shown again later, because only its hash is stored.

        Raises AlreadyExists if there is a key of this name.
        """
        ...

    async def add(self, keys: Sequence[StoredKey]) -> None:
        """Store keys of another installation. Raises AlreadyExists if a different key has one of their names."""
        ...

    async def revoke(self, name: str) -> None:
        """Delete a key. Raises NotFound."""
        ...


def _caller(key: StoredKey) -> Caller:
    grant = Grant(
        frozenset(key.scopes),
        None if key.indexes is None else frozenset(key.indexes),
        None if key.namespaces is None else frozenset(key.namespaces),
        key.per_second,
    )
    return Caller(grant, key.per_second, max(1.0, key.per_second or 0), time.monotonic())
