"""Shortens answers, so that they do not flood the context window of an agent. Pure."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

ANSWER_CHARACTERS = 20_000
"""The most characters of the records in one answer, as JSON. They are about 5,000 tokens."""
RECORD_CHARACTERS = 8_000
"""The most characters of a record in an answer with several ones."""
VALUE_CHARACTERS = 1_500
"""The most characters of a value in an answer with several records."""
WHOLE_VALUE_CHARACTERS = 15_000
"""The most characters of a value that was asked for by the id of its record."""
CUT = " [...]"
"""The end of a text that was cut."""


def size(value: Any) -> int:
    """The characters of a value as JSON. Escapes count; a character outside ASCII counts as one."""
    return len(msgspec.json.encode(value).decode())


def short_text(text: str, longest: int, offset: int = 0) -> str:
    """A text from the character at offset on, cut to `longest` characters and the mark CUT."""
    rest = text[offset:]
    return rest if len(rest) <= longest else rest[:longest] + CUT


def short_value(value: Any, longest: int, offset: int = 0) -> Any:
    """A value of a field. Of a list of strings, only the first ones stay if it is long."""
    if isinstance(value, str):
        return short_text(value, longest, offset)
    if isinstance(value, list):
        shown: list[Any] = []
        left = longest
        for item in value:
            left -= size(item)
            if left < 0:
                break
            shown.append(item)
        return shown
    return value


def short_fields(
    fields: dict[str, Any], longest: int = VALUE_CHARACTERS, most: int = RECORD_CHARACTERS, offset: int = 0
) -> tuple[dict[str, Any], list[str]]:
    """The fields of a record, and the names of those that were cut or left out.

    longest: characters of a value. most: of the record, as JSON. offset: where strings begin.
    """
    shown: dict[str, Any] = {}
    cut: list[str] = []
    left = most
    for name, value in fields.items():
        short = short_value(value, longest, offset)
        needs = size({name: short})
        if needs > left:
            cut.append(name)
            continue
        left -= needs
        shown[name] = short
        if short != (value[offset:] if isinstance(value, str) else value):
            cut.append(name)
    return shown, cut


def fitting(rows: Sequence[T], as_json: Callable[[T], Any], most: int = ANSWER_CHARACTERS) -> list[T]:
    """The first rows that together have at most `most` characters; always the first one."""
    shown: list[T] = []
    left = most
    for row in rows:
        left -= size(as_json(row))
        if shown and left < 0:
            break
        shown.append(row)
    return shown


def names(values: Sequence[str], most: int = 20) -> str:
    """Names for a sentence: the first ones, and how many others there are."""
    shown = ", ".join(value[:80] for value in values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most:,} others"
