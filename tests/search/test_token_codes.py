"""Token vectors in one bit a number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pinyon.search import ranking, token_codes


def units(seed: int, count: int, dimension: int, common: float = 0.0) -> NDArray[np.float32]:
    """Random vectors of length 1. common: how much of one direction all of them have."""
    dice = np.random.default_rng(seed)
    rows = dice.standard_normal((count, dimension)) + common * dice.standard_normal(dimension)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 40), max_size=4),
    dimension=st.integers(1, 70),
    common=st.floats(0, 5),
)
def test_a_text_comes_back_with_all_its_windows_and_tokens(
    seed: int, lengths: list[int], dimension: int, common: float
) -> None:
    windows = [units(seed + n, length, dimension, common) for n, length in enumerate(lengths)]
    code = token_codes.encode(windows)
    decoded = token_codes.decode(code)
    assert len(code) == 5 + sum(2 + 2 * dimension + length * (2 + -(-dimension // 8)) for length in lengths)
    assert [token_codes.vectors(window).shape for window in decoded] == [window.shape for window in windows]
    query = units(seed, 3, dimension)
    weights = np.array([1.0, 0.5, 2.0])
    for window, original in zip(decoded, windows, strict=True):
        rest, left = original - original.mean(axis=0), token_codes.vectors(window)
        # The error of a vector is at right angles to its difference from the mean, and never longer than needed.
        np.testing.assert_allclose(np.vecdot(left - original, rest), 0, atol=4e-3)
        wanted = ranking.max_sim(query, left, weights)
        assert token_codes.max_sim(query, window, weights) == pytest.approx(wanted, abs=1e-4)


@given(st.binary(max_size=200), st.integers(0, 40))
def test_other_bytes_are_refused_and_never_misread(noise: bytes, cut: int) -> None:
    code = token_codes.encode([units(1, 5, 12), units(2, 3, 12)])
    for damaged in (code[:cut], code + noise[:1] + b"x", b"\x02" + code[1:]):
        with pytest.raises(ValueError, match="token vectors"):
            token_codes.decode(damaged)
    try:
        windows = token_codes.decode(noise)
    except ValueError:
        return
    assert all(window.bits.shape[0] == len(window.scales) for window in windows)


def test_a_text_of_200_tokens_takes_less_than_12_kilobytes() -> None:
    assert len(token_codes.encode([units(1, 200, 384)])) < 12_000


def test_the_order_of_texts_hardly_changes() -> None:
    query = units(0, 8, 384, common=1)
    texts = [units(n, 60, 384, common=1) + np.float32(0.01 * n) * query[0] for n in range(1, 40)]
    texts = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in texts]
    exact = [ranking.max_sim(query, rows) for rows in texts]
    coded = [token_codes.max_sim(query, token_codes.decode(token_codes.encode([rows]))[0]) for rows in texts]
    assert np.corrcoef(exact, coded)[0, 1] > 0.9
    assert np.max(np.abs(np.subtract(exact, coded))) < 0.05


def test_without_tokens_there_is_no_score_and_another_model_is_an_error() -> None:
    (window,) = token_codes.decode(token_codes.encode([units(1, 4, 16)]))
    assert token_codes.decode(token_codes.encode([])) == []
    assert token_codes.max_sim(np.empty((0, 16), np.float32), window) == 0.0
    with pytest.raises(ValueError, match="vectors of 8 numbers, the text of 16"):
        token_codes.max_sim(units(1, 2, 8), window)
