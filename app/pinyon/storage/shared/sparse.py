"""Sparse vectors: how they are stored, and their products. Pure."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import SparseVector
from pinyon.storage.shared.row_sets import Records

LEARNED_UNIT = 2.0**20
"""The integer that stands for a weight of 1 in a sum of learned vectors."""
TermSums = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Distinct terms, int64 [n] and sorted, and the sum of the weights of each, int64 [n] in steps of 1 / LEARNED_UNIT."""


def to_blob(sparse: SparseVector | None) -> bytes | None:
    """A vector as it is stored: uint32 terms, then float32 weights."""
    return None if sparse is None else sparse.indices.tobytes() + sparse.values.tobytes()


def from_blob(blob: bytes | None) -> SparseVector | None:
    """A vector from its stored form."""
    if blob is None:
        return None
    half = len(blob) // 2
    return SparseVector(np.frombuffer(blob[:half], np.uint32), np.frombuffer(blob[half:], np.float32))


def added_products(
    parts: Sequence[tuple[Records, NDArray[np.float64]]],
) -> tuple[Records, NDArray[np.float64]]:
    """The records of all parts, int64 [n] and sorted, and the sum of the products of each, float64 [n].

    parts: for each term of a query, the records that have it, and the products of its weights. They are added in this
    order, so that the sum of a record is the same whatever else is stored.
    """
    records = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in parts)])
    products = np.concatenate([np.empty(0, np.float64), *(values for _, values in parts)])
    sharing, place_of = np.unique(records, return_inverse=True)
    return sharing, np.bincount(place_of, weights=products, minlength=len(sharing)).astype(np.float64)


def query_weights(query: SparseVector) -> NDArray[np.float64]:
    """The weights of a query by term, float64 [largest term + 2]; the last one is 0.

    query: has at least one weight; its terms are numbers of a vocabulary, so that the array is not long.
    """
    weights = np.zeros(int(query.indices.max()) + 2)
    weights[query.indices] = query.values
    return weights


def products(weights: NDArray[np.float64], blobs: Sequence[bytes]) -> NDArray[np.float64]:
    """The products of a query with stored vectors, float64 [n].

    weights: as query_weights() returns them. blobs: the vectors, n, as they are stored.
    """
    counts = np.array([len(blob) for blob in blobs], np.int64) // 8
    stored = np.frombuffer(b"".join(blobs), np.uint32)
    # A vector begins at twice the number of weights before it: its terms come first, then their weights.
    place = np.arange(counts.sum()) + np.repeat(np.cumsum(counts) - counts, counts)
    of_query = weights[np.minimum(stored[place], len(weights) - 1)]
    of_text = stored.view(np.float32)[place + np.repeat(counts, counts)]
    row = np.repeat(np.arange(len(blobs)), counts)
    return np.asarray(np.bincount(row, of_query * of_text, minlength=len(blobs)), np.float64)


def term_sums(blobs: Iterable[bytes]) -> TermSums:
    """The sums of the weights of each term over stored vectors."""
    vectors = [vector for blob in blobs if (vector := from_blob(blob)) is not None]
    if not vectors:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    terms, place = np.unique(np.concatenate([vector.indices for vector in vectors]), return_inverse=True)
    steps = np.rint(np.concatenate([vector.values for vector in vectors]).astype(np.float64) * LEARNED_UNIT)
    sums = np.zeros(len(terms), np.int64)
    np.add.at(sums, place, steps.astype(np.int64))
    return terms.astype(np.int64), sums
