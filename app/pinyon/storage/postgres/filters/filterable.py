"""The fields of a record in the form that filters search: the column `fields`, and the rows of `numbers`. Pure.

`fields` is {"<namespace>": {"<field>": [values]}}. Every value is in a list, so that a field with one value and a field
with several are searched alike. The namespace is part of the path, because the index of the column hashes whole paths:
so the records of other namespaces cost a search nothing. A string is "=" and its text; a long one, or one with a NUL,
which PostgreSQL cannot store, is "#" and the SHA-256 of its UTF-8. Numbers are floats, as filters compare them.
"""

import hashlib
from typing import Any

import msgspec

from pinyon.domain import Metadata
from pinyon.filters import Scalar
from pinyon.storage.shared.postings import LONGEST_PLAIN

PLAIN, LONG, ESCAPED = "=", "#", "~"
"""How a stored string begins, and the digest of a long one; and a field name that is a digest."""


def stored_value(value: Scalar) -> str | float | bool:
    """A value as it is stored."""
    if isinstance(value, str):
        encoded = value.encode()
        if len(encoded) <= LONGEST_PLAIN and "\0" not in value:
            return PLAIN + value
        return LONG + hashlib.sha256(encoded).hexdigest()
    return value if isinstance(value, bool) else float(value)


def stored_field(field: str) -> str:
    """The name of a field as it is stored."""
    if "\0" in field or field.startswith(ESCAPED):
        return ESCAPED + hashlib.sha256(field.encode()).hexdigest()
    return field


def filterable(ns: int, metadata: Metadata) -> bytes:
    """The column `fields` of a record, as JSON."""
    values = {
        stored_field(field): [stored_value(each) for each in (value if isinstance(value, list) else [value])]
        for field, value in metadata.items()
    }
    return msgspec.json.encode({str(ns): values})


def field_hash(field: str) -> int:
    """The number of a field in `numbers`: 64 bits of a hash, so that no table of names is needed."""
    return int.from_bytes(hashlib.blake2b(field.encode(), digest_size=8).digest(), signed=True)


def numbers(metadata: Metadata) -> list[tuple[int, float]]:
    """The hash of each field with a number, and the number."""
    return [
        (field_hash(field), float(value))
        for field, value in metadata.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def containing(ns: int, field: str, value: Scalar) -> str:
    """JSON that the column `fields` contains if the field has the value."""
    return msgspec.json.encode({str(ns): {stored_field(field): [stored_value(value)]}}).decode()


def shown_value(stored: Any) -> str | float | bool | None:
    """The value from its stored form. None for a digest."""
    if isinstance(stored, str):
        return stored[len(PLAIN) :] if stored.startswith(PLAIN) else None
    if isinstance(stored, bool):
        return stored
    return float(stored)
