"""Turns a filter condition into an SQL expression over the column `record` of the table records.

The expression must mean what pinyon.filters.matches() says. Values travel as parameters, never in the text.
"""

from collections.abc import Sequence
from typing import Any

import apsw
import numpy as np

from pinyon.filters import And, Compare, Condition, Exists, In, Not, Or
from pinyon.storage.shared.postings import Kind, posted

_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


SQL = tuple[str, list[Any]]
"""A text and its parameters, in order."""


def compile_filter(condition: Condition, ns: int) -> SQL:
    """The expression, for records of the namespace ns."""
    match condition:
        case In() | Compare() | Exists():
            queries = lookups(condition, ns)
            text = " OR ".join(f"record IN ({query})" for query, _ in queries) or "FALSE"
            return f"({text})", [parameter for _, parameters in queries for parameter in parameters]
        case Not(inner):
            text, parameters = compile_filter(inner, ns)
            return f"NOT {text}", parameters
        case And(conditions):
            return _joined("AND", conditions, ns)
        case Or(conditions):
            return _joined("OR", conditions, ns)


def lookups(condition: In | Compare | Exists, ns: int) -> list[SQL]:
    """Queries over the postings that together return the records of a condition on one field, perhaps twice.

    There is one query for each kind of value, because a string never equals a number or a boolean. There is none if
    nothing can match.
    """
    match condition:
        case In(field, values):
            by_kind: dict[Kind, list[Any]] = {}
            for kind, value in map(posted, values):
                by_kind.setdefault(kind, []).append(value)
            return [_equals_any(field, kind, wanted, ns) for kind, wanted in by_kind.items()]
        case Compare(field, operator, bound):
            return [_lookup(field, f"kind = ? AND value {_COMPARISONS[operator]} ?", [Kind.NUMBER, bound], ns)]
        case Exists(field):
            return [_lookup(field, "TRUE", [], ns)]


def _equals_any(field: str, kind: Kind, wanted: list[Any], ns: int) -> SQL:
    if len(wanted) == 1:
        return _lookup(field, "kind = ? AND value = ?", [kind, wanted[0]], ns)
    return _lookup(field, "kind = ? AND value IN (SELECT value FROM carray(?))", [kind, _array(kind, wanted)], ns)


def _lookup(field: str, test: str, parameters: list[Any], ns: int) -> SQL:
    query = "SELECT record FROM postings WHERE ns = ? AND field = (SELECT field FROM fields WHERE name = ?)"
    return f"{query} AND {test}", [ns, field, *parameters]


def _array(kind: Kind, wanted: list[Any]) -> Any:
    if kind is Kind.STRING:
        return apsw.carray(tuple(wanted))
    return apsw.carray(np.array(wanted, dtype=np.float64 if kind is Kind.NUMBER else np.int64))


def _joined(word: str, conditions: Sequence[Condition], ns: int) -> SQL:
    """The conditions joined in halves: SQLite limits the depth of an expression, and counts each AND of a chain."""
    if len(conditions) == 1:
        return compile_filter(conditions[0], ns)
    half = len(conditions) // 2
    left, right = _joined(word, conditions[:half], ns), _joined(word, conditions[half:], ns)
    return f"({left[0]} {word} {right[0]})", left[1] + right[1]
