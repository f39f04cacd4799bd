"""The best of many scores. Pure."""

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Metric
from pinyon.search.ranking import higher_is_better
from pinyon.storage.shared.row_sets import Records

GROUPS_FROM, GROUP = 128, 16
"""From so many values per wanted one, the k-th largest is first estimated from groups of this size."""


def best(
    records: Records, scores: NDArray[np.float32], top_k: int, metric: Metric = "dotproduct"
) -> tuple[Records, NDArray[np.float32]]:
    """The top_k best rows, and every further row that ties with the last of them."""
    good = higher_is_better(metric, scores)
    enough = good >= kth_largest(good, top_k)
    return records[enough], scores[enough]


def lower_bound_of_kth(values: NDArray[np.floating], k: int) -> float:
    """A fast lower bound of the k-th largest value: the largest values of k groups are k values."""
    if len(values) < GROUPS_FROM * k:
        return -np.inf
    groups = values[: len(values) // GROUP * GROUP].reshape(GROUP, -1).max(axis=0)
    return float(np.partition(groups, -k)[-k])


def kth_largest(values: NDArray[np.floating], k: int) -> float:
    """The k-th largest value, or minus infinity if there are fewer."""
    if len(values) < k:
        return -np.inf
    if len(values) > GROUPS_FROM * k:
        values = values[values >= lower_bound_of_kth(values, k)]
    return float(np.partition(values, -k)[-k])
