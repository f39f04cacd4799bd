"""The metadata filter language: its parser, and its meaning in matches().

The parser turns Pinecone's JSON into conditions, which storage compiles to SQL. Tests compare the compiled form with
matches(). A field holds a string, a number, a boolean or a list of strings. Values of different types never match
("2019" is not 2019, true is not 1). A list matches a value if one of its elements equals the value. A record without
the field matches $ne and $nin.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from pinyon.errors import InvalidArgument, shown
from pinyon.search.text.words import pattern

Scalar = str | float | bool
Comparison = Literal["$gt", "$gte", "$lt", "$lte"]

MAX_DEPTH = 32
MAX_CONDITIONS = 1_000
LIST_VALUES = 10_000
FIELD_OPERATORS = "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $not"
SHOWN = 40
"""Characters of a wrong value that an error message repeats."""


class In(msgspec.Struct, frozen=True):
    """The field equals one of the values. All numbers are floats, so 2019 and 2019.0 are the same value."""

    field: str
    values: tuple[Scalar, ...]


class Compare(msgspec.Struct, frozen=True):
    """The field is a number that compares with the bound as the operator says."""

    field: str
    operator: Comparison
    bound: float


class Exists(msgspec.Struct, frozen=True):
    """The record has the field."""

    field: str


class Not(msgspec.Struct, frozen=True):
    """The condition does not hold."""

    condition: "Condition"


class And(msgspec.Struct, frozen=True):
    """Every condition holds."""

    conditions: tuple["Condition", ...]


class Or(msgspec.Struct, frozen=True):
    """At least one condition holds."""

    conditions: tuple["Condition", ...]


Condition = In | Compare | Exists | Not | And | Or

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "$gt": lambda value, bound: value > bound,
    "$gte": lambda value, bound: value >= bound,
    "$lt": lambda value, bound: value < bound,
    "$lte": lambda value, bound: value <= bound,
}


def matches(condition: Condition, metadata: dict[str, Any]) -> bool:
    """Whether a record with this metadata satisfies the condition. This function defines the language."""
    match condition:
        case In(field, values):
            stored = metadata.get(field)
            elements = stored if isinstance(stored, list) else [stored]
            return any(_same(element, value) for element in elements for value in values)
        case Compare(field, operator, bound):
            stored = metadata.get(field)
            return _is_number(stored) and _COMPARE[operator](float(stored), bound)  # type: ignore[arg-type]
        case Exists(field):
            return field in metadata
        case Not(inner):
            return not matches(inner, metadata)
        case And(conditions):
            return all(matches(inner, metadata) for inner in conditions)
        case Or(conditions):
            return any(matches(inner, metadata) for inner in conditions)


def fields(condition: Condition) -> set[str]:
    """The names of the fields that a condition uses."""
    match condition:
        case In() | Compare() | Exists():
            return {condition.field}
        case Not(inner):
            return fields(inner)
        case And(conditions) | Or(conditions):
            return set().union(*map(fields, conditions))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(stored: object, value: Scalar) -> bool:
    if isinstance(stored, bool) or isinstance(value, bool):
        return stored is value
    if _is_number(stored):
        return isinstance(value, float) and float(stored) == value  # type: ignore[arg-type]
    return isinstance(stored, str) and stored == value


class HasWords(msgspec.Struct, frozen=True):
    """The condition of match_terms: the text of the field has all of these words. words: in lower case."""

    field: str
    words: tuple[str, ...]


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    lower = text.lower()
    return pattern(lower).findall(lower)


def has_words(wanted: HasWords, metadata: dict[str, Any]) -> bool:
    """Whether the field is a string that contains each of the words, in any order and in any case."""
    text = metadata.get(wanted.field)
    return isinstance(text, str) and set(wanted.words) <= set(words(text))


def parse(raw: object, most_values: int = LIST_VALUES) -> Condition | None:
    """Parse a filter. Returns None for the empty filter, which every record matches.

    raw: decoded JSON. most_values: how many values $in and $nin may list. Raises InvalidArgument for anything that is
    not a filter; nothing is ignored.
    """
    if not isinstance(raw, dict):
        raise InvalidArgument(f"A filter must be a JSON object, got {shown(raw, SHOWN)}")
    if not raw:
        return None
    parser = _Parser(most_values)
    return parser.filter_object(raw, 1)


class _Parser:
    """Counts the conditions while it descends, because a filter may have only so many and may be only so deep."""

    def __init__(self, most_values: int) -> None:
        self.conditions, self._most_values = 0, most_values

    def filter_object(self, raw: object, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise InvalidArgument(f"The filter is nested deeper than {MAX_DEPTH} levels")
        if not isinstance(raw, dict):
            raise InvalidArgument(f"A filter must be a JSON object, got {shown(raw, SHOWN)}")
        if not raw:
            raise InvalidArgument("A filter nested in another one must not be empty")
        return _all_of([self.entry(key, operand, depth) for key, operand in raw.items()])

    def entry(self, key: str, operand: object, depth: int) -> Condition:
        if key in ("$and", "$or"):
            if not isinstance(operand, list) or not operand:
                raise InvalidArgument(
                    f"the {key} operator must be followed by a non-empty list of filters, got "
                    f"{shown(operand, SHOWN)} instead"
                )
            conditions = tuple(self.filter_object(inner, depth + 1) for inner in operand)
            return And(conditions) if key == "$and" else Or(conditions)
        if key == "$not":
            return Not(self.filter_object(operand, depth + 1))
        if key.startswith("$"):
            raise InvalidArgument(f"unknown operator {key} at the top of a filter; allowed there: $and, $or, $not")
        return self.field(key, operand, depth)

    def field(self, field: str, operand: object, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise InvalidArgument(f"The filter is nested deeper than {MAX_DEPTH} levels")
        if not isinstance(operand, dict):
            return self.operator(field, "$eq", operand, depth)
        if not operand:
            raise InvalidArgument(f"illegal condition for field {field}, got {{}}; expected a value or an operator")
        return _all_of([self.operator(field, name, inner, depth) for name, inner in operand.items()])

    def operator(self, field: str, name: str, operand: object, depth: int) -> Condition:
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise InvalidArgument(f"The filter has more than {MAX_CONDITIONS} conditions")
        match name:
            case "$eq":
                return In(field, (_scalar(field, name, operand),))
            case "$ne":
                return Not(In(field, (_scalar(field, name, operand),)))
            case "$in":
                return In(field, _scalars(field, name, operand, self._most_values))
            case "$nin":
                return Not(In(field, _scalars(field, name, operand, self._most_values)))
            case "$gt" | "$gte" | "$lt" | "$lte":
                if not _is_number(operand):
                    raise InvalidArgument(
                        f"the {name} operator must be followed by a number, got {shown(operand, SHOWN)} instead "
                        f"for field {field}"
                    )
                return Compare(field, name, _float(field, operand))
            case "$exists":
                if not isinstance(operand, bool):
                    raise InvalidArgument(
                        f"the $exists operator must be followed by a boolean, got {shown(operand, SHOWN)} instead "
                        f"for field {field}"
                    )
                return Exists(field) if operand else Not(Exists(field))
            case "$not":
                if not isinstance(operand, dict):
                    raise InvalidArgument(
                        f"the $not operator must be followed by an object of operators, got {shown(operand, SHOWN)} "
                        f"instead for field {field}"
                    )
                return Not(self.field(field, operand, depth + 1))
        raise InvalidArgument(f"unknown operator {name} for field {field}; allowed: {FIELD_OPERATORS}")


def _all_of(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else And(tuple(conditions))


def _scalars(field: str, operator: str, operand: object, most: int) -> tuple[Scalar, ...]:
    if not isinstance(operand, list):
        raise InvalidArgument(
            f"the {operator} operator must be followed by a list of strings or a list of numbers, "
            f"got {shown(operand, SHOWN)} instead for field {field}"
        )
    if len(operand) > most:
        raise InvalidArgument(
            f"the {operator} operator takes at most {most} values, got {len(operand)} for field {field}"
        )
    return tuple(_scalar(field, operator, value) for value in operand)


def _scalar(field: str, operator: str, operand: object) -> Scalar:
    if isinstance(operand, str | bool):
        return operand
    if _is_number(operand):
        return _float(field, operand)
    raise InvalidArgument(
        f"illegal condition for field {field}: {operator} compares with a string, a number or a boolean, "
        f"got {shown(operand, SHOWN)}"
    )


def _float(field: str, operand: Any) -> float:
    try:
        return float(operand)
    except OverflowError:
        raise InvalidArgument(f"illegal condition for field {field}: number out of range") from None
