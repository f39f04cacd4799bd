"""Remembered token vectors."""

from collections.abc import Sequence

import numpy as np
from pinyon.inference.backend import Windows
from pinyon.inference.backends.embedding.hash_backend import HashEncoder
from pinyon.inference.steps import Steps, finished
from pinyon.inference.token_cache import ENTRY_BYTES, WINDOW_BYTES, CachingEncoder


class Counting(HashEncoder):
    """Notes which texts it computed."""

    def __init__(self) -> None:
        super().__init__(dimension=64, max_tokens=256)
        self.computed: list[str] = []

    def token_windows(self, texts: Sequence[str], max_tokens: int) -> Steps[list[Windows]]:
        self.computed += texts
        return super().token_windows(texts, max_tokens)


def test_a_text_is_computed_once_and_its_vectors_stay_the_same() -> None:
    encoder = Counting()
    cache = CachingEncoder(encoder, 1_000_000)
    first = finished(cache.token_windows(["a b", "c", "a b"], 10))
    again = finished(cache.token_windows(["c", "a b"], 10))
    assert encoder.computed == ["a b", "c"]
    np.testing.assert_array_equal(again[0][0], first[1][0])
    np.testing.assert_array_equal(again[1][0], first[0][0])
    np.testing.assert_allclose(first[0][0], finished(encoder.token_windows(["a b"], 10))[0][0], atol=1e-3)


def test_another_limit_is_another_answer() -> None:
    cache = CachingEncoder(Counting(), 1_000_000)
    assert [len(finished(cache.token_windows(["a b c"], limit))[0][0]) for limit in (3, 2, 3)] == [3, 2, 3]


def test_the_oldest_texts_go_when_the_memory_is_full() -> None:
    encoder = Counting()
    cache = CachingEncoder(encoder, 2 * (64 * 2 + ENTRY_BYTES + WINDOW_BYTES))  # two texts of a token each
    for text in ("a", "b", "a", "c", "a", "b"):
        finished(cache.token_windows([text], 10))
    assert encoder.computed == ["a", "b", "c", "b"]


def test_without_memory_everything_is_computed() -> None:
    encoder = Counting()
    cache = CachingEncoder(encoder, 0)
    assert len(finished(cache.token_windows(["a", "a"], 10))) == 2
    finished(cache.token_windows(["a"], 10))
    assert encoder.computed == ["a", "a"]
