"""What a record is found by: its metadata as (field, kind, value) triples. Pure.

Filters only ever ask for equality on strings, so a long string is posted as its digest.
"""

import hashlib
from enum import IntEnum
from typing import Any

from pinyon.domain import Metadata
from pinyon.filters import Scalar

LONGEST_PLAIN = 64
"""Bytes of UTF-8 up to which a string is posted as itself."""


class Kind(IntEnum):
    """The type of a posted value. Part of the file format."""

    BOOLEAN = 0
    NUMBER = 1
    STRING = 2
    EMPTY = 3
    """A list without elements: it matches no value, but the field exists."""


Posted = float | int | bytes


def posted(value: Scalar) -> tuple[Kind, Posted]:
    """Kind and stored form of one value: 0 or 1, a float, or tagged UTF-8 bytes (or their SHA-256)."""
    if isinstance(value, str):
        encoded = value.encode()
        if len(encoded) <= LONGEST_PLAIN:
            return Kind.STRING, b"=" + encoded
        return Kind.STRING, b"#" + hashlib.sha256(encoded).digest()
    if isinstance(value, bool):
        return Kind.BOOLEAN, int(value)
    return Kind.NUMBER, float(value)


def postings(metadata: Metadata) -> list[tuple[str, Kind, Posted]]:
    """Every distinct (field, kind, value) of a record."""
    found: list[tuple[str, Kind, Posted]] = []
    for field, value in metadata.items():
        if not isinstance(value, list):
            scalar: Any = value
            kind, kept = posted(scalar)
            found.append((field, kind, kept))
        elif value:
            found += [(field, *posted(element)) for element in dict.fromkeys(value)]
        else:
            found.append((field, Kind.EMPTY, 0))
    return found
