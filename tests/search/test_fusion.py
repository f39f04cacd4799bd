"""How meaning and words are mixed: the same for every model, and sensible for few records."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.domain import Centroid, Mix
from pinyon.search.fusion import Sides, background, corrected, fused, learned_words, with_late_interaction
from pinyon.search.ranking import ALONE, IN_MIX, K1, bm25

DIMENSION = 64


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def scores(query: np.ndarray, rows: np.ndarray, unrelated: np.ndarray, shares: np.ndarray) -> np.ndarray:
    centroid = Centroid(rows.mean(axis=0), len(rows))
    chance = background(query.astype(np.float32), centroid, unrelated.mean(axis=0))
    return fused(Sides(corrected((rows @ query).astype(np.float32), chance), shares))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0.05, 0.95))
def test_a_model_whose_cosines_are_all_high_gives_the_same_scores(seed: int, count: int, common: float) -> None:
    """Some models add the same direction to every vector: then cosines are common + (1 - common) * cosine."""
    random = np.random.default_rng(seed)
    vectors, shares = unit(random.standard_normal((count + 5, DIMENSION))), random.uniform(0, 1, count)
    moved = np.hstack([np.full((count + 5, 1), common**0.5), (1 - common) ** 0.5 * vectors])
    plain = scores(vectors[0], vectors[5:], vectors[1:5], shares)
    np.testing.assert_allclose(scores(moved[0], moved[5:], moved[1:5], shares), plain, atol=1e-5)


def test_a_text_like_any_other_has_no_similarity_and_the_same_text_has_all_of_it() -> None:
    assert corrected(np.float32([0.8, 0.9, 1.0, 0.7, -1.0]), 0.8) == pytest.approx([0, 0.5, 1, -0.05, -0.1], abs=1e-6)
    assert fused(Sides(np.array([1.0, 0.0]), np.array([1.0, 0.0]))).tolist() == [1, 0]


def test_the_tokens_of_one_of_two_joined_models_can_count_less_than_their_similarity() -> None:
    similarities, shares, own = np.array([0.4]), np.array([0.2]), np.array([0.9])
    sides = Sides(similarities, shares, token_weight=0.5)
    assert with_late_interaction(own, sides)[0] == pytest.approx((0.4 + 0.2 + 0.75 * 0.9) / (1 + 1 + 0.75))
    assert fused(sides) == pytest.approx((0.4 + 0.2) / 2)


def test_a_similarity_and_the_tokens_of_its_model_can_count_less() -> None:
    similarity, share, own = np.array([1.0]), np.array([0.5]), np.array([0.6])
    assert fused(Sides(similarity, share, 0.25)) == pytest.approx([0.75 / 1.25])
    whole = with_late_interaction(own, Sides(similarity, share))
    assert whole == pytest.approx([(1 + 0.5 + 1.5 * 0.6) / 3.5])
    assert with_late_interaction(own, Sides(similarity, share, 0.5, token_weight=0.5)) == pytest.approx(
        [(0.5 + 0.5 + 0.75 * 0.6) / 2.25]
    )


def test_each_side_counts_as_much_as_the_mix_says() -> None:
    similarity, share, learned, own = (np.array([value]) for value in (0.8, 0.5, 0.4, 0.6))
    mix = Mix(similarity=2, words=0.5, learned=3, reranker=0.1)
    sides = Sides(similarity, share, 0.25, learned, mix, 0.25)
    assert fused(sides) == pytest.approx([(0.5 * 0.8 + 0.5 * 0.5 + 1.5 * 0.4) / 2.5])
    reranked = with_late_interaction(own, sides)
    assert reranked == pytest.approx([(0.5 * 0.8 + 0.5 * 0.5 + 1.5 * 0.4 + 0.0375 * 0.6) / 2.5375])
    assert fused(Sides(similarity, share, mix=Mix(words=0))).tolist() == similarity.tolist()
    assert fused(Sides(similarity, share, mix=Mix(similarity=0))).tolist() == share.tolist()


def test_texts_that_are_all_the_same_have_finite_scores() -> None:
    assert np.isfinite(corrected(np.ones(3, np.float32), 1.0)).all()


def test_a_namespace_with_one_record_tells_a_good_match_from_a_bad_one() -> None:
    query, unrelated = np.eye(DIMENSION)[0], np.zeros((1, DIMENSION))
    good, bad = unit(np.array([[0.8] + [0.6] + [0.0] * 62])), unit(np.array([[0.05] + [1.0] + [0.0] * 62]))
    none = np.zeros(1)
    assert scores(query, good, unrelated, none)[0] > 0.35
    assert scores(query, bad, unrelated, none)[0] < 0.05


def test_scores_settle_as_a_namespace_grows() -> None:
    random = np.random.default_rng(2)
    vectors, query = unit(random.standard_normal((5_000, DIMENSION)) + 1.0), unit(random.standard_normal(DIMENSION) + 1)
    unrelated = unit(random.standard_normal((10, DIMENSION)) + 1.0)
    first = [scores(query, vectors[:count], unrelated, np.zeros(count))[0] for count in (3, 30, 300, 5_000)]
    assert first == pytest.approx([first[-1]] * 4, abs=0.05)


def test_a_query_without_direction_has_no_background() -> None:
    zero = np.zeros(DIMENSION, np.float32)
    assert background(zero, Centroid(np.ones(DIMENSION), 3), None) == 0.0


def test_only_the_direction_of_a_query_counts() -> None:
    random = np.random.default_rng(3)
    query, centroid = random.standard_normal(DIMENSION).astype(np.float32), Centroid(np.full(DIMENSION, 0.05), 9)
    assert background(query * 1000, centroid, None) == pytest.approx(background(query, centroid, None))


def test_even_late_interaction_leaves_the_order_of_retrieval() -> None:
    random = np.random.default_rng(4)
    similarities, shares = random.uniform(0, 1, 50), random.uniform(0, 1, 50)
    even = with_late_interaction(np.full(50, 0.8), Sides(similarities, shares))
    assert even.argsort().tolist() == fused(Sides(similarities, shares)).astype(np.float32).argsort().tolist()


def test_the_share_alone_is_a_part_of_bm25() -> None:
    counts, lengths = np.array([0.0, 1, 2, 9]), np.array([5.0, 10, 15, 12])
    np.testing.assert_allclose(ALONE.weights(counts, lengths, 10.0), bm25(counts, lengths, 10.0) / (K1 + 1))


def test_a_share_grows_with_repetitions_and_reaches_one_only_without_end() -> None:
    counts = np.array([0.0, 1, 2, 1000])
    for formula in (ALONE, IN_MIX):
        shares = formula.weights(counts, np.full(4, 50.0), 50.0)
        assert shares[0] == 0 and (np.diff(shares) > 0).all() and 0.99 < shares[-1] < 1


def test_single_sentences_are_not_ranked_by_how_short_they_are() -> None:
    for formula, least in ((ALONE, 0.10), (IN_MIX, 0.0)):
        short, long = formula.weights(np.ones(2), np.array([6.0, 14.0]), 10.0)
        assert least < short - long < (0.2 if formula is ALONE else 0.06)


def test_learned_words_are_a_third_side_that_counts_half() -> None:
    similarity, share, learned = np.array([0.4]), np.array([0.2]), np.array([0.6])
    assert fused(Sides(similarity, share, learned=learned)) == pytest.approx([(0.4 + 0.2 + 0.5 * 0.6) / 2.5])
    own = np.array([0.8])
    reranked = with_late_interaction(own, Sides(similarity, share, 1.0, learned))
    assert reranked == pytest.approx([(0.4 + 0.2 + 0.5 * 0.6 + 1.5 * 0.8) / 4])


def test_a_text_that_the_learned_model_has_not_read_is_scored_by_the_other_sides() -> None:
    both, learned = np.array([0.4, 0.4]), np.array([np.nan, 0.4])
    assert fused(Sides(both, both, learned=learned)).tolist() == pytest.approx([0.4, 0.4])
    assert fused(Sides(both, both, learned=learned))[0] == fused(Sides(both, both))[0]


def test_learned_words_are_corrected_for_chance() -> None:
    own, products = 4.0, np.array([4.0, 1.0, 0.0, np.nan, 9.0])
    corrected_products = learned_words(products, own, total=1_000.0, records=990)
    assert corrected_products == pytest.approx([1, 0, -0.1 / 3, np.nan, 1], nan_ok=True)


def test_the_only_record_of_a_namespace_still_has_learned_words() -> None:
    assert learned_words(np.array([2.0]), 4.0, total=2.0, records=1)[0] > 0.4
