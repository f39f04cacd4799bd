"""Which hits of a ranking are shown if only so many may have the same value of a field. Pure."""

from collections import Counter
from typing import Any

from pinyon.domain import Grouping, Metadata
from pinyon.filters import Scalar

Key = tuple[bool, Scalar]
"""A value, and whether it is a boolean: to Python True equals 1.0, and to a filter it does not."""


class Groups:
    """Counts the hits of each value of a field. Give it the hits best first.

    Values are equal if a filter says so. A hit with a list belongs to the group of each value in the list, and needs
    room in all of them. A hit without the field, or with an empty list, belongs to no group and is always admitted.
    """

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self._counts: Counter[Key] = Counter()

    def admits(self, metadata: Metadata) -> bool:
        """Whether there is room for a hit with these fields. If so, the hit is counted."""
        keys = _keys(metadata.get(self._grouping.field))
        if any(self._counts[key] >= self._grouping.size for key in keys):
            return False
        self._counts.update(keys)
        return True

    @property
    def full(self) -> tuple[Scalar, ...]:
        """The values that have no room for another hit."""
        return tuple(value for (_, value), count in self._counts.items() if count >= self._grouping.size)


def _keys(stored: Any) -> set[Key]:
    """The values of a field, each once."""
    values = stored if isinstance(stored, list) else [] if stored is None else [stored]
    return {(isinstance(value, bool), value if isinstance(value, str | bool) else float(value)) for value in values}
