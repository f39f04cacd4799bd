"""Whether the rows that short codes cut off are looked at depends on how many hits a query may lose."""

import numpy as np
import pytest
from pinyon.domain import Metric
from pinyon.storage.sqlite.ivf.pq_check import CodeErrors, ShortList, factor_of_more_rows
from pinyon.storage.sqlite.ivf.pq_codes import codebook, coding_errors, faiss

CODEBOOK = np.random.default_rng(0).standard_normal((8, 16, 2), dtype=np.float32)
ERRORS = CodeErrors.of(np.full(16, 1e-6, np.float32), 1.0, 1e-3 * CODEBOOK)
QUERY = np.ones(16, np.float32)


def short_list(copies: int, kth_above_cut: float) -> ShortList:
    """240 rows with short scores that fall evenly from 1 to 0, in groups of equal rows; errors of 0.1 up and down."""
    short = np.repeat(np.linspace(1, 0, 240 // copies, dtype=np.float32), copies)
    errors = np.repeat(0.1 * (-1.0) ** np.arange(240 // copies, dtype=np.float32), copies)
    return ShortList(short, short + errors, 10, kth_above_cut)


def test_rows_far_below_the_last_hit_are_not_looked_at() -> None:
    assert factor_of_more_rows(short_list(1, 0.9), ERRORS, QUERY, "dotproduct", 0.2) is None


def test_more_rows_are_looked_at_where_the_last_hit_is_near_the_cut() -> None:
    assert (factor_of_more_rows(short_list(1, 0.1), ERRORS, QUERY, "dotproduct", 0.2) or 0) >= 2


def test_copies_of_one_vector_are_missed_together_so_that_fewer_misses_are_accepted() -> None:
    near = next(
        kth
        for kth in np.arange(0.1, 1.0, 0.01)
        if not factor_of_more_rows(short_list(1, kth), ERRORS, QUERY, "cosine", 0.2)
    )
    assert factor_of_more_rows(short_list(10, near), ERRORS, QUERY, "cosine", 0.2)


def test_too_few_different_vectors_tell_nothing_about_the_errors() -> None:
    assert factor_of_more_rows(short_list(60, 10.0), ERRORS, QUERY, "dotproduct", 0.2) == 2
    assert factor_of_more_rows(short_list(80, 10.0), ERRORS, QUERY, "dotproduct", 0.2) == 8 / 3


def test_rows_are_missed_where_one_number_makes_the_lookup_tables_coarse() -> None:
    rows = short_list(copies=1, kth_above_cut=0.9)
    assert factor_of_more_rows(rows, ERRORS, QUERY, "dotproduct", 0.2) is None
    huge = CODEBOOK.copy()
    huge[3, 0] = 100
    errors = CodeErrors.of(ERRORS.variances, ERRORS.most, huge)
    factor = factor_of_more_rows(rows, errors, QUERY, "dotproduct", 0.2)
    assert factor is not None and factor >= 2


@pytest.mark.parametrize("metric", ["dotproduct", "euclidean"])
def test_the_variance_of_lookup_tables_is_no_less_than_what_faiss_does_to_scores(metric: Metric) -> None:
    random = np.random.default_rng(1)
    vectors = random.standard_normal((4_000, 32), dtype=np.float32)
    vectors[::400, 7] = 300
    kind = faiss().METRIC_L2 if metric == "euclidean" else faiss().METRIC_INNER_PRODUCT
    index = faiss().index_factory(32, "IVF1,PQ32x4fs", kind)
    index.train(vectors)
    index.add(vectors)
    errors = CodeErrors.measured(coding_errors(index, vectors), codebook(index))
    decoded = vectors - coding_errors(index, vectors)
    for query in random.standard_normal((5, 32), dtype=np.float32):
        scores, rows = index.search(query[None, :], len(vectors))
        whole = np.square(query - decoded).sum(axis=1) if metric == "euclidean" else decoded @ query
        seen = float(np.std((scores[0] - whole[rows[0]]).astype(np.float64)))
        expected = np.sqrt(errors.table_variance(query, metric))
        assert seen < 1.2 * expected
        # Of squared distances it is an upper bound: most rows do not use the part with the large steps.
        assert metric == "euclidean" or expected < 1.2 * seen
