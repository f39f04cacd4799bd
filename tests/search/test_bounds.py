"""Quick scores, and how far they may be from the exact ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pinyon.domain import Metric
from pinyon.search.bounds import bounded_scores, byte_codes, squared_lengths
from pinyon.search.ranking import exact_scores

METRICS: list[Metric] = ["cosine", "dotproduct", "euclidean"]
LIMIT = float(np.finfo(np.float32).max)


def assert_bounded(metric: Metric, rows: np.ndarray, query: np.ndarray, by_codes: bool) -> None:
    """Quick scores are as close to the exact ones as they say."""
    squares = squared_lengths(rows)
    quick, error = bounded_scores(metric, rows, query, squares, byte_codes(rows, squares) if by_codes else None)
    assert quick.dtype == error.dtype == np.float32
    exact = exact_scores(metric, rows, query)
    assert (np.abs(np.clip(quick, -LIMIT, LIMIT) - exact) <= error + 1e-7 * np.abs(quick)).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("by_codes", [False, True])
@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1, 1e6, 1e18, 1e30])
@pytest.mark.parametrize("some_are_zero", [False, True])
def test_quick_scores_are_as_close_as_they_say(
    metric: Metric, by_codes: bool, scale: float, some_are_zero: bool
) -> None:
    rng = np.random.default_rng(2)
    rows = (rng.standard_normal((500, 384)) * scale * rng.uniform(0.01, 1, (500, 1))).astype(np.float32)
    rows[0] *= not some_are_zero
    assert_bounded(metric, rows, rows[7], by_codes)
    assert_bounded(metric, rows, rows[7] * np.float32(1e-3), by_codes)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("by_codes", [False, True])
def test_quick_scores_of_the_longest_vectors_are_as_close_as_they_say(metric: Metric, by_codes: bool) -> None:
    rows = np.random.default_rng(3).uniform(0.9, 1.0, (50, 8_192)).astype(np.float32)  # every sum only grows
    assert_bounded(metric, rows, rows[7] * 3, by_codes)


@pytest.mark.parametrize("metric", METRICS)
def test_codes_are_as_close_as_they_say_where_they_are_at_their_worst(metric: Metric) -> None:
    rows = np.full((40, 256), 0.5, np.float32)  # half a step from a code, all to the same side
    rows[:, 0] = 127
    assert_bounded(metric, rows, rows[0], by_codes=True)
    assert_bounded(metric, rows, np.sign(rows[0] - 1), by_codes=True)


def test_codes_tell_most_rows_from_the_best() -> None:
    rng = np.random.default_rng(4)
    rows, query = rng.standard_normal((2_000, 384)).astype(np.float32), rng.standard_normal(384).astype(np.float32)
    squares = squared_lengths(rows)
    for metric in METRICS:
        quick, error = bounded_scores(metric, rows, query, squares, byte_codes(rows, squares))
        good = -quick if metric == "euclidean" else quick
        assert ((good + error) >= np.partition(good - error, -10)[-10]).sum() < 100


ROWS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 20), st.just(5)),
    elements=st.floats(-3e5, 3e5, width=32, allow_subnormal=False),
)


@pytest.mark.parametrize("metric", METRICS)
@given(rows=ROWS, data=st.data())
def test_quick_scores_of_any_rows_are_as_close_as_they_say(
    metric: Metric, rows: np.ndarray, data: st.DataObject
) -> None:
    query = rows[data.draw(st.integers(0, len(rows) - 1))][::-1].copy()
    assert_bounded(metric, rows, query, by_codes=True)


def test_rows_out_of_the_range_of_float32_have_no_codes() -> None:
    rows = np.ones((3, 4), np.float32)
    for odd in (0.0, 1e-20, 1e20):
        rows[1] = odd
        assert byte_codes(rows, squared_lengths(rows)) is None
