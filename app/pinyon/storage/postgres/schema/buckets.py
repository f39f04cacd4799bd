"""Under which numbers the records of a namespace are stored. Pure.

The column ns of a table with rows of records is the number of a bucket. A namespace has one bucket, which has its own
number. In a database that Citus shards by ns, a namespace that is too large for a node may have more (schema/citus.py
says how). Then the hash of a record's id picks its bucket, and everything that belongs to the record has its number.

The tables of sums (vector_sums, learned_sums, text_languages) have rows for the namespace as a whole, under its own
number, and so does the path in `records.fields`.
"""

import hashlib
from collections.abc import Iterable

import msgspec

BITS = 10
MOST = 2**BITS - 1
"""The most buckets of a namespace."""
OWNER = f"CASE WHEN records.ns < 0 THEN -records.ns >> {BITS} ELSE records.ns END"
"""The number of the namespace of a row of `records`, as SQL."""


class Namespace(msgspec.Struct, frozen=True):
    """A namespace by its number, and how many buckets it has."""

    number: int
    buckets: int = 1

    @property
    def rows(self) -> str:
        """SQL that is true for the rows of the namespace's records. A table's name and a dot may come before it.

        The numbers are part of the text: only so does PostgreSQL know which partial indexes fit.
        """
        return self._within(range(self.buckets))

    @property
    def keys(self) -> str:
        """The columns that name a record among these rows, as SQL for a list."""
        return "record" if self.buckets == 1 else "ns, record"

    def key(self, table: str) -> str:
        """The same columns of a table, as SQL that may be compared with a list of keys. They join within a shard."""
        return f"{table}.record" if self.buckets == 1 else f"({table}.ns, {table}.record)"

    def rows_of(self, ids: Iterable[str]) -> str:
        """Like rows, but only the buckets that records with these ids can be in."""
        return self.rows if self.buckets == 1 else self._within(sorted({self._place(id) for id in ids}) or [0])

    def bucket(self, id: str) -> int:
        """The number of the bucket of a record."""
        return self.number if self.buckets == 1 else self._number(self._place(id))

    def _place(self, id: str) -> int:
        """Which of the buckets a record is in, from 0. citus.bucket() is the same as SQL."""
        return int.from_bytes(hashlib.sha256(id.encode()).digest()[:2]) % self.buckets

    def _number(self, place: int) -> int:
        """The number of a bucket. The first has the namespace's own, the others have numbers below 0."""
        return self.number if place == 0 else -(self.number << BITS | place)

    def _within(self, places: Iterable[int]) -> str:
        numbers = [str(self._number(place)) for place in places]
        return f"ns = {numbers[0]}" if len(numbers) == 1 else f"ns IN ({', '.join(numbers)})"


def owner(number: int) -> int:
    """The number of the namespace that a bucket belongs to."""
    return -number >> BITS if number < 0 else number
