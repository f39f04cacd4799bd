"""The best records of a search, as every engine ranks them."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.search import retrieval
from pinyon.storage.shared.row_sets import Records, RowSet

WORDS_BATCH = 512
"""Records that a search with match_terms reads at a time."""

Scored = tuple[Records, NDArray[np.float32]]
"""Row numbers, int64 [n], and their scores, float32 [n]."""


class Ranking(msgspec.Struct, frozen=True):
    """Row numbers, int64 [n], and scores, float32 [n], best first; ties are sorted by id. parts: of hybrid scores."""

    rows: Records
    scores: NDArray[np.float32]
    parts: retrieval.HybridParts | None = None


NO_ROWS: Scored = (np.empty(0, np.int64), np.empty(0, np.float32))


def of_products(products: tuple[Records, NDArray[np.float64]], matching: RowSet | None) -> Scored:
    """The rows that match, with their sparse products as scores. matching: None for all rows."""
    rows, values = products
    if matching is not None:
        is_match = matching.contains(rows)
        rows, values = rows[is_match], values[is_match]
    limit = np.finfo(np.float32).max
    return rows, np.clip(values, -limit, limit).astype(np.float32)
