"""What reads cost, in Pinecone's read units."""

from math import ceil

GIGABYTE = 1_000_000_000
RECORDS_PER_UNIT = 10


def of_search(namespace_bytes: int) -> int:
    """A unit for every started gigabyte of the namespace."""
    return max(1, ceil(namespace_bytes / GIGABYTE))


def of_fetch(records: int) -> int:
    """A unit for every started ten records."""
    return max(1, ceil(records / RECORDS_PER_UNIT))
