"""`pinyon-embed-small`: two embedding models as one vector, which ranks better than either of them.

The cosine of two joined vectors is the weighted mean of the cosines of their parts. Vectors of E5 models have a large
part in common, so that all their cosines lie close together; the first part is therefore taken less a fixed mean. See
models/pinyon-embed-small/README.md.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from pinyon.inference.backend import Embeddings, Span, TextEncoder, Windows
from pinyon.inference.model_files.weights import WEIGHTS_FILE
from pinyon.inference.steps import Steps
from pinyon.search.text.known_languages import similarity_weight

QUERY_PREFIX = "query: "
PREFIXES = (QUERY_PREFIX, "passage: ")
"""What the first part reads before a text, and the second part does not."""


class JoinedEncoder:
    """A TextEncoder over two others. folder: has the mean vector and the weights of the parts.

    Both parts read a text, each up to its own limit; a text counts as truncated if one of them cut it. Late interaction
    reads the token vectors of the second part.

    languages: that the second part knows; empty if it knows many. The second half of a query in another language is 0,
    because it would be noise. So the first part alone ranks for such a query.
    """

    def __init__(self, folder: Path, first: TextEncoder, second: TextEncoder, languages: Collection[str] = ()) -> None:
        tensors = load_file(folder / WEIGHTS_FILE)
        self._mean, self._scales = tensors["mean"], np.sqrt(tensors["weights"])
        self._first, self._second, self._languages = first, second, languages
        self.dimension = first.dimension + second.dimension
        self.max_tokens = first.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._first.count_tokens(texts)

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        other = self._second.encode([_plain(text) for text in texts], max_tokens)
        return self._joined(self._first.encode(texts, max_tokens), other, texts)

    def encode_tokens(self, texts: Sequence[str], prefix: str, max_tokens: int, window_tokens: int) -> Embeddings:
        other = self._second.encode_tokens(texts, "", max_tokens, window_tokens)
        prefixed = [prefix + text for text in texts]
        return self._joined(self._first.encode(prefixed, max_tokens), other, prefixed)

    def _joined(self, one: Embeddings, other: Embeddings, texts: Sequence[str]) -> Embeddings:
        known = np.array([[self._counts(text)] for text in texts], np.float32).reshape(-1, 1)
        seconds = other.vectors * known * self._scales[1]
        vectors = np.hstack([_unit(one.vectors - self._mean) * self._scales[0], seconds])
        truncated = [cut or also for cut, also in zip(one.truncated, other.truncated, strict=True)]
        return Embeddings(vectors, one.tokens, truncated, other.windows)

    def _counts(self, text: str) -> bool:
        """Whether the second half of a text's vector counts."""
        return not text.startswith(QUERY_PREFIX) or similarity_weight(_plain(text), self._languages) == 1.0

    def ends(self, texts: Sequence[str], max_tokens: int) -> list[str]:
        return self._first.ends(texts, max_tokens)

    def token_spans(self, text: str) -> list[Span]:
        return self._second.token_spans(text)

    def token_windows(self, texts: Sequence[str], max_tokens: int) -> Steps[list[Windows]]:
        return self._second.token_windows(texts, max_tokens)


def _plain(text: str) -> str:
    """The text without the prefix that the name of the model put before it."""
    return next((text.removeprefix(prefix) for prefix in PREFIXES if text.startswith(prefix)), text) or text


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-9), np.float32)
