"""Arrays that storage passes around, by what is in them."""

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.int64]
"""Row numbers of records, [n]."""
Vectors = NDArray[np.float32]
"""Vectors, [n, dimension] or [dimension]."""

Bits = NDArray[np.uint8]
"""One bit for each row number, the lowest first in each byte."""


def distinct(rows: Records) -> Records:
    """Sorted, each once. Three to five times as quick as np.unique, which hashes."""
    ordered = np.sort(rows)
    first = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def places_of(rows: Records, wanted: Records) -> Records:
    """Where those of the wanted rows stand that are among the rows; both sorted, each once."""
    places = np.searchsorted(rows, wanted)
    there = places < len(rows)
    there[there] = rows[places[there]] == wanted[there]
    return places[there]


def without(rows: Records, gone: Records) -> Records:
    """Those of the rows that are not in `gone`; both sorted, each once."""
    return np.delete(rows, places_of(rows, gone)) if len(gone) else rows


def bits_of(rows: Records) -> Bits:
    """Sorted row numbers as bits."""
    there = np.zeros(int(rows[-1]) + 1 if len(rows) else 0, dtype=bool)
    there[rows] = True
    return np.packbits(there, bitorder="little")
