"""The metadata filter language: what can be asked, and, in matches(), what it means.

The parser turns Pinecone's JSON into conditions; storage compiles the same conditions to SQL. matches() is the
readable reference the compiled form is tested against. A field holds a string, a number, a boolean or a list of
strings; types never match each other ("2019" is not 2019, true is not 1), and a list matches a value that any of
its elements equals. Negations are pure: a record without the field matches $ne and $nin.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from pinyon.errors import InvalidArgument, shown
from pinyon.search.words import pattern

Scalar = str | float | bool
Comparison = Literal["$gt", "$gte", "$lt", "$lte"]

MAX_DEPTH = 32
MAX_CONDITIONS = 1_000
LIST_VALUES = 10_000
FIELD_OPERATORS = "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $not"
SHOWN = 40
"""Characters of a wrong value that a message repeats."""


class In(msgspec.Struct, frozen=True):
    """The field equals one of the values; numbers are floats here, so 2019 and 2019.0 are one value."""

    field: str
    values: tuple[Scalar, ...]


class Compare(msgspec.Struct, frozen=True):
    """The field is a number on the stated side of the bound."""

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
    """Whether a record with this metadata satisfies the condition: the meaning of the language."""
    match condition:
        case In(field, values):
            held = metadata.get(field)
            elements = held if isinstance(held, list) else [held]
            return any(_same(element, value) for element in elements for value in values)
        case Compare(field, operator, bound):
            held = metadata.get(field)
            return _is_number(held) and _COMPARE[operator](float(held), bound)  # type: ignore[arg-type]
        case Exists(field):
            return field in metadata
        case Not(inner):
            return not matches(inner, metadata)
        case And(conditions):
            return all(matches(inner, metadata) for inner in conditions)
        case Or(conditions):
            return any(matches(inner, metadata) for inner in conditions)


def fields(condition: Condition) -> set[str]:
    """The names of the fields that a condition asks for."""
    match condition:
        case In() | Compare() | Exists():
            return {condition.field}
        case Not(inner):
            return fields(inner)
        case And(conditions) | Or(conditions):
            return set().union(*map(fields, conditions))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(held: object, value: Scalar) -> bool:
    if isinstance(held, bool) or isinstance(value, bool):
        return held is value
    if _is_number(held):
        return isinstance(value, float) and float(held) == value  # type: ignore[arg-type]
    return isinstance(held, str) and held == value


class HasWords(msgspec.Struct, frozen=True):
    """What match_terms asks beside a filter: words (lower-case) that the text of a field must have, all of them."""

    field: str
    words: tuple[str, ...]


def words(text: str) -> list[str]:
    """The words of a text, lower-case."""
    lower = text.lower()
    return pattern(lower).findall(lower)


def has_words(wanted: HasWords, metadata: dict[str, Any]) -> bool:
    """Whether the field is a string in which each of the words occurs as a word, anywhere and in any case."""
    text = metadata.get(wanted.field)
    return isinstance(text, str) and set(wanted.words) <= set(words(text))


def parse(raw: object, most_values: int = LIST_VALUES) -> Condition | None:
    """The condition a JSON filter stands for; None for the empty filter, which keeps everything.

    most_values: how many $in and $nin may list. Raises InvalidArgument for anything that is not a filter; nothing is
    ever ignored.
    """
    if not isinstance(raw, dict):
        raise InvalidArgument(f"A filter must be a JSON object, got {shown(raw, SHOWN)}")
    if not raw:
        return None
    parser = _Parser(most_values)
    return parser.filter_object(raw, 1)


class _Parser:
    """Counts conditions while it descends, so that a filter is bounded in depth and in size."""

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
