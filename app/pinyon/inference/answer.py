"""Which model answers to a name, and what a caller must know of it."""

import msgspec

from pinyon.inference.precision import Precision
from pinyon.search.fusion import Formula, with_late_interaction, with_mini

LATE_INTERACTION = "pinyon-late-interaction"
BM25_RERANKER = "bm25"
MINI = "pinyon-rerank-mini"
MIXES: dict[str, Formula] = {LATE_INTERACTION: with_late_interaction, MINI: with_mini}
"""Rerankers whose scores are combined with those of retrieval, because both together rank better, and the formula."""


class Answer(msgspec.Struct, frozen=True):
    """The model that answers to a name.

    name: that was asked for. by: the model that answers. own_weights: the sha256 of the weights if they are the user's
    own. precision: how it is computed.
    """

    name: str
    by: str
    own_weights: str | None = None
    precision: Precision = "fp32"

    @property
    def stand_in(self) -> bool:
        """Whether another model than the named one answers."""
        return self.name != self.by

    @property
    def needs_encoder(self) -> bool:
        """Whether this reranker needs the embedding model of the index."""
        return self.by in (LATE_INTERACTION, MINI)

    @property
    def fuses(self) -> bool:
        """Whether the scores of this reranker are combined with those of retrieval instead of replacing them."""
        return self.by in MIXES

    @property
    def by_words(self) -> bool:
        """Whether this reranker needs to know how rare words are."""
        return self.by == BM25_RERANKER

    @property
    def label(self) -> str:
        """How banners and headers name this answer."""
        label = self.by
        if self.stand_in:
            label += f"; stand-in-for={self.name}"
        if self.own_weights is not None:
            label += f"; own-weights=sha256:{self.own_weights[:12]}"
        if self.precision != "fp32":
            label += f"; precision={self.precision}"
        return label
