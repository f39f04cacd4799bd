"""What the caller of a request may do. Its API key decides. It is checked where something is done.

A request runs with the grant of its key in a context variable, and so does every task that it starts. The server itself
may do everything.
"""

from contextvars import ContextVar

import msgspec

from pinyon.auth.scopes import SCOPES, Scope
from pinyon.domain import IndexRef, name_of
from pinyon.errors import PermissionDenied


class Grant(msgspec.Struct, frozen=True):
    """Scopes in some indexes, and in some namespaces of them. None: in all."""

    scopes: frozenset[Scope]
    indexes: frozenset[str] | None = None
    namespaces: frozenset[str] | None = None

    def sees(self, index: IndexRef) -> bool:
        """Whether the grant is for this index."""
        return self.indexes is None or name_of(index) in self.indexes

    def enters(self, namespace: str) -> bool:
        """Whether the grant is for namespaces of this name."""
        return self.namespaces is None or namespace in self.namespaces

    @property
    def limited(self) -> bool:
        """Whether there are indexes or namespaces that the grant is not for."""
        return self.indexes is not None or self.namespaces is not None


EVERYTHING = Grant(frozenset(SCOPES))
GRANT: ContextVar[Grant] = ContextVar("grant", default=EVERYTHING)
"""Of the request that is being answered."""


def check(scope: Scope, index: IndexRef | None = None, namespace: str | None = None) -> None:
    """Raises PermissionDenied unless this may be done, whether or not there is such an index or namespace."""
    grant = GRANT.get()
    if scope not in grant.scopes:
        raise PermissionDenied(f"This API key lacks the scope '{scope}'; it has {', '.join(sorted(grant.scopes))}")
    check_sees(index)
    if namespace is not None and not grant.enters(namespace):
        raise PermissionDenied(f"This API key is not for the namespace '{namespace[:80]}'")
    if scope == "control":
        check_whole(index)


def check_sees(index: IndexRef | None) -> None:
    """Raises PermissionDenied unless the grant is for this index."""
    if index is not None and not GRANT.get().sees(index):
        raise PermissionDenied(f"This API key is not for the index {name_of(index)[:80]}")


def check_whole(index: IndexRef | None) -> None:
    """Raises PermissionDenied unless the grant is for this index with all its namespaces."""
    check_sees(index)
    if GRANT.get().namespaces is not None:
        raise PermissionDenied("This API key is for some namespaces only, and an index is more than that")


def check_unlimited() -> None:
    """Raises PermissionDenied unless the grant is for every index and namespace."""
    check("read")
    if GRANT.get().limited:
        raise PermissionDenied("This API key is for some indexes or namespaces only, and this tells of all")
