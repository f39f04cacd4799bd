"""The interface of models. Calls block; a batch goes in and numpy arrays come out.

What may take long for one request is computed in steps, so that other requests can go between. Asyncio, queues,
tensors, prefixes of texts and downloads stay outside of it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import EVEN, Fingerprint, InputType, Mix, SparseVector, TermStatistics, Truncate
from pinyon.inference.steps import Steps

Windows = list[NDArray[np.float32]]
"""Token vectors of one text, float32 [tokens, dimension] per window."""

QUERY_TOKENS, STORED_TOKENS = 512, 1_024
"""Tokens of a query, and of a text that is stored, that get vectors of their own when it is embedded."""
MOST_WINDOWS = 4
"""How many windows of a long document a reranker reads at most. A chapter fits, and the time is bounded."""


Span = tuple[int, int]
"""The position of a token in its text: its first character, and the one after its last."""


class Embeddings(msgspec.Struct, frozen=True):
    """Vectors of texts.

    vectors: float32 [n, dimension]. tokens: number of tokens computed per text. truncated: whether a text was cut.
    windows: token vectors of each text; None if they were not asked for.
    """

    vectors: NDArray[np.float32]
    tokens: list[int]
    truncated: list[bool]
    windows: list[Windows] | None = None


class SparseEmbeddings(msgspec.Struct, frozen=True):
    """Sparse vectors of texts.

    vectors: one per text, never empty. tokens, truncated: as in Embeddings. terms: for each text, the word of each
    index.
    """

    vectors: list[SparseVector]
    tokens: list[int]
    truncated: list[bool]
    terms: list[list[str]]


class TextEncoder(Protocol):
    """Weights that turn texts into vectors, without the prefixes and limits of a model's name.

    Every method takes one text or more. max_tokens: what the weights can read at once, special tokens included. The
    vector of a text depends on the other texts of its batch by the rounding of float32, about 1e-7 of its length.
    """

    dimension: int
    max_tokens: int

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text before any cut, special tokens included."""
        ...

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        """One vector per text. Texts are cut to max_tokens, special tokens included, or to the limit of the weights."""
        ...

    def encode_tokens(self, texts: Sequence[str], prefix: str, max_tokens: int, window_tokens: int) -> Embeddings:
        """encode() of the texts with the prefix, and the token vectors of up to window_tokens of each text.

        Where both need the same forward pass, it is computed once. The prefix has no token vectors of its own.
        """
        ...

    def ends(self, texts: Sequence[str], max_tokens: int) -> list[str]:
        """The last max_tokens tokens of each text, as text. Special tokens do not count."""
        ...

    def token_spans(self, text: str) -> list[Span]:
        """The position of each token of a text, without special tokens; as many as token_windows() has vectors."""
        ...

    def token_windows(self, texts: Sequence[str], max_tokens: int) -> Steps[list[Windows]]:
        """Unit vectors of the first max_tokens tokens of each text, without special tokens.

        A text that is longer than the weights can read at once is read in windows, one after another.
        """
        ...


class Embedder(Protocol):
    """An embedding model with the prefixes, the dimension and the limits of its name in the catalogue.

    label: the model that computes, for banners and headers; a stand-in says so. languages: that it knows, if they are
    few; empty if it knows many. token_languages: the same of the model whose token
    vectors `encoder` gives. max_tokens: what is read of a text, with its prefix and special tokens. sparse: the learned
    sparse model that reads the texts of an index too.
    """

    fingerprint: Fingerprint
    label: str
    languages: Collection[str]
    token_languages: Collection[str]
    encoder: TextEncoder
    sparse: "SparseEmbedder | None"

    @property
    def max_tokens(self) -> int: ...

    def count_tokens(self, texts: Sequence[str], input_type: InputType) -> list[int]:
        """Number of tokens of each text with its prefix, before any cut, special tokens included."""
        ...

    def embed(
        self, texts: Sequence[str], input_type: InputType, truncate: Truncate, window_tokens: int = 0
    ) -> Embeddings:
        """One vector per text. Raises TextTooLong if truncate is NONE and a text is over the limit of the named model.

        window_tokens: so many tokens of each text get vectors too, but not if the beginning of a text was cut. A
        stand-in that reads less than the named model cuts the text even if truncate is NONE, and reports it in
        `truncated`.
        """
        ...


class SparseEmbedder(Protocol):
    """A named model of sparse vectors.

    label, languages: as in Embedder. by_rarity: whether a search multiplies the weight of each term by how rare it is
    in the namespace, because the model itself does not know.
    """

    fingerprint: Fingerprint
    label: str
    languages: Collection[str]
    by_rarity: bool

    def embed(
        self, texts: Sequence[str], input_type: InputType, truncate: Truncate, max_tokens: int | None = None
    ) -> SparseEmbeddings:
        """One sparse vector per text. max_tokens: the limit; None for the model's own. Raises TextTooLong."""
        ...


class Retrieved(msgspec.Struct, frozen=True):
    """What retrieval knows about hits before they are reranked. Documents that come with a request have none of it.

    encoder: the embedding model of their index, for late interaction. statistics: of the query's terms in the
    namespace. similarities: float64 [n], of hits and query (fusion.corrected()); if given, they and the keywords count
    beside the reranker's score. similarity_weight, token_weight, mix, learned: as fusion.Sides has them. query_windows:
    token vectors of the query by the encoder, if they are known. token_codes: by text, the token vectors of documents
    that need not be read. shares: float64 [n], of the query's information that the words of the hits carry
    (ranking.IN_MIX), if the search has computed it.
    """

    encoder: TextEncoder | None = None
    statistics: TermStatistics | None = None
    similarities: NDArray[np.float64] | None = None
    similarity_weight: float = 1.0
    token_weight: float = 1.0
    mix: Mix = EVEN
    learned: NDArray[np.float64] | None = None
    query_windows: Windows | None = None
    token_codes: Mapping[str, bytes] = {}
    shares: NDArray[np.float64] | None = None


class Reranker(Protocol):
    """Scores documents for a query.

    A score depends on the query and its document only. An exception: documents that come with a request may provide
    the statistics of their words together.
    """

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> Steps[NDArray[np.float32]]:
        """Scores float32 [n] from 0 to 1; higher is better.

        Raises TextTooLong, with the document's position, if truncate is NONE and a pair is over the limit.
        """
        ...
