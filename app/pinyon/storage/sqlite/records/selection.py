"""Finds the rows that a call is about: the number of a namespace, and SQL conditions for the selected records."""

from typing import Any

import apsw

from pinyon.domain import Selection
from pinyon.storage.sqlite.filters.filter_sql import compile_filter


def namespace(connection: apsw.Connection, name: str) -> int | None:
    """The number of a namespace, or None if there is no such namespace."""
    number: int | None = connection.execute("SELECT ns FROM namespaces WHERE name = ?", (name,)).get
    return number


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


def prefix_range(prefix: str) -> tuple[str, str]:
    """The first string that begins with the prefix, and the first one after all of these, in byte order.

    prefix: ASCII.
    """
    return prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\U0010ffff"
