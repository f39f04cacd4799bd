"""Which retrieval answers a plan, how many candidates each side brings, and how their scores are fused."""

import numpy as np
import pytest
from pinyon.domain import Mix, QueryPlan, ScoreParts
from pinyon.search import retrieval
from pinyon.search.fusion import LEXICAL_WEIGHT


@pytest.mark.parametrize(
    ("plan", "has_vector", "kind"),
    [
        (QueryPlan(1, id="a"), True, "dense"),
        (QueryPlan(1, id="a"), False, "sparse"),
        (QueryPlan(1, text="words"), False, "lexical"),
        (QueryPlan(1, text="words"), True, "hybrid"),
    ],
)
def test_a_plan_is_answered_by_what_it_has(plan: QueryPlan, has_vector: bool, kind: str) -> None:
    assert retrieval.kind(plan, has_vector) == kind


def test_each_side_brings_a_hundred_candidates_or_as_many_as_are_wanted() -> None:
    assert [retrieval.depth(QueryPlan(1), top_k) for top_k in (1, 100, 101)] == [100, 100, 101]
    assert [retrieval.depth(QueryPlan(1, mix=Mix(candidates=20)), top_k) for top_k in (1, 30)] == [20, 30]


def test_a_hybrid_score_adds_the_two_sides_and_says_what_they_were() -> None:
    rows, cosines = np.array([3, 5, 9]), np.float32([0.5, 0.25, 0.75])
    lexical_rows = np.array([1, 5, 9])
    scores, parts = retrieval.fuse(
        rows, cosines, 0.25, lexical_rows, np.array([9.0, 2.0, 4.0]), np.array([0.9, 0.5, 1.0])
    )
    similarities, shares = np.array([1 / 3, 0, 2 / 3]), np.array([0, 0.5, 1.0])
    np.testing.assert_allclose(scores, (similarities + LEXICAL_WEIGHT * shares) / (1 + LEXICAL_WEIGHT), rtol=1e-6)
    weight = LEXICAL_WEIGHT / (1 + LEXICAL_WEIGHT)
    assert parts.of(rows) == {
        3: ScoreParts(0.5, 2, None, None, 0.25, 0.33333334, 0.0, weight),
        5: ScoreParts(0.25, 3, 2.0, 2, 0.25, 0.0, 0.5, weight),
        9: ScoreParts(0.75, 1, 4.0, 1, 0.25, 0.6666667, 1.0, weight),
    }


def test_words_decide_more_if_the_similarity_counts_less() -> None:
    rows, cosines, with_words = np.array([1, 2]), np.float32([1.0, 0.0]), np.array([2])
    scores, parts = retrieval.fuse(rows, cosines, 0.0, with_words, np.array([1.0]), np.array([0.5]), 0.25)
    assert scores == pytest.approx([0.2, 0.4])
    assert parts.of(rows)[1].lexical_weight == 0.8


def test_candidates_behind_the_last_row_with_words_have_none() -> None:
    scores, parts = retrieval.fuse(
        np.array([7]), np.float32([0.5]), 0.0, np.array([2]), np.array([1.0]), np.array([1.0])
    )
    assert parts.of(np.array([7]))[7].lexical is None
    assert scores[0] < 0.5


def test_the_parts_say_what_learned_words_add_to_each_score() -> None:
    rows, cosines, with_words = np.array([1, 2]), np.float32([0.5, 0.5]), np.array([2])
    learned = np.array([0.75, np.nan])
    scores, fused = retrieval.fuse(rows, cosines, 0.0, with_words, np.array([1.0]), np.array([0.5]), 1.0, learned)
    assert scores == pytest.approx([(0.5 + 0.5 * 0.75) / 2.5, 0.5])
    parts = fused.of(rows)
    assert (parts[1].learned, parts[1].learned_weight) == (0.75, pytest.approx(0.2))
    assert parts[1].lexical_weight == pytest.approx(0.4)
    assert (parts[2].learned, parts[2].learned_weight, parts[2].lexical_weight) == (None, None, 0.5)
