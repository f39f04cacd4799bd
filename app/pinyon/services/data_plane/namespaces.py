"""The namespaces service."""

from typing import Any

import msgspec

from pinyon.domain import Index, NamespaceInfo
from pinyon.errors import InvalidArgument
from pinyon.services import pages
from pinyon.services.data_plane import validation
from pinyon.settings import LimitSettings
from pinyon.storage.engine import DataPlane


class NamespacePage(msgspec.Struct, frozen=True):
    """Namespaces in byte order of their names. next: the token of the next page, or None.

    total: how many namespaces have the prefix.
    """

    namespaces: list[NamespaceInfo]
    next: str | None
    total: int


class Namespaces:
    """Every operation on namespaces, for every index of an installation."""

    def __init__(self, engine: DataPlane, limits: LimitSettings) -> None:
        self._engine, self._limits = engine, limits

    async def list(self, index: Index, prefix: str | None, limit: int | None, token: str | None) -> NamespacePage:
        """A page of namespaces, in byte order of their names."""
        if prefix and not prefix.isascii():
            raise InvalidArgument("The prefix must be ASCII, as names are")
        size = pages.limit(limit, self._limits.list_page, self._limits.list_page)
        after = pages.read(token, prefix) if token else ""
        namespaces, more, total = await self._engine.namespaces(index.handle, size, after, prefix or "")
        return NamespacePage(namespaces, pages.token(namespaces[-1].name, prefix) if more else None, total)

    async def describe(self, index: Index, name: str) -> NamespaceInfo:
        """One namespace. Raises NotFound."""
        return await self._engine.namespace(index.handle, validation.namespace_name(name, self._limits))

    async def create(self, index: Index, name: str, schema: dict[str, Any] | None) -> tuple[NamespaceInfo, int]:
        """Create an empty namespace. Returns it and the LSN. Raises AlreadyExists.

        The schema is stored and returned, but has no effect: every field is filterable.
        """
        if not name:
            raise InvalidArgument("The namespace needs a name")
        name = validation.namespace_name(name, self._limits)
        for field, properties in ((schema or {}).get("fields") or {}).items():
            if properties.get("filterable") is not True:
                raise InvalidArgument(
                    f"Only filterable: true is allowed in a schema, field '{field}' has another value"
                )
        lsn = await self._engine.create_namespace(index.handle, name, schema)
        return NamespaceInfo(name, 0, schema), lsn

    async def delete(self, index: Index, name: str) -> int:
        """Delete a namespace with its records. Returns the LSN. Raises NotFound."""
        return await self._engine.delete_namespace(index.handle, validation.namespace_name(name, self._limits))
