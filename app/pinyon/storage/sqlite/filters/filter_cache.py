"""Which rows a filter keeps, remembered: most filters come again, and finding out is what takes the time.

What is kept is true of one version of a namespace, and every write makes another.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection

from pinyon import metrics
from pinyon.domain import Handle
from pinyon.filters import Condition
from pinyon.storage.sqlite.row_sets import Records
from pinyon.storage.sqlite.vectors.vector_cache import Key

ENTRY_BYTES = 700
"""What an entry takes beside its rows and its text, about."""


class FilterCache:
    """The filters used last, up to a number of bytes. Safe for several threads."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[Key, str], tuple[int, Records]] = OrderedDict()
        self._bytes = 0

    def kept(self, condition: Condition, key: Key, version: int, find: Callable[[], Records]) -> Records:
        """Sorted row numbers that a filter keeps, of the namespace with this key in this version; find() finds out."""
        place = key, repr(condition)  # not the condition: True and 1.0 are equal to Python, and not to a filter
        with self._lock:
            found = self._held.get(place)
            metrics.looked_up("filter", found is not None and found[0] == version)
            if found is not None and found[0] == version:
                self._held.move_to_end(place)
                return found[1]
        rows = find()
        if _size(place, rows) <= self.most_bytes // 4:
            self._put(place, version, rows)
        return rows

    def remembers(self, condition: Condition, key: Key, version: int) -> bool:
        """Whether kept() would not have to find out."""
        with self._lock:
            found = self._held.get((key, repr(condition)))
        return found is not None and found[0] == version

    def _put(self, place: tuple[Key, str], version: int, rows: Records) -> None:
        with self._lock:
            old = self._held.pop(place, None)
            self._bytes += _size(place, rows) - (0 if old is None else _size(place, old[1]))
            self._held[place] = version, rows
            while self._bytes > self.most_bytes:
                dropped_place, (_, dropped) = self._held.popitem(last=False)
                self._bytes -= _size(dropped_place, dropped)

    @property
    def nbytes(self) -> int:
        """Memory that what is kept takes."""
        return self._bytes

    def keep_only(self, handle: Handle, namespaces: Collection[int] = ()) -> None:
        """Free everything of an index, except for the namespaces with these numbers."""
        with self._lock:
            for place in [place for place in self._held if place[0][0] == handle and place[0][1] not in namespaces]:
                self._bytes -= _size(place, self._held.pop(place)[1])


def _size(place: tuple[Key, str], rows: Records) -> int:
    return rows.nbytes + sys.getsizeof(place[1]) + ENTRY_BYTES
