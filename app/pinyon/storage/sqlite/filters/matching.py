"""Finds the rows that match a filter: remembered, or by columns, or in the postings.

The postings always know. The other two are faster and answer for the same snapshot, or not at all.
"""

import apsw
import numpy as np

from pinyon.filters import Compare, Condition, Exists, In
from pinyon.storage.shared.row_sets import RowSet, mask_of
from pinyon.storage.sqlite.filters.column_store import ColumnStore
from pinyon.storage.sqlite.filters.filter_cache import FilterCache
from pinyon.storage.sqlite.filters.filter_sql import compile_filter, lookups
from pinyon.storage.sqlite.vectors.vector_cache import Key


def matching_rows(
    connection: apsw.Connection,
    condition: Condition,
    key: Key,
    version: int,
    count: int,
    cache: FilterCache,
    columns: ColumnStore | None,
) -> RowSet:
    """The rows of a namespace that match a filter, as the connection's snapshot sees them.

    key, version, count: of the namespace. columns: None for an index that has none.
    """
    rows = cache.get(condition, key, version)
    if rows is not None:
        return rows
    if columns is not None:
        rows = columns.matching_rows(connection, condition, key, version, count)
    if rows is None:
        rows = rows_from_postings(connection, condition, key[1])
    cache.put(condition, key, version, rows)
    return rows


def needs_no_reads(
    condition: Condition, key: Key, version: int, cache: FilterCache, columns: ColumnStore | None
) -> bool:
    """Whether matching_rows() needs nothing but memory."""
    if cache.has(condition, key, version):
        return True
    return columns is not None and columns.can_answer(condition, key, version)


def rows_from_postings(connection: apsw.Connection, condition: Condition, ns: int) -> RowSet:
    """The rows that match a filter, by the postings."""
    if isinstance(condition, In | Compare | Exists):
        # A condition on one field needs no look at the table of records, which takes most of the time if many match.
        queries = lookups(condition, ns)
        query = " UNION ALL ".join(text for text, _ in queries) or "SELECT 0 AS record WHERE FALSE"
        parameters = [parameter for _, more in queries for parameter in more]
    else:
        text, parameters = compile_filter(condition, ns)
        query, parameters = f"SELECT record FROM records WHERE ns = ? AND {text}", [ns, *parameters]
    # One long text of numbers comes out of SQLite several times as fast as a row for each.
    numbers = connection.execute(f"SELECT group_concat(record, ' ') FROM ({query})", parameters).get
    if numbers is None:
        return RowSet.of_rows(np.empty(0, np.int64))
    return RowSet.of_mask(mask_of(np.fromstring(numbers, dtype=np.int64, sep=" ")))
