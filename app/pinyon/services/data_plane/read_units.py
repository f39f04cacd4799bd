"""The cost of reads in Pinecone's read units."""

from math import ceil

GIGABYTE = 1_000_000_000
"""Bytes of a namespace that a search reads for one unit."""
RECORDS_PER_UNIT = 10
"""Records that a fetch returns for one unit."""


def of_search(namespace_bytes: int) -> int:
    """One unit for every started gigabyte of the namespace."""
    return max(1, ceil(namespace_bytes / GIGABYTE))


def of_fetch(records: int) -> int:
    """One unit for every started ten records."""
    return max(1, ceil(records / RECORDS_PER_UNIT))
