"""The postings of a record: its metadata as (field, kind, value) triples, which filters look up. Pure functions.

Filters compare strings only for equality, so a long string is stored as its digest.
"""

import hashlib
from enum import IntEnum
from typing import Any

from pinyon.domain import Metadata
from pinyon.filters import Scalar

LONGEST_PLAIN = 64
"""Longest string that is stored as itself, in bytes of UTF-8."""
PLAIN, LONG = b"=", b"#"
"""How a stored string begins, and how the digest of a long one."""


class Kind(IntEnum):
    """The type of a posted value. Part of the file format."""

    BOOLEAN = 0
    NUMBER = 1
    STRING = 2
    EMPTY = 3
    """An empty list. It matches no value, but the field exists."""


Posted = float | int | bytes
"""The stored form of a value."""


def posted(value: Scalar) -> tuple[Kind, Posted]:
    """The kind of a value, and its stored form.

    A boolean is stored as 0 or 1, a number as a float, a string as b"=" and its UTF-8 bytes, and a long string as b"#"
    and the SHA-256 of these bytes.
    """
    if isinstance(value, str):
        encoded = value.encode()
        if len(encoded) <= LONGEST_PLAIN:
            return Kind.STRING, PLAIN + encoded
        return Kind.STRING, LONG + hashlib.sha256(encoded).digest()
    if isinstance(value, bool):
        return Kind.BOOLEAN, int(value)
    return Kind.NUMBER, float(value)


def postings(metadata: Metadata) -> list[tuple[str, Kind, Posted]]:
    """Every (field, kind, value) of a record's metadata, each once."""
    triples: list[tuple[str, Kind, Posted]] = []
    for field, value in metadata.items():
        if not isinstance(value, list):
            scalar: Any = value
            triples.append((field, *posted(scalar)))
        elif value:
            triples += [(field, *posted(element)) for element in dict.fromkeys(value)]
        else:
            triples.append((field, Kind.EMPTY, 0))
    return triples
