"""What the short codes of an inverted file hold, and where they err."""

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinyon.storage.shared.row_sets import Vectors
from pinyon.storage.sqlite.ivf.pq_check import CodeErrors

ERRORS_AT_ONCE = 4_096
"""Vectors whose coding errors are computed together."""


@cache
def faiss() -> Any:
    """The library. It is imported when a namespace is large enough, because that takes 0.2 s and 50 MB."""
    return import_module("faiss")


def coding_errors(index: Any, prepared: Vectors) -> Vectors:
    """Vectors minus their decoded short codes, float32 [n, dimension]."""
    errors = np.empty_like(prepared)
    for start in range(0, len(prepared), ERRORS_AT_ONCE):
        part = prepared[start : start + ERRORS_AT_ONCE]
        errors[start : start + ERRORS_AT_ONCE] = part - index.pq.decode(index.pq.compute_codes(part))
    return errors


def badly_coded(index: Any, errors: CodeErrors, prepared: Vectors) -> NDArray[np.bool_]:
    """Which vectors the short codes represent badly, bool [n]."""
    parts = [prepared[start : start + ERRORS_AT_ONCE] for start in range(0, len(prepared), ERRORS_AT_ONCE)]
    return np.concatenate(
        [errors.badly_coded(coding_errors(index, part)) for part in parts] or [np.zeros(0, dtype=bool)]
    )


def codebook(index: Any) -> Vectors:
    """The code words of each part of the vectors, float32 [parts, code words, dimensions of a part]."""
    pq = index.pq
    words: Vectors = faiss().vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub)
    return words
