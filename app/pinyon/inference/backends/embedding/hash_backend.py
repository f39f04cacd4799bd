"""`pinyon-hash-embed`: vectors from hashed words instead of a model, for tests and dry runs.

It compares words and not meaning. It answers to its own name; it stands in for others only if the setting `quick` says
so.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.inference.backend import Embeddings, Span, Windows
from pinyon.inference.steps import Steps, finished

_WORD = re.compile(r"\w+|[^\w\s]")


@lru_cache(maxsize=100_000)
def _word_vector(word: str, dimension: int) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.blake2b(word.lower().encode(), digest_size=8).digest(), "little")
    vector = np.random.default_rng(seed).standard_normal(dimension)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


class HashEncoder:
    """A TextEncoder. The vector of a text is the normalised mean of pseudo-random vectors of its words."""

    def __init__(self, dimension: int, max_tokens: int) -> None:
        self.dimension, self.max_tokens = dimension, max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(_words(text)) for text in texts]

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        limit = min(max_tokens, self.max_tokens)
        words = [_words(text) for text in texts]
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, words_of_text in enumerate(words):
            total = np.sum([_word_vector(word, self.dimension) for word in words_of_text[:limit]], axis=0)
            vectors[row] = total / max(float(np.linalg.norm(total)), 1e-9)
        counts = [len(words_of_text) for words_of_text in words]
        return Embeddings(vectors, [min(n, limit) for n in counts], [n > limit for n in counts])

    def encode_tokens(self, texts: Sequence[str], prefix: str, max_tokens: int, window_tokens: int) -> Embeddings:
        embeddings = self.encode([prefix + text for text in texts], max_tokens)
        return msgspec.structs.replace(embeddings, windows=finished(self.token_windows(texts, window_tokens)))

    def ends(self, texts: Sequence[str], max_tokens: int) -> list[str]:
        return [
            text if len(words := list(_WORD.finditer(text))) <= max_tokens else text[words[-max_tokens].start() :]
            for text in texts
        ]

    def token_spans(self, text: str) -> list[Span]:
        return [word.span() for word in _WORD.finditer(text)] or [(0, len(text))]

    def token_windows(self, texts: Sequence[str], max_tokens: int) -> Steps[list[Windows]]:
        windows = []
        for text in texts:
            vectors = np.stack([_word_vector(word, self.dimension) for word in _words(text)[:max_tokens]])
            windows.append(
                [vectors[start : start + self.max_tokens] for start in range(0, len(vectors), self.max_tokens)]
            )
            yield
        return windows


def _words(text: str) -> list[str]:
    return _WORD.findall(text) or [text]
