"""The facets service: how many records have which values of a field."""

from typing import Any

from pinyon import filters
from pinyon.domain import FacetPlan, Index
from pinyon.domain import Facets as FacetCounts
from pinyon.errors import InvalidArgument
from pinyon.services.data_plane import validation
from pinyon.settings import LimitSettings
from pinyon.storage.engine import DataPlane

VALUES, MOST_VALUES = 10, 1_000
"""Values of an answer: without a limit, and at most."""


class Facets:
    """Counts records by the values of a field, for every index of an installation."""

    def __init__(self, engine: DataPlane, limits: LimitSettings) -> None:
        self._engine, self._limits = engine, limits

    async def count(
        self, index: Index, namespace: str, field: str, raw_filter: dict[str, Any] | None, limit: int | None
    ) -> FacetCounts:
        """The values of a field with the most records. limit: how many values; None for VALUES.

        Raises InvalidArgument for an empty field, a wrong limit or a wrong filter.
        """
        namespace = validation.namespace_name(namespace, self._limits)
        if not field:
            raise InvalidArgument("'field' must be the name of a field of the records, got an empty string")
        limit = VALUES if limit is None else limit
        if not 1 <= limit <= MOST_VALUES:
            raise InvalidArgument(f"'limit' must be from 1 to {MOST_VALUES}, got {limit}")
        condition = None if raw_filter is None else filters.parse(raw_filter, self._limits.filter_values)
        return await self._engine.facets(index.handle, namespace, FacetPlan(field, limit, condition))
