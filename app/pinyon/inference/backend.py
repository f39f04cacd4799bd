"""The model seam: synchronous, blocking, batch in and numpy out.

No asyncio, no queues, no tensors, no prompts (they belong to the catalogue), no downloads.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Fingerprint, InputType, SparseVector, TermStatistics, Truncate

Windows = list[NDArray[np.float32]]
"""Token vectors of one text, float32 [tokens, dimension] per window."""

MOST_WINDOWS = 4
"""Windows of a reranker's limit that are read of a longer document: enough for a chapter, and an end to the waiting."""


Span = tuple[int, int]
"""Where a token stands in its text: first character, and the one after the last."""


class Embeddings(msgspec.Struct, frozen=True):
    """vectors: float32 [n, dimension]. tokens: tokens computed per text. truncated: which texts were cut."""

    vectors: NDArray[np.float32]
    tokens: list[int]
    truncated: list[bool]


class SparseEmbeddings(msgspec.Struct, frozen=True):
    """vectors: one per text, never empty. tokens, truncated: as in Embeddings. terms: the word behind each index."""

    vectors: list[SparseVector]
    tokens: list[int]
    truncated: list[bool]
    terms: list[list[str]]


class TextEncoder(Protocol):
    """Bare weights: text to vectors, without prefixes and without knowing whose name they answer to.

    Every method takes one text or more.

    max_tokens is what the weights can read at once, special tokens included. A text's numbers depend on its batch by
    the rounding of float32, about 1e-7 of a vector's length, because the arithmetic is ordered by the batch's shape.
    """

    dimension: int
    max_tokens: int

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each whole text, special tokens included, before any cut."""
        ...

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        """One vector per text; texts are cut to max_tokens, special tokens included, or to the weights' own limit."""
        ...

    def ends(self, texts: Sequence[str], max_tokens: int) -> list[str]:
        """The last part of each text, of at most max_tokens tokens, special tokens left out."""
        ...

    def token_spans(self, text: str) -> list[Span]:
        """Where each token of a text stands, special tokens left out; as many as token_windows() has vectors."""
        ...

    def token_windows(self, texts: Sequence[str], max_tokens: int) -> list[Windows]:
        """For each text the unit vectors of its first max_tokens tokens, special tokens left out.

        A text beyond what the weights can read at once is read in windows, one after another.
        """
        ...


class Embedder(Protocol):
    """A named embedding model as the catalogue describes it: prefixes, dimension and limits applied.

    label: who computes, for banners and headers; a stand-in says so.
    """

    fingerprint: Fingerprint
    label: str
    encoder: TextEncoder

    def embed(self, texts: Sequence[str], input_type: InputType, truncate: Truncate) -> Embeddings:
        """One vector per text. Raises TextTooLong for a text over the named model's limit when truncate is NONE.

        A stand-in that reads less than the named model cuts a text all the same, and reports it.
        """
        ...


class SparseEmbedder(Protocol):
    """A named model of sparse vectors; label as in Embedder."""

    fingerprint: Fingerprint
    label: str

    def embed(
        self, texts: Sequence[str], input_type: InputType, truncate: Truncate, max_tokens: int | None = None
    ) -> SparseEmbeddings:
        """One sparse vector per text. max_tokens: the limit; None for the model's own. Raises TextTooLong."""
        ...


class Retrieved(msgspec.Struct, frozen=True):
    """What is known of hits before they are reranked; nothing, of documents that come with a request.

    encoder: of their index, which late interaction reads with. statistics: of the query's terms in the namespace.
    cosines: float32 [n] with the query; if given, they and the words count beside the reranker's own score.
    """

    encoder: TextEncoder | None = None
    statistics: TermStatistics | None = None
    cosines: NDArray[np.float32] | None = None


class Reranker(Protocol):
    """Scores documents against a query. A score depends on the query and that one document only, except where the
    words of documents that come with a request are their own statistics.
    """

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> NDArray[np.float32]:
        """float32 [n] in 0..1, higher is better.

        Raises TextTooLong, with the document's position, for a pair over the limit when truncate is NONE.
        """
        ...
