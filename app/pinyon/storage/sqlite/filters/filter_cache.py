"""Remembers which rows matched the filters used last: most filters come again, and finding the rows takes the time.

What is remembered is true of one version of a namespace, and every write makes another version.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Collection

from pinyon import metrics
from pinyon.domain import Handle
from pinyon.filters import Condition
from pinyon.storage.shared.row_sets import RowSet
from pinyon.storage.sqlite.vectors.vector_cache import Key

ENTRY_BYTES = 900
"""Memory of an entry beside its rows and its text, about."""

Place = tuple[Key, str]
"""A namespace, and the text of a filter: to Python True equals 1.0, and to a filter it does not."""


class FilterCache:
    """The filters used last, up to a number of bytes. Safe for several threads."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[Place, tuple[int, RowSet]] = OrderedDict()
        self._bytes = 0

    def namespaces(self) -> set[Key]:
        """The namespaces with cached filters."""
        with self._lock:
            return {key for key, _ in self._entries}

    def get(self, condition: Condition, key: Key, version: int) -> RowSet | None:
        """The rows of this version of a namespace that match a filter, if they are remembered."""
        place = key, repr(condition)
        with self._lock:
            entry = self._entries.get(place)
            is_hit = entry is not None and entry[0] == version
            metrics.looked_up("filter", is_hit)
            if entry is None or not is_hit:
                return None
            self._entries.move_to_end(place)
            return entry[1]

    def has(self, condition: Condition, key: Key, version: int) -> bool:
        """Whether get() would return rows."""
        with self._lock:
            entry = self._entries.get((key, repr(condition)))
            return entry is not None and entry[0] == version

    def put(self, condition: Condition, key: Key, version: int, rows: RowSet) -> None:
        """Remember the rows that match a filter. Drops the filters used longest ago if there is no room."""
        place, rows = (key, repr(condition)), rows.compacted()
        if _size(place, rows) > self.most_bytes // 4:
            return
        with self._lock:
            old = self._entries.pop(place, None)
            self._bytes += _size(place, rows) - (0 if old is None else _size(place, old[1]))
            self._entries[place] = version, rows
            while self._bytes > self.most_bytes:
                dropped_place, (_, dropped) = self._entries.popitem(last=False)
                self._bytes -= _size(dropped_place, dropped)

    @property
    def nbytes(self) -> int:
        """Memory that the entries take."""
        return self._bytes

    def keep_only(self, handle: Handle, namespaces: Collection[int] = ()) -> None:
        """Free everything of an index, except for the namespaces with these numbers."""
        with self._lock:
            for place in [place for place in self._entries if place[0][0] == handle and place[0][1] not in namespaces]:
                self._bytes -= _size(place, self._entries.pop(place)[1])


def _size(place: Place, rows: RowSet) -> int:
    return rows.nbytes + sys.getsizeof(place[1]) + ENTRY_BYTES
