"""Which fields of which namespaces are held by column, and keeping them up to date, beside everything else.

A field gets a column when a filter has asked for it; until it is there, and wherever the changes since are not known,
filters are answered from the postings. Changes are those that writes note down (changes.py).
"""

import itertools
import logging
import threading
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

import apsw
import msgspec
import numpy as np

from pinyon import metrics
from pinyon.filters import Condition, fields, matches
from pinyon.storage.sqlite.connection.database import Database
from pinyon.storage.sqlite.filters.columns import NAME_BYTES, Column, Columns, column, joined
from pinyon.storage.sqlite.row_sets import Records, without
from pinyon.storage.sqlite.schema import changes
from pinyon.storage.sqlite.vectors import vector_rows
from pinyon.storage.sqlite.vectors.vector_cache import Key

COLUMNS_FROM, KEPT_FROM = 2_000, 0.5
"""Records of a namespace that has columns, and the share of it under which they are given up."""
POSTINGS_AT_ONCE = 20_000
"""Read at a time: other readers wait no longer."""
MOST_CHANGED = 1_000
"""Rows that columns may be behind: each is read and judged by its fields."""
TAKEN_IN_FROM, WRITES_TAKEN_IN_FROM = 200, 500
"""Changed rows, and writes, from which on they are worked into the columns, which are copied for it."""

COLUMN_BYTES = 2_000
"""What a column takes beside its values, about."""
MOST_WANTED, MOST_REFUSED = 64, 10_000
"""Fields that a namespace gets columns for in one go; and fields that are known not to get one."""
REFUSED = 2**62
"""Records that a namespace must have for another try where something went wrong: until the next start."""

log = logging.getLogger("pinyon.storage")

decode = msgspec.json.Decoder(dict).decode
Compute = Callable[..., Awaitable[Any]]
"""Runs a function with its arguments on a thread for such work."""


