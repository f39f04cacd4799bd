"""One text with what its model computed for it."""

from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import SparseVector
from pinyon.inference.backend import QUERY_TOKENS, STORED_TOKENS, Embeddings, SparseEmbeddings, Windows
from pinyon.search import token_codes

TokenForm = Literal["windows", "codes"]
"""windows: float16 [tokens, dimension] for each window, of a query that is cached. codes: as search.token_codes encodes
them, of a text that is stored."""
WINDOW_TOKENS: dict[TokenForm | None, int] = {None: 0, "windows": QUERY_TOKENS, "codes": STORED_TOKENS}
"""How many tokens of a text get vectors."""


class EmbeddedText(msgspec.Struct, frozen=True):
    """The vector of one text: float32 [dimension] from a dense model, a SparseVector from a sparse one.

    tokens: how many the model read. truncated: whether the text was cut. terms: the word behind each sparse index.
    windows, token_codes: its token vectors in one of the forms of TokenForm, if that was asked for.
    """

    tokens: int
    truncated: bool
    vector: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    terms: list[str] | None = None
    windows: list[NDArray[np.float16]] | None = None
    token_codes: bytes | None = None

    def has_tokens(self, form: TokenForm | None) -> bool:
        """Whether it has token vectors in this form, or none are asked for."""
        return form is None or (self.windows if form == "windows" else self.token_codes) is not None


def from_dense(batch: Embeddings, form: TokenForm | None = None) -> list[EmbeddedText]:
    """A batch of a dense model, text by text. form: of its token vectors, if it has them."""
    texts = list(map(EmbeddedText, batch.tokens, batch.truncated, batch.vectors))
    if batch.windows is None:
        return texts
    return [_with_windows(text, windows, form) for text, windows in zip(texts, batch.windows, strict=True)]


def _with_windows(text: EmbeddedText, windows: Windows, form: TokenForm | None) -> EmbeddedText:
    if form == "codes":
        return msgspec.structs.replace(text, token_codes=token_codes.encode(windows))
    return msgspec.structs.replace(text, windows=[window.astype(np.float16) for window in windows])


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
