"""BM25Okapi with statistics that come from elsewhere than the documents it scores."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rank_bm25 import BM25Okapi

from pinyon.patches.supported import check_shape, check_version

SUPPORTED = "==0.2.2"


def check() -> None:
    """Raises FailedPrecondition for a version of rank-bm25 that this was not tested with."""
    check_version("rank-bm25", SUPPORTED)


def bm25_scores(
    query: Sequence[str],
    documents: Sequence[Sequence[str]],
    lengths: NDArray[np.float64],
    average_length: float,
    idf: Mapping[str, float],
    k1: float,
    b: float,
) -> NDArray[np.float64]:
    """BM25 scores of the documents' terms, float64 [n]; rank-bm25's formula with the given statistics.

    query: terms. documents: the terms of each. lengths: of the documents, in terms, float64 [n]. average_length: of
    the documents of the collection, in terms. idf: of each term of the query, in the collection. Raises
    FailedPrecondition for a version of rank-bm25 that this was not tested with.
    """
    check()
    model = BM25Okapi([list(terms) or [""] for terms in documents], k1=k1, b=b)  # it divides by the number of terms
    check_shape("rank-bm25", {"idf", "avgdl", "doc_len"} <= vars(model).keys(), "BM25Okapi (idf, avgdl, doc_len)")
    model.idf, model.avgdl, model.doc_len = idf, average_length, lengths
    return np.asarray(model.get_scores(query), dtype=np.float64)
