"""What the caller of a request may do, which its API key decides.

A request, and every task that it starts, has the grant of its key in a context variable. The code that does something
checks the grant first. The server itself may do everything.
"""

from contextvars import ContextVar

import msgspec

from pinyon.auth.scopes import SCOPES, Scope
from pinyon.domain import IndexRef, name_of
from pinyon.errors import PermissionDenied


class Grant(msgspec.Struct, frozen=True):
    """What a key allows: scopes, and the indexes and namespaces in which they hold. None: in all.

    per_second: the most requests; None: no limit. Guard counts them.
    """

    scopes: frozenset[Scope]
    indexes: frozenset[str] | None = None
    namespaces: frozenset[str] | None = None
    per_second: float | None = None

    def allows_index(self, index: IndexRef) -> bool:
        """Whether the grant is for this index."""
        return self.indexes is None or name_of(index) in self.indexes

    def allows_namespace(self, namespace: str) -> bool:
        """Whether the grant is for namespaces of this name, in the indexes that it is for."""
        return self.namespaces is None or namespace in self.namespaces

    @property
    def limited(self) -> bool:
        """Whether the grant is for some indexes or some namespaces only."""
        return self.indexes is not None or self.namespaces is not None


EVERYTHING = Grant(frozenset(SCOPES))
GRANT: ContextVar[Grant] = ContextVar("grant", default=EVERYTHING)
"""The grant of the request that is being answered."""


def check(scope: Scope, index: IndexRef | None = None, namespace: str | None = None) -> None:
    """Raises PermissionDenied unless the caller may do this. The index or namespace need not exist."""
    grant = GRANT.get()
    if scope not in grant.scopes:
        raise PermissionDenied(f"This API key lacks the scope '{scope}'; it has {', '.join(sorted(grant.scopes))}")
    check_index(index)
    if namespace is not None and not grant.allows_namespace(namespace):
        raise PermissionDenied(f"This API key is not for the namespace '{namespace[:80]}'")
    if scope == "control":
        check_whole(index)


def check_index(index: IndexRef | None) -> None:
    """Raises PermissionDenied unless the grant is for this index."""
    if index is not None and not GRANT.get().allows_index(index):
        raise PermissionDenied(f"This API key is not for the index {name_of(index)[:80]}")


def check_whole(index: IndexRef | None) -> None:
    """Raises PermissionDenied unless the grant is for this index and all its namespaces."""
    check_index(index)
    if GRANT.get().namespaces is not None:
        raise PermissionDenied("This API key is for some namespaces only; this request needs one for the whole index")


def check_unlimited() -> None:
    """Raises PermissionDenied unless the grant is for all indexes and namespaces."""
    check("read")
    if GRANT.get().limited:
        raise PermissionDenied(
            "This API key is for some indexes or namespaces only, and this request needs a key for all of them"
        )
