"""The sum of the unit vectors of a namespace, from which its centroid follows. Pure.

The numbers of a sum are integers: so the order of writes does not matter, and what was added can be subtracted without
a rest.
"""

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Centroid, IndexSpec

UNIT = 2.0**30
"""The integer that stands for 1. The sum of 2 ** 33 unit vectors fits into an int64."""

Sum = NDArray[np.int64]
"""int64 [dimension]: the sum of unit vectors, in steps of 1 / UNIT."""


def are_kept(spec: IndexSpec) -> bool:
    """Whether the sums of this index are kept."""
    return spec.embed is not None and not spec.sparse


def sum_of(vectors: NDArray[np.float32]) -> Sum:
    """The sum of some vectors after each was divided by its length. vectors: float32 [n, dimension], n may be 0.

    A vector of zeros adds nothing. Processors differ in the last bit of a length, so a number may be off by 1 for each
    vector if the sum is computed elsewhere.
    """
    rows = vectors.astype(np.float64)
    lengths = np.sqrt(np.vecdot(rows, rows))[:, None]
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return np.asarray(np.rint(units * UNIT).astype(np.int64).sum(axis=0))


def centroid_of(total: Sum, count: int) -> Centroid:
    """The mean of unit vectors with this sum. count: how many, more than 0."""
    return Centroid(total / (UNIT * count), count)
