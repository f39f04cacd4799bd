"""The records that a backup has: what an export reads, because all of them are of the same moment."""

from collections.abc import Sequence
from typing import Any

from pinyon import filters
from pinyon.domain import NamespaceInfo, PagePlan, Record, Selection
from pinyon.errors import InUse
from pinyon.services import pages
from pinyon.services.backups.backups import Backups
from pinyon.services.data_plane import sizes, validation
from pinyon.settings import LimitSettings
from pinyon.storage.engine import Engine

PAGE = 1_000
"""Records of a page if the request does not say how many."""


class BackupRecords:
    """Reads backups. Every method needs a key that may see the backup, and raises NotFound otherwise.

    They raise InUse if the backup is not ready.
    """

    def __init__(self, engine: Engine, backups: Backups, limits: LimitSettings) -> None:
        self._engine, self._backups, self._limits = engine, backups, limits

    async def namespaces(self, id: str) -> list[NamespaceInfo]:
        """The namespaces of a backup, in byte order of their names."""
        await self._check(id)
        return await self._engine.backup_namespaces(id)

    async def page(
        self, id: str, namespace: str, raw_filter: Any, limit: int | None, token: str | None
    ) -> tuple[Sequence[Record], str | None]:
        """A page of the records that match a filter, in byte order of their ids, and the token of the next page.

        A page has fewer records than `limit` if more would exceed the setting result_bytes. raw_filter: None for all
        records. An unknown namespace has no records. Raises InvalidArgument.
        """
        dimension = await self._check(id)
        name = validation.namespace_name(namespace, self._limits)
        condition = None if raw_filter is None else filters.parse(raw_filter, self._limits.filter_values)
        size = pages.limit(limit, PAGE, self._limits.fetch_page)
        fitting = self._limits.result_bytes // (sizes.NUMBER_BYTES * dimension + 1) + 1
        plan = PagePlan(min(size, fitting), Selection(filter=condition), pages.read(token) if token else "")
        page = await self._engine.backup_page(id, name, plan)
        records = _that_fit(page.records, self._limits.result_bytes)
        more = page.more or len(records) < len(page.records)
        return records, pages.token(records[-1].id) if more else None

    async def _check(self, id: str) -> int:
        """The dimension of the backup's vectors. Raises NotFound, or InUse if it is not ready."""
        state = await self._backups.describe(id)
        if state.backup is None:
            raise InUse(f"Backup {id} is not ready: {state.problem or 'it is being taken'}")
        return state.index.spec.dimension


def _that_fit(records: Sequence[Record], most_bytes: int) -> Sequence[Record]:
    """The first of these records that have so many bytes together, and at least one."""
    total = 0
    for place, record in enumerate(records):
        total += sizes.of_record(record)
        if place and total > most_bytes:
            return records[:place]
    return records
