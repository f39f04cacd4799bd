"""Whether the rows that short codes cut off are looked at depends on how many hits a query may lose."""

import numpy as np
from pinyon.storage.sqlite.ivf.pq_check import CodeErrors, ShortList, factor_of_more_rows

ERRORS = CodeErrors(np.full(16, 1e-6, np.float32), 1.0)
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
