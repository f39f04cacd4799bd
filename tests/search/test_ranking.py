"""Scores and their order."""

import numpy as np
import pytest
from pinyon.domain import Metric
from pinyon.search.ranking import exact_scores, max_sim, shortest


def test_euclidean_is_the_squared_distance() -> None:
    rows = np.zeros((1, 8), np.float32)
    assert exact_scores("euclidean", rows, np.full(8, 0.1, np.float32))[0] == pytest.approx(0.08)


def test_cosine_does_not_depend_on_length() -> None:
    rows = np.array([[3, 0], [0, 5], [-1, 0]], np.float32)
    assert exact_scores("cosine", rows, np.array([0.5, 0], np.float32)).tolist() == [1, 0, -1]


def test_cosine_of_a_zero_row_is_zero_and_never_nan() -> None:
    assert exact_scores("cosine", np.zeros((1, 2), np.float32), np.ones(2, np.float32)).tolist() == [0]


@pytest.mark.parametrize("metric", ["cosine", "dotproduct", "euclidean"])
def test_equal_rows_get_equal_scores_wherever_they_lie(metric: Metric) -> None:
    rng = np.random.default_rng(1)
    row, query = rng.standard_normal(37).astype(np.float32), rng.standard_normal(37).astype(np.float32)
    rows = rng.standard_normal((1001, 37)).astype(np.float32)
    rows[[0, 3, 517, 1000]] = row
    found = exact_scores(metric, rows, query)
    assert len({found[0], found[3], found[517], found[1000]}) == 1
    assert found[0] == exact_scores(metric, row[None], query)[0]


@pytest.mark.parametrize("metric", ["dotproduct", "euclidean"])
def test_scores_beyond_float32_stay_finite(metric: Metric) -> None:
    rows, query = np.full((1, 4), 3e38, np.float32), np.full(4, -3e38, np.float32)
    assert np.isfinite(exact_scores(metric, rows, query)).all()


def test_max_sim_is_one_for_the_same_tokens_and_zero_for_opposite_ones() -> None:
    tokens = np.eye(3, dtype=np.float32)
    assert max_sim(tokens, tokens[::-1]) == pytest.approx(1.0)
    assert max_sim(tokens[:1], -tokens[:1]) == pytest.approx(0.0)
    assert max_sim(tokens, np.empty((0, 3), np.float32)) == 0.0


def test_more_of_the_document_never_lowers_max_sim() -> None:
    rng = np.random.default_rng(3)
    query, document = rng.standard_normal((4, 8)), rng.standard_normal((9, 8))
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    document /= np.linalg.norm(document, axis=1, keepdims=True)
    found = [max_sim(query.astype(np.float32), document[:n].astype(np.float32)) for n in range(1, 10)]
    assert found == sorted(found)


def test_shortest_prints_a_float32_as_it_was_typed() -> None:
    assert (
        repr(shortest(np.float32([0.4, 0.0800000429, 3.4028235e38, -0.0, 1])))
        == "[0.4, 0.08000004, 3.4028235e+38, -0.0, 1.0]"
    )
