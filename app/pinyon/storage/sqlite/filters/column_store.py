"""Answers filters from the columns that are in memory, and notes which columns are missing.

A field gets a column when a filter has asked for it. Until then, and where the changes since are not logged, filters
are answered from the postings. upkeep/column_upkeep.py makes the columns.
"""

import itertools
import threading
from collections.abc import Collection
from typing import Any

import apsw
import msgspec
import numpy as np

from pinyon import metrics
from pinyon.domain import Handle
from pinyon.filters import Condition, fields, matches
from pinyon.storage.shared.row_sets import Records, RowSet
from pinyon.storage.sqlite.filters.columns import Column, Columns
from pinyon.storage.sqlite.options import AS_MEASURED, Tuning
from pinyon.storage.sqlite.schema import changes
from pinyon.storage.sqlite.vectors.vector_cache import Key

COLUMN_BYTES = 2_000
"""Memory of a column beside its values, about."""
MOST_WANTED, MOST_REFUSED = 64, 1_000
"""Fields per namespace: that get columns in one go, and that are remembered to have been refused one."""

decode = msgspec.json.Decoder(dict).decode


class NamespaceColumns(msgspec.Struct):
    """What the store knows of one namespace.

    wanted: fields that filters have asked for, and that have no column. refused: by field that cannot have a column,
    the number of records from which on it is tried again. used: by field, the number of its last use.
    """

    columns: Columns | None = None
    wanted: set[str] = msgspec.field(default_factory=set)
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    used: dict[str, int] = msgspec.field(default_factory=dict)


