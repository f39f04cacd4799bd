"""Counts the records of a namespace by the values of a field, exactly: by a column in memory, or by the postings."""

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec
import numpy as np

from pinyon.domain import Facet, FacetPlan, Facets, Handle
from pinyon.storage.shared.postings import LONG, Kind, Posted, posted
from pinyon.storage.shared.row_sets import RowSet, mask_of
from pinyon.storage.sqlite.filters.column_store import ColumnStore
from pinyon.storage.sqlite.filters.columns import Column
from pinyon.storage.sqlite.filters.filter_cache import FilterCache
from pinyon.storage.sqlite.filters.matching import matching_rows
from pinyon.storage.sqlite.schema import tables

Counted = tuple[int, Posted, int]
"""Kind, value, and how many records have it."""
WHOLE = 2**53
"""Whole numbers below it are exact as floats, and are shown without a fraction."""


def count(
    connection: apsw.Connection,
    namespace: str,
    plan: FacetPlan,
    handle: Handle,
    cache: FilterCache,
    columns: ColumnStore | None,
) -> Facets:
    """The values of the plan's field. columns: None for an index that has none."""
    lsn = tables.lsn(connection)
    row = connection.execute("SELECT ns, record_count, version FROM namespaces WHERE name = ?", (namespace,)).get
    if row is None:
        return Facets([], 0, 0, 0, lsn)
    ns, records, version = row
    key, matching = (handle, ns), None
    if plan.filter is not None:
        matching = matching_rows(connection, plan.filter, key, version, records, cache, columns)
        records = matching.count
        if not records:
            return Facets([], 0, 0, 0, lsn)
    column = None if columns is None else columns.column(connection, plan.field, key, version, row[1])
    if column is None:
        counted, having = _by_postings(connection, ns, plan.field, matching)
    else:
        counted, having = _by_column(column, matching)
    counted.sort(key=lambda each: (-each[2], each[0], each[1]))
    values = [
        Facet(_value(connection, ns, plan.field, kind, value), number) for kind, value, number in counted[: plan.limit]
    ]
    return Facets(values, len(counted), records, records - having, lsn)


def _by_postings(
    connection: apsw.Connection, ns: int, field: str, matching: RowSet | None
) -> tuple[list[Counted], int]:
    """Every value with its count, and how many records have one."""
    of_field = "FROM postings WHERE ns = ? AND field = (SELECT field FROM fields WHERE name = ?) AND kind != ?"
    parameters: list[Any] = [ns, field, Kind.EMPTY]
    if matching is not None:
        of_field += " AND record IN (SELECT value FROM carray(?))"
        parameters.append(apsw.carray(np.ascontiguousarray(matching.rows)))
    counted: Iterable[Any] = connection.execute(
        f"SELECT kind, value, count(*) {of_field} GROUP BY kind, value", parameters
    )
    counted = list(counted)
    return counted, int(connection.execute(f"SELECT count(DISTINCT record) {of_field}", parameters).get or 0)


def _by_column(column: Column, matching: RowSet | None) -> tuple[list[Counted], int]:
    """Every value with its count, and how many records have one."""
    names = list(column.code_of)
    empty = [code for code, (kind, _) in enumerate(names) if kind == Kind.EMPTY]
    numbers, number_rows = column.numbers, column.number_rows
    codes, code_rows = column.codes, column.code_rows
    if empty:
        has_value = ~np.isin(codes, empty)
        codes, code_rows = codes[has_value], code_rows[has_value]
    if matching is not None:
        of_numbers, of_codes = (matching.contains(rows.astype(np.int64)) for rows in (number_rows, code_rows))
        numbers, number_rows, codes, code_rows = (
            numbers[of_numbers],
            number_rows[of_numbers],
            codes[of_codes],
            code_rows[of_codes],
        )
    first = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1])) if len(numbers) else np.empty(0, np.intp)
    counts = np.diff(np.append(first, len(numbers)))  # the numbers are in order
    counted: list[Counted] = [
        (int(Kind.NUMBER), value, number)
        for value, number in zip(numbers[first].tolist(), counts.tolist(), strict=True)
    ]
    for code, number in enumerate(np.bincount(codes, minlength=len(names)).tolist()):
        if number:
            counted.append((*names[code], number))
    return counted, int(np.count_nonzero(mask_of(np.concatenate([number_rows, code_rows]).astype(np.int64))))


def _value(connection: apsw.Connection, ns: int, field: str, kind: int, value: Any) -> str | float | bool:
    """A value as it was stored. A long string is only in the records that have it."""
    if kind == Kind.BOOLEAN:
        return bool(value)
    if kind == Kind.NUMBER:
        return int(value) if value == int(value) and abs(value) < WHOLE else float(value)
    if not value.startswith(LONG):
        return str(value[1:].decode())
    metadata: Any = connection.execute(
        "SELECT metadata FROM records WHERE record = (SELECT record FROM postings WHERE ns = ? AND"
        " field = (SELECT field FROM fields WHERE name = ?) AND kind = ? AND value = ? LIMIT 1)",
        (ns, field, kind, value),
    ).get
    stored = msgspec.json.decode(metadata)[field]
    texts: list[str] = stored if isinstance(stored, list) else [stored]
    return next(text for text in texts if posted(text) == (Kind.STRING, value))
