"""The API keys service: whoever controls everything may see, make and revoke keys."""

from typing import Protocol

from pinyon.auth import permissions
from pinyon.auth.callers import KeyStore
from pinyon.auth.permissions import GRANT
from pinyon.auth.stored_keys import Limits, StoredKey
from pinyon.errors import InvalidArgument, PermissionDenied

LONGEST_NAME = 80
"""Characters."""
SLOWEST, FASTEST = 0.001, 1_000_000.0
"""Requests per second that a key can be limited to."""


class RunningKeys(KeyStore, Protocol):
    """The keys that a running server knows, and where they are stored."""

    def required(self) -> bool:
        """Whether a request needs a key."""
        ...


class ApiKeys:
    """The keys of an installation."""

    def __init__(self, keys: RunningKeys) -> None:
        self._keys = keys

    def check(self) -> None:
        """Raises PermissionDenied unless the caller may manage keys."""
        permissions.check("control")
        if GRANT.get().limited:
            raise PermissionDenied("API keys are managed by keys with the scope 'control' for all indexes")

    def required(self) -> bool:
        """Whether requests need a key already."""
        return self._keys.required()

    async def list(self) -> list[StoredKey]:
        """The keys, oldest first, without the one of the settings. Raises PermissionDenied or FailedPrecondition."""
        self.check()
        return await self._keys.stored()

    async def create(self, name: str, limits: Limits) -> str:
        """Make a key and return it; it cannot be shown again. It allows nothing that the caller's key does not.

        Raises PermissionDenied, AlreadyExists, InvalidArgument or FailedPrecondition.
        """
        self.check()
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
            raise InvalidArgument(f"The name of a key must have 1 to {LONGEST_NAME} printable characters")
        if not limits.scopes:
            raise InvalidArgument("A key needs a scope: read, write or control")
        if limits.namespaces is not None and "control" in limits.scopes:
            raise InvalidArgument("A key for some namespaces cannot control indexes; leave out the scope control")
        if limits.per_second is not None and not SLOWEST <= limits.per_second <= FASTEST:
            raise InvalidArgument(f"Requests per second must be from {SLOWEST:g} to {FASTEST:,.0f}")
        self._check_no_stronger(limits)
        return await self._keys.create(name, limits)

    def _check_no_stronger(self, limits: Limits) -> None:
        grant = GRANT.get()
        if more := [scope for scope in limits.scopes if scope not in grant.scopes]:
            raise PermissionDenied(f"Your API key lacks the scope '{more[0]}', so it cannot make a key that has it")
        own = grant.per_second
        if own is not None and (limits.per_second is None or limits.per_second > own):
            raise PermissionDenied(f"Your API key may send {own:g} requests per second, so a new key may send no more")

    async def revoke(self, name: str) -> None:
        """Delete a key. Raises PermissionDenied, NotFound or FailedPrecondition."""
        self.check()
        await self._keys.revoke(name)