class ColumnStore:
    """Columns of all indexes, up to a number of bytes. Safe for several threads: one lock guards everything.

    Columns themselves never change. An update puts new ones in their place.
    """

    def __init__(self, most_bytes: int, tuning: Tuning = AS_MEASURED) -> None:
        self.most_bytes, self.from_records = most_bytes, tuning.columns_from
        self._most_changed = tuning.columns_changed
        self._lock = threading.Lock()
        self._namespaces: dict[Key, NamespaceColumns] = {}
        self._uses = itertools.count()

    def matching_rows(
        self, connection: apsw.Connection, condition: Condition, key: Key, version: int, count: int
    ) -> RowSet | None:
        """The rows that match a filter; None if the columns cannot tell.

        version, count: of the namespace and its records, as the connection's snapshot sees it. Notes that fields
        without a column are wanted.
        """
        if count < self.from_records or not self.most_bytes:
            return None
        rows = self._matching_rows(connection, condition, key, version, count)
        metrics.looked_up("column", rows is not None)
        return rows

    def _matching_rows(
        self, connection: apsw.Connection, condition: Condition, key: Key, version: int, count: int
    ) -> RowSet | None:
        columns, asked = self.get(key), fields(condition)
        missing = asked - (set() if columns is None else columns.by_field.keys())
        if columns is None or missing:
            self._want(key, _existing(connection, missing), count)
            return None
        if columns.version > version:  # the columns have seen a write that this snapshot has not
            return None
        changed = self._changed(connection, key, columns)
        if changed is None:
            return None
        self._note_use(key, asked)
        rows = columns.matching_rows(condition)
        if not len(changed):
            return rows
        now_in = [row for row, metadata in read_metadata(connection, key[1], changed) if matches(condition, metadata)]
        return rows.replaced(changed, np.sort(np.array(now_in, np.int64)))

    def column(self, connection: apsw.Connection, field: str, key: Key, version: int, count: int) -> Column | None:
        """The column of a field, as the connection's snapshot sees it; None if there is none.

        version, count: as in matching_rows(). Notes that a field without a column is wanted.
        """
        if count < self.from_records or not self.most_bytes:
            return None
        columns = self.get(key)
        if columns is None or field not in columns.by_field:
            self._want(key, _existing(connection, {field}), count)
            return None
        changed = None if columns.version > version else self._changed(connection, key, columns)
        if changed is None:
            return None
        self._note_use(key, {field})
        if not len(changed):
            return columns.by_field[field]
        return columns.replaced(changed, read_metadata(connection, key[1], changed), version).by_field[field]

    def _changed(self, connection: apsw.Connection, key: Key, columns: Columns) -> Records | None:
        """The rows that have changed since the version of the columns; None if they are too many, or not known."""
        changed = changes.since(connection, key[1], columns.version, of_vectors=False)
        return None if changed is None or len(changed) > self._most_changed else changed

    def _want(self, key: Key, missing: set[str], count: int) -> None:
        with self._lock:
            namespace = self._namespaces.get(key, NamespaceColumns())
            new = [field for field in missing if count > namespace.refused.get(field, 0)]
            if new:
                namespace.wanted.update(new[: MOST_WANTED - len(namespace.wanted)])
                self._namespaces[key] = namespace

    def _note_use(self, key: Key, used: set[str]) -> None:
        with self._lock:
            if (namespace := self._namespaces.get(key)) is not None:
                namespace.used.update(dict.fromkeys(used, next(self._uses)))

    def namespaces(self) -> set[Key]:
        """The namespaces of which something is known."""
        with self._lock:
            return set(self._namespaces)

    def get(self, key: Key) -> Columns | None:
        """The columns of a namespace."""
        with self._lock:
            namespace = self._namespaces.get(key)
            return None if namespace is None else namespace.columns

    def can_answer(self, condition: Condition, key: Key, version: int) -> bool:
        """Whether matching_rows() needs nothing but memory for this filter and version."""
        columns = self.get(key)
        return columns is not None and columns.version == version and fields(condition) <= columns.by_field.keys()

    def wants(self, handle: Handle) -> bool:
        """Whether fields of the index wait for columns."""
        with self._lock:
            return any(key[0] == handle and namespace.wanted for key, namespace in self._namespaces.items())

    def take_wanted(self, key: Key) -> set[str]:
        """The fields that wait for a column. They wait no longer."""
        with self._lock:
            namespace = self._namespaces.get(key)
            if namespace is None:
                return set()
            wanted, namespace.wanted = namespace.wanted, set()
            return wanted

    def refuse(self, key: Key, refused: Collection[str], until_records: int) -> None:
        """Make no column of these fields before the namespace has so many records."""
        with self._lock:
            namespace = self._namespaces.setdefault(key, NamespaceColumns())
            namespace.refused.update(dict.fromkeys(refused, until_records))
            if len(namespace.refused) > MOST_REFUSED:
                namespace.refused.clear()

    def put(self, key: Key, columns: Columns | None, used: Collection[str] = ()) -> None:
        """Put columns in place of those of a namespace; None: it has none any more.

        used: fields to count as just used. Drops the columns used longest ago if all together are too large.
        """
        with self._lock:
            namespace = self._namespaces.setdefault(key, NamespaceColumns())
            namespace.columns = columns
            for field in sorted(used):
                namespace.used[field] = next(self._uses)
            if used:
                self._make_room()

    def release(self, key: Key) -> None:
        """Free everything of a namespace."""
        with self._lock:
            self._namespaces.pop(key, None)

    def keep_only(self, handle: Handle, namespaces: Collection[int] = ()) -> None:
        """Free everything of an index, except for the namespaces with these numbers."""
        with self._lock:
            for key in [key for key in self._namespaces if key[0] == handle and key[1] not in namespaces]:
                del self._namespaces[key]

    @property
    def nbytes(self) -> int:
        """Memory that the columns take, about."""
        with self._lock:
            return sum(self._sizes().values())

    def _sizes(self) -> dict[tuple[Key, str], int]:
        """The memory of each column. Call with the lock held."""
        return {
            (key, field): column.nbytes + COLUMN_BYTES
            for key, namespace in self._namespaces.items()
            if namespace.columns is not None
            for field, column in namespace.columns.by_field.items()
        }

    def _make_room(self) -> None:
        """Drop the columns used longest ago until the others fit. Call with the lock held."""
        sizes = self._sizes()
        total = sum(sizes.values())
        for key, field in sorted(sizes, key=lambda place: self._namespaces[place[0]].used.get(place[1], -1)):
            if total <= self.most_bytes:
                break
            total -= sizes[key, field]
            namespace = self._namespaces[key]
            assert namespace.columns is not None
            namespace.columns = namespace.columns.without_column(field)


def _existing(connection: apsw.Connection, names: set[str]) -> set[str]:
    """Those of the fields that any record has. The postings answer for the others without reading a row."""
    return {name for name in names if connection.execute("SELECT 1 FROM fields WHERE name = ?", (name,)).get}


def read_metadata(connection: apsw.Connection, ns: int, rows: Records) -> list[tuple[int, dict[str, Any]]]:
    """The metadata of those of the rows that exist, by row number."""
    if not len(rows):
        return []
    stored = connection.execute(
        "SELECT record, metadata FROM carray(?) CROSS JOIN records ON record = value WHERE ns = ?",
        (apsw.carray(rows), ns),
    )
    return [(row, decode(metadata)) for row, metadata in stored]
