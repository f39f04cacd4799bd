"""The data plane of the engine for callers with API keys. Every verb first checks what the caller may do."""

from collections.abc import Awaitable, Sequence
from typing import Any

from pinyon.auth.permissions import GRANT, check
from pinyon.domain import (
    FacetPlan,
    Facets,
    Fingerprint,
    IndexRef,
    NamespaceInfo,
    Note,
    Page,
    PagePlan,
    QueryAnswer,
    QueryPlan,
    Record,
    Selection,
    UpdatePlan,
)
from pinyon.errors import NotFound
from pinyon.storage.engine import DataPlane


class GuardedEngine:
    """A DataPlane that calls another one. All methods raise PermissionDenied if the caller may not do this."""

    def __init__(self, engine: DataPlane) -> None:
        self._engine = engine

    async def upsert(
        self,
        index: IndexRef,
        namespace: str,
        records: Sequence[Record],
        fingerprint: Fingerprint | None = None,
        note: Note | None = None,
    ) -> int:
        check("write", index, namespace)
        return await self._engine.upsert(index, namespace, records, fingerprint, note)

    async def query(self, index: IndexRef, namespace: str, plan: QueryPlan) -> QueryAnswer:
        check("read", index, namespace)
        return await self._engine.query(index, namespace, plan)

    async def page(self, index: IndexRef, namespace: str, plan: PagePlan) -> Page:
        check("read", index, namespace)
        return await self._engine.page(index, namespace, plan)

    async def update(self, index: IndexRef, namespace: str, plan: UpdatePlan) -> tuple[int, int]:
        check("write", index, namespace)
        # The number of matching records, or the size of merged metadata, would reveal what is stored.
        if plan.selection.filter is not None or plan.metadata is not None:
            check("read", index, namespace)
        return await self._engine.update(index, namespace, plan)

    async def count(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        check("read", index, namespace)
        return await self._engine.count(index, namespace, selection)

    async def facets(self, index: IndexRef, namespace: str, plan: FacetPlan) -> Facets:
        check("read", index, namespace)
        return await self._engine.facets(index, namespace, plan)

    async def delete(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        check("write", index, namespace)
        return await self._hide_not_found(index, namespace, self._engine.delete(index, namespace, selection))

    async def every_namespace(self, index: IndexRef) -> list[NamespaceInfo]:
        check("read", index)
        grant = GRANT.get()
        return [each for each in await self._engine.every_namespace(index) if grant.allows_namespace(each.name)]

    async def namespaces(
        self, index: IndexRef, limit: int, after: str = "", prefix: str = ""
    ) -> tuple[list[NamespaceInfo], bool, int]:
        check("read", index)
        if GRANT.get().namespaces is None:
            return await self._engine.namespaces(index, limit, after, prefix)
        allowed = [each for each in await self.every_namespace(index) if each.name.startswith(prefix)]
        following = [each for each in allowed if each.name > after]
        return following[:limit], len(following) > limit, len(allowed)

    async def namespace(self, index: IndexRef, name: str) -> NamespaceInfo:
        check("read", index, name)
        return await self._engine.namespace(index, name)

    async def create_namespace(self, index: IndexRef, name: str, schema: dict[str, Any] | None) -> int:
        check("write", index, name)
        check("read", index, name)  # the answer reveals whether the namespace existed
        return await self._engine.create_namespace(index, name, schema)

    async def delete_namespace(self, index: IndexRef, name: str) -> int:
        check("write", index, name)
        return await self._hide_not_found(index, name, self._engine.delete_namespace(index, name))

    async def _hide_not_found(self, index: IndexRef, namespace: str, deletion: Awaitable[int]) -> int:
        """The LSN of a deletion. If the namespace does not exist, only a caller that may read gets an error.

        Others would learn from the error which namespaces exist. They get the LSN of a write that changes nothing.
        """
        try:
            return await deletion
        except NotFound:
            if "read" in GRANT.get().scopes:
                raise
            return (await self._engine.update(index, namespace, UpdatePlan(Selection(ids=[]))))[1]
