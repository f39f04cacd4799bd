"""Counts the records of a namespace by the values of a field, exactly."""

from contextlib import nullcontext
from typing import Any

import msgspec

from pinyon.domain import Facet, FacetPlan, Facets
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.filters.filter_sql import compile_filter
from pinyon.storage.postgres.filters.filterable import LONG, PLAIN, shown_value, stored_field, stored_value
from pinyon.storage.postgres.filters.joins import filtering
from pinyon.storage.postgres.records.selection import namespace as namespace_number
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.shared.postings import LONG as DIGEST
from pinyon.storage.shared.postings import Kind, Posted, posted

WHOLE = 2**53
"""Whole numbers below it are exact as floats, and are shown without a fraction."""


async def count(connection: Connection, lsn: int, namespace: str, plan: FacetPlan) -> Facets:
    """The values of the plan's field. lsn: that the connection's snapshot shows."""
    ns = await namespace_number(connection, namespace)
    if ns is None:
        return Facets([], 0, 0, 0, lsn)
    test, of_test = ("TRUE", []) if plan.filter is None else compile_filter(plan.filter, ns)
    values = f"(records.fields -> '{ns.number}' -> %s)"
    field = stored_field(plan.field)
    async with nullcontext() if plan.filter is None else filtering(connection, ns):
        row = await (
            await connection.execute(
                f"SELECT count(*), count(*) FILTER (WHERE jsonb_array_length({values}) > 0) FROM records"
                f" WHERE {ns.rows} AND {test}",
                [field, *of_test],
            )
        ).fetchone()
        assert row is not None
        records, having = row
        # A list counts once for each of its values, however often it has it.
        cursor = await connection.execute(
            f"SELECT value, count(DISTINCT record), min(record) FROM records, jsonb_array_elements({values}) AS value"
            f" WHERE {ns.rows} AND {test} GROUP BY value",
            [field, *of_test],
        )
        counted = [(stored, number, example) for stored, number, example in await cursor.fetchall()]
    if not records:
        return Facets([], 0, 0, 0, lsn)
    counted.sort(key=lambda each: (-each[1], *_order(each[0])))
    facets = [
        Facet(_shown(await _value(connection, ns, plan.field, stored, example)), number)
        for stored, number, example in counted[: plan.limit]
    ]
    return Facets(facets, len(counted), records, records - having, lsn)


def _order(stored: Any) -> tuple[Kind, Posted]:
    """The place of a stored value among others of the same count: as shared.postings orders them."""
    if not isinstance(stored, str):
        return posted(stored if isinstance(stored, bool) else float(stored))
    if stored.startswith(PLAIN):
        return posted(stored[len(PLAIN) :])
    return Kind.STRING, DIGEST + bytes.fromhex(stored[len(LONG) :])


def _shown(value: Any) -> str | float | bool:
    if isinstance(value, float) and value == int(value) and abs(value) < WHOLE:
        return int(value)
    shown: str | float | bool = value
    return shown


async def _value(connection: Connection, ns: Namespace, field: str, stored: Any, example: int) -> str | float | bool:
    """A value as it was given. A long string is only in the records that have it, such as the example."""
    value = shown_value(stored)
    if value is not None:
        return value
    row = await (
        await connection.execute(f"SELECT metadata FROM records WHERE {ns.rows} AND record = %s", (example,))
    ).fetchone()
    assert row is not None
    given = msgspec.json.decode(row[0])[field]
    texts: list[str] = given if isinstance(given, list) else [given]
    return next(text for text in texts if stored_value(text) == stored)
