"""Token vectors kept in memory, because late interaction reads the same documents again and again.

Computing the token vectors of a document takes tens of milliseconds, comparing them with a query takes microseconds.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.inference.backend import Embeddings, Span, TextEncoder, Windows

ENTRY_BYTES, WINDOW_BYTES = 500, 200
"""What an entry takes beside its windows, and a window beside its numbers, about."""

Key = tuple[bytes, int]
"""The digest of a text, which may be megabytes of spaces, and a number of tokens."""


class CachingEncoder:
    """A TextEncoder that remembers the token vectors it computed last, up to a number of bytes.

    They are kept, and always answered, in half precision. Not for use by several threads at once.
    """

    def __init__(self, encoder: TextEncoder, most_bytes: int) -> None:
        self._encoder, self._most_bytes, self._bytes = encoder, most_bytes, 0
        self._kept: OrderedDict[Key, list[NDArray[np.float16]]] = OrderedDict()
        self.dimension, self.max_tokens = encoder.dimension, encoder.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._encoder.count_tokens(texts)

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        return self._encoder.encode(texts, max_tokens)

    def ends(self, texts: Sequence[str], max_tokens: int) -> list[str]:
        return self._encoder.ends(texts, max_tokens)

    def token_spans(self, text: str) -> list[Span]:
        return self._encoder.token_spans(text)

    def token_windows(self, texts: Sequence[str], max_tokens: int) -> list[Windows]:
        keys = {text: (hashlib.blake2b(text.encode(), digest_size=16).digest(), max_tokens) for text in texts}
        missing = [text for text, key in keys.items() if key not in self._kept]
        computed = self._encoder.token_windows(missing, max_tokens) if missing else []
        half = {
            text: [window.astype(np.float16) for window in windows]
            for text, windows in zip(missing, computed, strict=True)
        }
        found = [half[text] if text in half else self._kept[keys[text]] for text in texts]
        for text, windows in zip(texts, found, strict=True):
            self._keep(keys[text], windows)
        return [[window.astype(np.float32) for window in windows] for windows in found]

    @property
    def nbytes(self) -> int:
        """Memory that what is kept takes."""
        return self._bytes

    def _keep(self, key: Key, windows: list[NDArray[np.float16]]) -> None:
        if key not in self._kept:
            self._bytes += _size(windows)
        self._kept[key] = windows
        self._kept.move_to_end(key)
        while self._bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= _size(oldest)


def _size(windows: list[NDArray[np.float16]]) -> int:
    return ENTRY_BYTES + sum(window.nbytes + WINDOW_BYTES for window in windows)
