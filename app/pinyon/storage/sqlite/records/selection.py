"""Which rows are meant: namespaces by name, records by id, by filter, or by place in the order of ids."""

from typing import Any

import apsw
import numpy as np

from pinyon.domain import Selection
from pinyon.filters import Compare, Condition, Exists, In
from pinyon.storage.sqlite.filters.filter_sql import compile_filter, lookups
from pinyon.storage.sqlite.row_sets import Records


def namespace(connection: apsw.Connection, name: str) -> int | None:
    """The number of a namespace, or None."""
    found: int | None = connection.execute("SELECT ns FROM namespaces WHERE name = ?", (name,)).get
    return found


def where(selection: Selection, ns: int) -> tuple[str, list[Any]]:
    """The selected records as an SQL condition on the table records, and its parameters."""
    if selection.ids is not None:
        if not selection.ids:
            return "FALSE", []
        return "ns = ? AND id IN (SELECT value FROM carray(?))", [ns, apsw.carray(tuple(selection.ids))]
    if selection.filter is not None:
        text, parameters = compile_filter(selection.filter, ns)
        return f"ns = ? AND {text}", [ns, *parameters]
    return "ns = ?", [ns]


def kept(connection: apsw.Connection, condition: Condition, ns: int) -> Records:
    """Sorted row numbers that a filter keeps."""
    if isinstance(condition, In | Compare | Exists):
        # A condition on one field needs no look at the table records, which takes most of the time where much is kept.
        found = lookups(condition, ns)
        query = " UNION ALL ".join(text for text, _ in found) or "SELECT 0 AS record WHERE FALSE"
        parameters = [parameter for _, more in found for parameter in more]
    else:
        text, parameters = where(Selection(filter=condition), ns)
        query = f"SELECT record FROM records WHERE {text}"
    # One long text of numbers comes out of SQLite several times as fast as a row for each.
    numbers = connection.execute(f"SELECT group_concat(record, ' ') FROM ({query})", parameters).get
    if numbers is None:
        return np.empty(0, np.int64)
    rows = np.fromstring(numbers, dtype=np.int64, sep=" ")
    there = np.zeros(rows.max() + 1, dtype=bool)
    there[rows] = True
    return np.flatnonzero(there)


def prefix_range(prefix: str) -> tuple[str, str]:
    """Half-open range of the ASCII strings that begin with the prefix, in byte order."""
    return prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\U0010ffff"
