"""Curves from scores to the chance that a hit is relevant."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.search.calibration import BINS, calibration_error, isotonic, probability, problem


@st.composite
def judged_hits(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = draw(st.integers(1, 200))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = np.round(random.normal(0, draw(st.floats(0.01, 30)), count), draw(st.integers(0, 6)))
    return scores, random.random(count) < draw(st.floats(0, 1)), random.uniform(0.1, 3, count)


@given(judged_hits(), st.integers(1, 80), st.booleans())
def test_a_fitted_curve_is_a_curve_and_never_falls(
    hits: tuple[np.ndarray, np.ndarray, np.ndarray], least: int, flat: bool
) -> None:
    scores, relevant, weights = hits
    curve = isotonic(scores, relevant, weights, least, flat)
    assert problem(curve) is None
    chances = probability(curve, np.linspace(scores.min() - 1, scores.max() + 1, 500))
    assert (np.diff(chances) >= 0).all() and chances.min() >= 0 and chances.max() <= 1


@given(judged_hits())
def test_steps_of_a_curve_have_the_chances_of_their_hits(hits: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Isotonic regression keeps the total: the steps, weighted by their hits, have as many relevant ones as there are."""
    scores, relevant, _ = hits
    (point,) = isotonic(scores, relevant, least_hits=1_000)
    assert point == (pytest.approx(scores.mean(), abs=1e-5), pytest.approx(relevant.mean(), abs=1e-5))


def test_a_curve_finds_the_chances_that_hits_were_made_with() -> None:
    random = np.random.default_rng(1)
    scores = random.uniform(0, 1, 20_000)
    relevant = random.random(20_000) < scores**2
    grid = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(probability(isotonic(scores, relevant), grid), grid**2, atol=0.06)


def test_hits_with_the_same_score_have_the_same_chance() -> None:
    curve = isotonic(np.array([1.0, 1.0, 2.0, 2.0]), np.array([True, False, True, True]), least_hits=1)
    assert curve == ((1.0, 0.5), (2.0, 1.0))
    assert probability(curve, np.array([0, 1, 1.5, 2, 9])).tolist() == [0.5, 0.5, 0.75, 1, 1]


def test_flat_steps_keep_their_chance_from_end_to_end() -> None:
    scores, relevant = np.linspace(0, 1, 101), np.linspace(0, 1, 101) > 0.895
    curve = isotonic(scores, relevant, least_hits=10, flat=True)
    assert curve == ((0.0, 0.0), (0.89, 0.0), (0.9, 1.0), (1.0, 1.0))
    assert calibration_error(probability(curve, scores), relevant) == 0


def test_few_lucky_hits_do_not_make_certainty() -> None:
    scores, relevant = np.arange(200.0), np.arange(200) % 2 == 0
    relevant[-3:] = True
    assert isotonic(scores, relevant)[-1][1] < 0.6
    assert isotonic(scores, relevant, least_hits=1)[-1][1] == 1


def test_weights_say_how_much_a_hit_counts() -> None:
    curve = isotonic(np.zeros(2), np.array([True, False]), np.array([3.0, 1.0]))
    assert curve == ((0.0, 0.75),)


def test_the_calibration_error_is_the_distance_of_chances_from_shares() -> None:
    relevant = np.arange(100) % 4 == 0
    assert calibration_error(np.full(100, 0.25), relevant) == pytest.approx(0)
    assert calibration_error(np.full(100, 0.75), relevant) == pytest.approx(0.5)
    both = np.where(relevant, 1.0, 0.0)
    assert calibration_error(both, relevant) == 0
    assert calibration_error(1 - both, relevant) == 1
    assert calibration_error(np.array([0.0, 1.0]), np.array([False, False]), np.array([3.0, 1.0])) == 0.25
    assert calibration_error(np.array([0.01, 0.99 / BINS]), np.array([True, False])) < 0.5, "one bin"


@pytest.mark.parametrize(
    ("curve", "wrong"),
    [
        ((), "at least one point"),
        (((0.0, 0.5), (0.0, 0.6)), "ascending scores"),
        (((0.0, 0.5), (1.0, 0.4)), "never fall"),
        (((0.0, -0.1),), "from 0 to 1"),
        (((0.0, 1.1),), "from 0 to 1"),
        (((float("nan"), 0.5),), "finite"),
    ],
)
def test_what_is_wrong_with_a_curve_is_said(curve: tuple[tuple[float, float], ...], wrong: str) -> None:
    assert wrong in str(problem(curve))
