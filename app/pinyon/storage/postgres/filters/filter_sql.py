"""Turns a filter condition into an SQL expression over the table `records`.

The expression must mean what pinyon.filters.matches() says. Values travel as parameters, never in the text.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from pinyon.filters import And, Compare, Condition, Exists, In, Not, Or
from pinyon.storage.postgres.filters.filterable import containing, field_hash, stored_field, stored_value
from pinyon.storage.postgres.schema.buckets import Namespace

COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
MOST_LOOKUPS = 64
"""Up to so many values of $in are looked up in the index one by one. More are compared with each record."""
MOST_JOINED = 8
"""Up to so many comparisons that must all hold are looked up in the table of numbers. PostgreSQL makes joins of them,
and plans 60 for 4 seconds and 120 for more than 30; more are compared with each record."""

SQL = tuple[str, list[Any]]
"""A text and its parameters, in order."""


def compile_filter(condition: Condition, ns: Namespace) -> SQL:
    """The expression, for records of the namespace ns."""
    match condition:
        case In(field, values):
            return _equals_any(field, values, ns)
        case Compare(field, operator, bound):
            return (
                f"{ns.key('records')} IN (SELECT {ns.keys} FROM numbers WHERE {ns.rows} AND field = %s"
                f" AND value {COMPARISONS[operator]} %s)",
                [field_hash(field), bound],
            )
        case Exists(field):
            return f"(records.fields -> '{ns.number}') ? %s", [stored_field(field)]
        case Not(inner):
            text, parameters = compile_filter(inner, ns)
            return f"NOT ({text})", parameters
        case And() if _joined(condition) > MOST_JOINED:
            return compile_test(condition, ns)
        case And(conditions):
            return _join("AND", [compile_filter(each, ns) for each in conditions])
        case Or(conditions):
            return _join("OR", [compile_filter(each, ns) for each in conditions])


def compile_test(condition: Condition, ns: Namespace) -> SQL:
    """Like compile_filter(), but for rows that are found otherwise and are tested one by one."""
    match condition:
        case Compare(field, operator, bound):
            # In the order of jsonb, strings come before numbers, and booleans after them.
            value = f"(records.fields -> '{ns.number}' -> %s -> 0)"
            limit = f"{value} < 'false'" if operator in ("$gt", "$gte") else f"{value} > '-1e400'"
            name = stored_field(field)
            text = f"coalesce({value} {COMPARISONS[operator]} %s::jsonb AND {limit}, FALSE)"
            return text, [name, msgspec.json.encode(bound).decode(), name]
        case Not(inner):
            text, parameters = compile_test(inner, ns)
            return f"NOT ({text})", parameters
        case And(conditions):
            return _join("AND", [compile_test(each, ns) for each in conditions])
        case Or(conditions):
            return _join("OR", [compile_test(each, ns) for each in conditions])
        case _:
            return compile_filter(condition, ns)


def _joined(condition: Condition) -> int:
    """How many comparisons must all hold."""
    match condition:
        case And(conditions):
            return sum(map(_joined, conditions))
        case Compare():
            return 1
        case _:
            return 0


def _equals_any(field: str, values: Sequence[Any], ns: Namespace) -> SQL:
    if not values:
        return "FALSE", []
    if len(values) <= MOST_LOOKUPS:
        tests = " OR ".join(["records.fields @> %s::jsonb"] * len(values))
        return f"({tests})", [containing(ns.number, field, value) for value in values]
    stored = [msgspec.json.encode(stored_value(value)).decode() for value in values]
    # PostgreSQL hashes a long list, so each value of a record is looked up once.
    elements = f"jsonb_array_elements(records.fields -> '{ns.number}' -> %s)"
    return f"EXISTS (SELECT FROM {elements} AS value WHERE value = ANY(%s::jsonb[]))", [stored_field(field), stored]


def _join(word: str, parts: Sequence[SQL]) -> SQL:
    text = f" {word} ".join(f"({part})" for part, _ in parts)
    return f"({text})", [parameter for _, parameters in parts for parameter in parameters]