class ColumnStore:
    """Columns of all indexes, up to a number of bytes. kept() may be called by several threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: dict[Key, Columns] = {}
        self._wanted: dict[Key, set[str]] = {}
        self._refused: dict[tuple[Key, str], int] = {}
        self._used: dict[tuple[Key, str], int] = {}
        self._uses = itertools.count()
        self._lock = threading.Lock()

    def kept(
        self, connection: apsw.Connection, condition: Condition, key: Key, version: int, count: int
    ) -> Records | None:
        """Sorted numbers of the rows a filter keeps; None if the columns do not tell.

        version, count: of the namespace and its records, as the connection's snapshot sees it. Fields without a column
        are wanted from now on.
        """
        if count < COLUMNS_FROM or not self._most_bytes:
            return None
        rows = self._found(connection, condition, key, version, count)
        metrics.looked_up("column", rows is not None)
        return rows

    def _found(
        self, connection: apsw.Connection, condition: Condition, key: Key, version: int, count: int
    ) -> Records | None:
        columns, asked = self._held.get(key), fields(condition)
        missing = asked - (set() if columns is None else columns.held.keys())
        if columns is None or missing:
            self._want(key, _known(connection, missing), count)
            return None
        if columns.version > version:  # they have seen a write that this snapshot has not
            return None
        changed = changes.since(connection, key[1], columns.version, of_vectors=False)
        if changed is None or len(changed) > MOST_CHANGED:
            return None
        with self._lock:
            now = next(self._uses)
            self._used.update(((key, field), now) for field in asked)
        rows = columns.kept(condition)
        if not len(changed):
            return rows
        new = [row for row, metadata in _fields(connection, key[1], changed) if matches(condition, metadata)]
        rows, more = without(rows, changed), np.sort(np.array(new, np.int64))
        return np.insert(rows, np.searchsorted(rows, more), more)

    def _want(self, key: Key, missing: set[str], count: int) -> None:
        with self._lock:
            new = {field for field in missing if count > self._refused.get((key, field), 0)}
            if new:
                wanted = self._wanted.setdefault(key, set())
                wanted.update(list(new)[: MOST_WANTED - len(wanted)])
            if len(self._refused) > MOST_REFUSED:
                self._refused.clear()

    def knows(self, condition: Condition, key: Key, version: int) -> bool:
        """Whether kept() needs nothing but memory for a filter, in this version."""
        columns = self._held.get(key)
        return columns is not None and columns.version == version and fields(condition) <= columns.held.keys()

    def wants(self, handle: str) -> bool:
        """Whether fields of the index wait for see_to()."""
        return any(key[0] == handle for key in list(self._wanted))

    def follows(self, key: Key) -> bool:
        """Whether there are columns of a namespace, which need its changes."""
        return key in self._held

    def oldest(self, key: Key, version: int) -> int:
        """Up to which version, at most the given one, changes of a namespace are needed no longer."""
        columns = self._held.get(key)
        return version if columns is None else min(version, columns.version)

    def drop(self, key: Key) -> None:
        """Let go of a namespace."""
        with self._lock:
            self._held.pop(key, None)
            self._wanted.pop(key, None)
            for known in (self._refused, self._used):
                for each in [each for each in known if each[0] == key]:
                    del known[each]

    def keep_only(self, handle: str, numbers: Collection[int] = ()) -> None:
        """Let go of an index, except for the namespaces with these numbers."""
        known = {*self._held, *self._wanted, *(key for key, _ in self._refused)}
        for key in [key for key in known if key[0] == handle and key[1] not in numbers]:
            self.drop(key)

    async def see_to(self, database: Database, key: Key, count: int, compute: Compute) -> None:
        """Take in what has changed, and the fields that are wanted. Whatever fails costs the columns, and no more.

        count: records of the namespace.
        """
        if count < COLUMNS_FROM * KEPT_FROM:
            self.drop(key)
            return
        with self._lock:
            wanted = self._wanted.pop(key, set())
        try:
            await self._see_to(database, key, wanted, compute)
        except Exception:  # the postings are whole, and answer
            log.exception("no columns for namespace %s of %s", key[1], key[0])
            self._held.pop(key, None)
            self._refused.update(((key, field), REFUSED) for field in wanted)

    async def _see_to(self, database: Database, key: Key, wanted: set[str], compute: Compute) -> None:
        columns = self._held.get(key)
        if columns is not None:
            version, changed = await database.read(partial(_changed, ns=key[1], since=columns.version))
            if changed is None or len(changed) > len(columns.alive):
                wanted |= columns.held.keys()
                self._held.pop(key)
                columns = None
            elif wanted or len(changed) >= TAKEN_IN_FROM or version - columns.version >= WRITES_TAKEN_IN_FROM:
                there = await database.read(partial(_fields, ns=key[1], rows=changed))
                columns = self._held[key] = await compute(columns.replaced, changed, there, version)
        if not wanted:
            return
        if columns is None:
            if await database.write(partial(changes.follow, ns=key[1])) is None:
                return
            version, rows = await database.read(partial(_rows, ns=key[1]))
            alive = np.zeros(int(rows.max(initial=-1)) + 1, dtype=bool)
            alive[rows] = True
            columns = Columns(version, alive, {})
        for field in sorted(wanted):
            new = await self._read(database, key[1], field, compute)
            if new is None:
                self._refused[key, field] = 2 * int(columns.alive.sum())
                continue
            columns = columns.with_column(field, new)
            self._used[key, field] = next(self._uses)
        if columns.held:
            self._held[key] = columns
            self._make_room()

    async def _read(self, database: Database, ns: int, field: str, compute: Compute) -> Column | None:
        """The column of a field; None if it is too large to be kept.

        It is read in parts, between which rows may change: those are noted down, and judged by their fields.
        """
        parts: list[Column] = [column([], {})]
        last: tuple[Any, ...] = (-1, 0, 0)
        size = 0
        while True:
            found = await database.read(partial(_postings, ns=ns, field=field, after=last))
            parts.append(await compute(column, found, parts[-1].code_of))
            size += parts[-1].nbytes - NAME_BYTES * len(parts[-1].code_of)
            if size + NAME_BYTES * len(parts[-1].code_of) > self._most_bytes:
                return None
            if len(found) < POSTINGS_AT_ONCE:
                return joined(parts)
            last = found[-1]

    @property
    def nbytes(self) -> int:
        """Memory that the columns take."""
        held = [column for columns in self._held.values() for column in columns.held.values()]
        return sum(column.nbytes + COLUMN_BYTES for column in held)

    def _make_room(self) -> None:
        """Drop the columns used longest ago, until the others are not too large."""
        sizes = {
            (key, field): held.nbytes + COLUMN_BYTES
            for key, columns in self._held.items()
            for field, held in columns.held.items()
        }
        total = sum(sizes.values())
        for key, field in sorted(sizes, key=lambda each: self._used.get(each, -1)):
            if total <= self._most_bytes:
                break
            total -= sizes[key, field]
            columns = self._held[key]
            held = {name: each for name, each in columns.held.items() if name != field}
            if held:
                self._held[key] = Columns(columns.version, columns.alive, held)
            else:
                del self._held[key]


def _known(connection: apsw.Connection, names: set[str]) -> set[str]:
    """Those of the fields that any record has; the postings answer for others at once."""
    return {name for name in names if connection.execute("SELECT 1 FROM fields WHERE name = ?", (name,)).get}


def _changed(connection: apsw.Connection, ns: int, since: int) -> tuple[int, Records | None]:
    return changes.version(connection, ns), changes.since(connection, ns, since, of_vectors=False)


def _rows(connection: apsw.Connection, ns: int) -> tuple[int, Records]:
    return changes.version(connection, ns), vector_rows.rows(connection, ns)


def _fields(connection: apsw.Connection, ns: int, rows: Records) -> list[tuple[int, dict[str, Any]]]:
    """Those of the rows that there are, with their fields."""
    if not len(rows):
        return []
    found = connection.execute(
        "SELECT record, metadata FROM carray(?) CROSS JOIN records ON record = value WHERE ns = ?",
        (apsw.carray(rows), ns),
    )
    return [(row, decode(metadata)) for row, metadata in found]


def _postings(connection: apsw.Connection, ns: int, field: str, after: tuple[Any, ...]) -> list[Any]:
    return connection.execute(
        "SELECT kind, value, record FROM postings"
        " WHERE ns = ? AND field = (SELECT field FROM fields WHERE name = ?) AND (kind, value, record) > (?, ?, ?)"
        " ORDER BY kind, value, record LIMIT ?",
        (ns, field, *after, POSTINGS_AT_ONCE),
    ).fetchall()
