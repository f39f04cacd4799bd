"""Makes the columns that filters have asked for, and brings them up to date."""

import logging
from functools import partial
from typing import Any

import apsw
import numpy as np

from pinyon.errors import NotFound
from pinyon.storage.shared.row_sets import Records
from pinyon.storage.sqlite.connection.database import Database
from pinyon.storage.sqlite.filters.column_store import ColumnStore, read_metadata
from pinyon.storage.sqlite.filters.columns import NAME_BYTES, Column, Columns, column, joined
from pinyon.storage.sqlite.options import Tuning
from pinyon.storage.sqlite.schema import changes
from pinyon.storage.sqlite.upkeep.background_thread import BackgroundThread
from pinyon.storage.sqlite.upkeep.namespace_state import NamespaceState, log_changes
from pinyon.storage.sqlite.vectors import vector_rows

KEEP_SHARE = 0.5
"""A namespace keeps its columns until it has less than this share of the records that it needs to get some."""
NEVER = 2**62
"""Number of records at which a column that could not be made is tried again: not before the next start."""

log = logging.getLogger("pinyon.storage")


class ColumnUpkeep:
    """Writes the columns that a ColumnStore answers from."""

    def __init__(self, store: ColumnStore, thread: BackgroundThread, tuning: Tuning) -> None:
        self._store, self._thread, self._tuning = store, thread, tuning

    async def maintain(self, database: Database, state: NamespaceState) -> None:
        """Bring the columns of a namespace up to date, and make those that filters have asked for.

        If that fails, the namespace has no columns, and its filters are answered from the postings.
        """
        if state.count < self._store.from_records * KEEP_SHARE:
            self._store.release(state.key)
            return
        wanted = self._store.take_wanted(state.key)
        try:
            await self._maintain(database, state, wanted)
        except NotFound:  # the index was deleted meanwhile
            self._store.release(state.key)
            raise
        except Exception:
            log.exception("no columns for namespace %s of %s", state.ns, state.key[0])
            self._store.put(state.key, None)
            self._store.refuse(state.key, wanted, until_records=NEVER)

    def needed_from(self, state: NamespaceState) -> int | None:
        """The version from which on the columns need the logged changes; None if there are none."""
        columns = self._store.get(state.key)
        return None if columns is None else columns.version

    async def _maintain(self, database: Database, state: NamespaceState, wanted: set[str]) -> None:
        columns = self._store.get(state.key)
        if columns is not None:
            updated = await self._updated(database, state, columns, always=bool(wanted))
            if updated is None:
                wanted |= columns.by_field.keys()
            columns = updated
            self._store.put(state.key, columns)
        if not wanted:
            return
        if columns is None:
            if not await log_changes(database, state):
                return
            columns = await database.read(partial(_without_fields, ns=state.ns))
        for field in sorted(wanted):
            new = await self._read(database, state.ns, field)
            if new is None:
                self._store.refuse(state.key, {field}, until_records=2 * int(columns.alive.sum()))
            else:
                columns = columns.with_column(field, new)
        if columns.by_field:
            self._store.put(state.key, columns, used=wanted)

    async def _updated(
        self, database: Database, state: NamespaceState, columns: Columns, always: bool
    ) -> Columns | None:
        """The columns, brought up to date if much has changed, or always; None if they must be read again."""
        version, changed = await database.read(partial(_changes, ns=state.ns, since=columns.version))
        if changed is None or len(changed) > len(columns.alive):
            return None
        rows_enough = len(changed) >= self._tuning.columns_updated_rows
        writes_enough = version - columns.version >= self._tuning.columns_updated_writes
        if not (rows_enough or writes_enough or always):
            return columns
        metadata = await database.read(partial(read_metadata, ns=state.ns, rows=changed))
        return await self._thread.run(columns.replaced, changed, metadata, version)

    async def _read(self, database: Database, ns: int, field: str) -> Column | None:
        """Read the column of a field in parts; None if it is too large.

        Rows may change between two parts. Such changes are logged, and filters judge these rows by their metadata.
        """
        parts: list[Column] = [column([], {})]
        last: tuple[Any, ...] = (-1, 0, 0)
        size, most = 0, self._tuning.postings_per_read
        while True:
            postings = await database.read(partial(_postings, ns=ns, field=field, after=last, most=most))
            parts.append(await self._thread.run(column, postings, parts[-1].code_of))
            size += parts[-1].nbytes - NAME_BYTES * len(parts[-1].code_of)
            if size + NAME_BYTES * len(parts[-1].code_of) > self._store.most_bytes:
                return None
            if len(postings) < most:
                return joined(parts)
            last = postings[-1]


def _changes(connection: apsw.Connection, ns: int, since: int) -> tuple[int, Records | None]:
    """The version of a namespace, and the rows whose metadata changed since another one."""
    return changes.version(connection, ns), changes.since(connection, ns, since, of_vectors=False)


def _without_fields(connection: apsw.Connection, ns: int) -> Columns:
    """Which rows a namespace has, without the column of any field."""
    rows = vector_rows.row_numbers(connection, ns)
    alive = np.zeros(int(rows.max(initial=-1)) + 1, dtype=bool)
    alive[rows] = True
    return Columns(changes.version(connection, ns), alive, {})


def _postings(connection: apsw.Connection, ns: int, field: str, after: tuple[Any, ...], most: int) -> list[Any]:
    """The next postings of a field: kind, value and row number, in this order."""
    return connection.execute(
        "SELECT kind, value, record FROM postings"
        " WHERE ns = ? AND field = (SELECT field FROM fields WHERE name = ?) AND (kind, value, record) > (?, ?, ?)"
        " ORDER BY kind, value, record LIMIT ?",
        (ns, field, *after, most),
    ).fetchall()
