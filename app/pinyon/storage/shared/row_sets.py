"""Arrays of row numbers and of vectors, and sets of row numbers."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.int64]
"""Row numbers of records, [n]."""
Vectors = NDArray[np.float32]
"""Vectors, [n, dimension] or [dimension]."""
Mask = NDArray[np.bool_]
"""At the place of each row number, whether the row is in a set: bool [last row + 1] or longer."""
Bits = NDArray[np.uint8]
"""A mask with one bit for each row number, the lowest bit first in each byte."""


DENSE = 16
"""A union is made with a mask while it has at most so many places for each row."""


class RowSet:
    """A set of row numbers. It never changes, so threads may share it.

    It stores the form that it was made from: sorted row numbers, a mask, or bits. The other forms are computed at each
    access.
    """

    __slots__ = ("_bits", "_mask", "_rows", "count")

    def __init__(
        self, count: int, rows: Records | None = None, mask: Mask | None = None, bits: Bits | None = None
    ) -> None:
        """Takes exactly one of the three forms. Prefer of_rows() and of_mask()."""
        self.count, self._rows, self._mask, self._bits = count, rows, mask, bits

    @classmethod
    def of_rows(cls, rows: Records) -> Self:
        """A set of sorted, distinct row numbers."""
        return cls(len(rows), rows=rows)

    @classmethod
    def of_mask(cls, mask: Mask) -> Self:
        """The set of the rows that a mask has."""
        return cls(int(np.count_nonzero(mask)), mask=mask)

    @property
    def rows(self) -> Records:
        """Sorted row numbers."""
        return self._rows if self._rows is not None else np.flatnonzero(self.mask)

    @property
    def mask(self) -> Mask:
        """The mask of the set, as long as needed for its last row or longer. Do not write to it."""
        if self._mask is not None:
            return self._mask
        if self._bits is not None:
            return np.unpackbits(self._bits, bitorder="little").view(bool)
        return mask_of(self.rows)

    @property
    def bits(self) -> Bits:
        """The mask with one bit for each row number."""
        return self._bits if self._bits is not None else np.packbits(self.mask, bitorder="little")

    @property
    def nbytes(self) -> int:
        """Bytes of the stored form."""
        return sum(form.nbytes for form in (self._rows, self._mask, self._bits) if form is not None)

    def compacted(self) -> "RowSet":
        """The same set in its smaller form: 8 bytes for each row, or a bit for each number up to the last row."""
        if self._bits is not None:
            return self
        end = len(self._mask) if self._mask is not None else int(self.rows[-1]) + 1 if self.count else 0
        if end <= 64 * self.count:
            return RowSet(self.count, bits=self.bits)
        return RowSet(self.count, rows=self.rows)

    def contains(self, rows: Records) -> Mask:
        """Which of the rows are in the set, bool [n]."""
        if self._bits is not None:
            return in_bits(self._bits, rows)
        if self._mask is not None:
            return in_mask(self._mask, rows)
        own = self.rows
        if not len(own):
            return np.zeros(len(rows), dtype=bool)
        return np.asarray(own[np.minimum(np.searchsorted(own, rows), len(own) - 1)] == rows)

    def replaced(self, changed: Records, now_in: Records) -> "RowSet":
        """The set after some rows changed: of those, only the rows in now_in belong to it. Both must be sorted."""
        if self._rows is not None:
            others = without(self._rows, changed)
            return RowSet.of_rows(np.insert(others, np.searchsorted(others, now_in), now_in))
        mask = np.zeros(max(len(self.mask), int(now_in.max(initial=-1)) + 1), dtype=bool)
        mask[: len(self.mask)] = self.mask
        mask[changed[changed < len(mask)]] = False
        mask[now_in] = True
        return RowSet.of_mask(mask)


def distinct(rows: Records) -> Records:
    """The sorted, distinct row numbers. Three to five times as fast as np.unique, which hashes."""
    ordered = np.sort(rows)
    first = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def union(sets: Sequence[Records]) -> Records:
    """The sorted row numbers that are in any of these, [n]. sets: each sorted and distinct."""
    sets = [rows for rows in sets if len(rows)]
    if not sets:
        return np.empty(0, np.int64)
    first, last = min(int(rows[0]) for rows in sets), max(int(rows[-1]) for rows in sets)
    if last - first > DENSE * sum(map(len, sets)):
        return distinct(np.concatenate(sets))
    mask = np.zeros(last - first + 1, dtype=bool)  # sorting takes several times as long
    for rows in sets:
        mask[rows - first] = True
    return np.flatnonzero(mask) + first


def places_of(rows: Records, wanted: Records) -> Records:
    """The positions in `rows` of the wanted rows that are in it. Both must be sorted and distinct."""
    places = np.searchsorted(rows, wanted)
    exists = places < len(rows)
    exists[exists] = rows[places[exists]] == wanted[exists]
    return places[exists]


def without(rows: Records, removed: Records) -> Records:
    """The rows that are not in `removed`. Both must be sorted and distinct."""
    return np.delete(rows, places_of(rows, removed)) if len(removed) else rows


def mask_of(rows: Records) -> Mask:
    """The mask of some row numbers, up to the last of them. They need not be sorted or distinct."""
    mask = np.zeros(int(rows.max(initial=-1)) + 1, dtype=bool)
    mask[rows] = True
    return mask


def in_mask(mask: Mask, rows: Records) -> Mask:
    """Which of the rows are in a mask, bool [n]. Rows beyond its end are not."""
    if not len(mask):
        return np.zeros(len(rows), dtype=bool)
    return np.asarray(mask[np.minimum(rows, len(mask) - 1)] & (rows < len(mask)))


def in_bits(bits: Bits, rows: Records) -> Mask:
    """Which of the rows have their bit set, bool [n]. Rows beyond the last bit do not."""
    byte = rows >> 3
    exists = byte < len(bits)
    is_set = np.zeros(len(rows), dtype=bool)
    is_set[exists] = (bits[byte[exists]] >> (rows[exists] & 7).astype(np.uint8)) & 1
    return is_set


def bits_of(rows: Records) -> Bits:
    """The mask of some row numbers, as bits."""
    return np.packbits(mask_of(rows), bitorder="little")
