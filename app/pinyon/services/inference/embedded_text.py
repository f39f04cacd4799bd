"""One text with what its model computed for it."""

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import SparseVector
from pinyon.inference.backend import Embeddings, SparseEmbeddings, Windows


class EmbeddedText(msgspec.Struct, frozen=True):
    """The vector of one text: float32 [dimension] from a dense model, a SparseVector from a sparse one.

    tokens: how many the model read. truncated: whether the text was cut. terms: the word behind each sparse index.
    windows: token vectors, float16 [tokens, dimension] per window, if they were asked for.
    """

    tokens: int
    truncated: bool
    vector: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    terms: list[str] | None = None
    windows: list[NDArray[np.float16]] | None = None


def from_dense(batch: Embeddings) -> list[EmbeddedText]:
    """A batch of a dense model, text by text."""
    windows = [None] * len(batch.tokens) if batch.windows is None else map(_halved, batch.windows)
    rows = zip(batch.tokens, batch.truncated, batch.vectors, windows, strict=True)
    return [EmbeddedText(tokens, cut, vector, windows=halved) for tokens, cut, vector, halved in rows]


def _halved(windows: Windows) -> list[NDArray[np.float16]]:
    return [window.astype(np.float16) for window in windows]


def from_sparse(batch: SparseEmbeddings) -> list[EmbeddedText]:
    """A batch of a sparse model, text by text."""
    rows = zip(batch.tokens, batch.truncated, batch.vectors, batch.terms, strict=True)
    return [EmbeddedText(tokens, truncated, None, sparse, terms) for tokens, truncated, sparse, terms in rows]


def heaviest(sparse: SparseVector, most: int) -> SparseVector:
    """The terms with the largest weights, at most so many, in the order they had."""
    if len(sparse.indices) <= most:
        return sparse
    places = np.sort(np.argsort(-sparse.values, kind="stable")[:most])
    return SparseVector(sparse.indices[places], sparse.values[places])


def dense_vectors(texts: Iterable[EmbeddedText]) -> list[NDArray[np.float32]]:
    """The dense vectors, each float32 [dimension]. Texts of a sparse model have none and are left out."""
    return [text.vector for text in texts if text.vector is not None]
