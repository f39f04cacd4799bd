"""A filter condition as an SQL expression over the column `record` of the table records.

app.filters.matches() is what the expression has to mean. Values travel as parameters, never in the text.
"""

from collections.abc import Sequence
from typing import Any

import apsw
import numpy as np

from app.filters import And, Compare, Condition, Exists, In, Not, Or, Scalar
from app.storage.postings import Kind, posted

_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def compile_filter(condition: Condition, ns: int) -> tuple[str, list[Any]]:
    """The expression and its parameters, in order, for records of the namespace ns."""
    match condition:
        case In(field, values):
            return _equals_any(field, values, ns)
        case Compare(field, operator, bound):
            return _posted(f"kind = ? AND value {_COMPARISONS[operator]} ?", field, ns, [Kind.NUMBER, bound])
        case Exists(field):
            return _posted("TRUE", field, ns, [])
        case Not(inner):
            text, parameters = compile_filter(inner, ns)
            return f"NOT {text}", parameters
        case And(conditions):
            return _joined("AND", conditions, ns)
        case Or(conditions):
            return _joined("OR", conditions, ns)


def compile_leaf(condition: Condition, ns: int) -> tuple[str, list[Any]] | None:
    """For a condition on one field: the query over postings that gives its records, perhaps some of them twice.

    Several times as quick as the expression where much is kept, because nothing is looked up in `records`. None for
    every other condition.
    """
    if not isinstance(condition, In | Compare | Exists):
        return None
    text, parameters = compile_filter(condition, ns)
    prefix, end = "record IN (", ")"
    if not text.startswith(prefix + "SELECT record FROM postings") or text.count("SELECT record FROM postings") > 1:
        return None
    return text[len(prefix) : -len(end)], parameters


def _posted(test: str, field: str, ns: int, parameters: list[Any]) -> tuple[str, list[Any]]:
    return (
        "record IN (SELECT record FROM postings"
        f" WHERE ns = ? AND field = (SELECT field FROM fields WHERE name = ?) AND {test})",
        [ns, field, *parameters],
    )


def _equals_any(field: str, values: Sequence[Scalar], ns: int) -> tuple[str, list[Any]]:
    """One lookup per kind, because a string never equals a number or a boolean."""
    by_kind: dict[Kind, list[Any]] = {}
    for kind, value in map(posted, values):
        by_kind.setdefault(kind, []).append(value)
    tests, parameters = [], []
    for kind, wanted in by_kind.items():
        if len(wanted) == 1:
            tests.append("(kind = ? AND value = ?)")
            parameters += [kind, wanted[0]]
        else:
            tests.append("(kind = ? AND value IN (SELECT value FROM carray(?)))")
            parameters += [kind, _array(kind, wanted)]
    if not tests:  # $in with an empty list matches nothing
        return "FALSE", []
    parts = [_posted(test, field, ns, parameters[2 * i : 2 * i + 2]) for i, test in enumerate(tests)]
    text = " OR ".join(text for text, _ in parts)
    return (f"({text})" if len(parts) > 1 else text), [p for _, ps in parts for p in ps]


def _array(kind: Kind, wanted: list[Any]) -> Any:
    if kind is Kind.STRING:
        return apsw.carray(tuple(wanted))
    return apsw.carray(np.array(wanted, dtype=np.float64 if kind is Kind.NUMBER else np.int64))


def _joined(word: str, conditions: Sequence[Condition], ns: int) -> tuple[str, list[Any]]:
    """Joined in halves: SQLite's limit on the depth of an expression counts every AND of a long chain."""
    if len(conditions) == 1:
        return compile_filter(conditions[0], ns)
    half = len(conditions) // 2
    left, right = _joined(word, conditions[:half], ns), _joined(word, conditions[half:], ns)
    return f"({left[0]} {word} {right[0]})", left[1] + right[1]
