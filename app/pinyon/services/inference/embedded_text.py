"""One text with what its model computed for it."""

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import SparseVector
from pinyon.inference.backend import Embeddings, SparseEmbeddings


class EmbeddedText(msgspec.Struct, frozen=True):
    """The vector of one text: float32 [dimension] from a dense model, a SparseVector from a sparse one.

    tokens: how many the model read. truncated: whether the text was cut. terms: the word behind each sparse index.
    """

    tokens: int
    truncated: bool
    vector: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    terms: list[str] | None = None


def from_dense(batch: Embeddings) -> list[EmbeddedText]:
    """A batch of a dense model, text by text."""
    rows = zip(batch.tokens, batch.truncated, batch.vectors, strict=True)
    return [EmbeddedText(tokens, truncated, vector) for tokens, truncated, vector in rows]


def from_sparse(batch: SparseEmbeddings) -> list[EmbeddedText]:
    """A batch of a sparse model, text by text."""
    rows = zip(batch.tokens, batch.truncated, batch.vectors, batch.terms, strict=True)
    return [EmbeddedText(tokens, truncated, None, sparse, terms) for tokens, truncated, sparse, terms in rows]


def dense_vectors(texts: Iterable[EmbeddedText]) -> list[NDArray[np.float32]]:
    """The dense vectors, each float32 [dimension]. Texts of a sparse model have none and are left out."""
    return [text.vector for text in texts if text.vector is not None]
