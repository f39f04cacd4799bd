"""A cache of token vectors. Late interaction reads the same documents again and again.

Computing the token vectors of a document takes tens of milliseconds. Comparing them with a query takes microseconds.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.inference.backend import Embeddings, Span, TextEncoder, Windows
from pinyon.inference.steps import Steps

ENTRY_BYTES = 500
"""Approximate memory of an entry without its windows."""
WINDOW_BYTES = 200
"""Approximate memory of a window without its numbers."""

Key = tuple[bytes, int]
"""The digest of a text, because a text may have megabytes, and the number of tokens."""


Compute = Callable[[Sequence[str], int], Steps[list[Windows]]]
"""A function from texts and a number of tokens to the token vectors of each text."""


class CachingEncoder:
    """A TextEncoder that caches the token vectors of recent texts; see TokenCache."""

    def __init__(self, encoder: TextEncoder, max_bytes: int) -> None:
        self._encoder, self._cache = encoder, TokenCache(max_bytes)
        self.dimension, self.max_tokens = encoder.dimension, encoder.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._encoder.count_tokens(texts)

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        return self._encoder.encode(texts, max_tokens)

    def encode_tokens(self, texts: Sequence[str], prefix: str, max_tokens: int, window_tokens: int) -> Embeddings:
        return self._encoder.encode_tokens(texts, prefix, max_tokens, window_tokens)

    def ends(self, texts: Sequence[str], max_tokens: int) -> list[str]:
        return self._encoder.ends(texts, max_tokens)

    def token_spans(self, text: str) -> list[Span]:
        return self._encoder.token_spans(text)

    def token_windows(self, texts: Sequence[str], max_tokens: int) -> Steps[list[Windows]]:
        return self._cache.windows(texts, max_tokens, self._encoder.token_windows)

    @property
    def nbytes(self) -> int:
        """Memory of the cache in bytes."""
        return self._cache.nbytes


class TokenCache:
    """The token vectors of recent texts, up to max_bytes.

    They are cached, and always returned, in half precision. Call it from one thread at a time; the steps of several
    calls may take turns.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._entries: OrderedDict[Key, list[NDArray[np.float16]]] = OrderedDict()

    def windows(self, texts: Sequence[str], max_tokens: int, compute: Compute) -> Steps[list[Windows]]:
        """The token vectors of each text; those that are not cached are computed."""
        keys = {text: (hashlib.blake2b(text.encode(), digest_size=16).digest(), max_tokens) for text in texts}
        # Taken before the first step, because other requests may push entries out between the steps.
        half = {text: self._entries[key] for text, key in keys.items() if key in self._entries}
        if missing := [text for text in keys if text not in half]:
            computed = yield from compute(missing, max_tokens)
            for text, of_text in zip(missing, computed, strict=True):
                half[text] = [window.astype(np.float16) for window in of_text]
        results = [half[text] for text in texts]
        for text, windows in zip(texts, results, strict=True):
            self._put(keys[text], windows)
        return [[window.astype(np.float32) for window in windows] for windows in results]

    @property
    def nbytes(self) -> int:
        """Memory of the cache in bytes."""
        return self._bytes

    def _put(self, key: Key, windows: list[NDArray[np.float16]]) -> None:
        if key not in self._entries:
            self._bytes += _size(windows)
        self._entries[key] = windows
        self._entries.move_to_end(key)
        while self._bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= _size(oldest)


def _size(windows: list[NDArray[np.float16]]) -> int:
    return ENTRY_BYTES + sum(window.nbytes + WINDOW_BYTES for window in windows)
