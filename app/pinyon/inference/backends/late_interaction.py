"""`pinyon-late-interaction`: reranking by the token vectors of an embedding model, without weights of its own.

The stand-in for cross-encoders whose weights are not here. Slower than the search, much quicker than a large
cross-encoder, and better than the search alone.
"""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import TermStatistics, Truncate
from pinyon.errors import TextTooLong
from pinyon.inference.backend import MOST_WINDOWS, Span, TextEncoder, Windows
from pinyon.search.ranking import idf, max_sim
from pinyon.search.terms import query_terms
from pinyon.search.words import pattern

OTHER_WEIGHT = 0.3
"""What a token counts that belongs to no term; about the idf of a word that three texts of four have."""


class LateInteractionReranker:
    """A Reranker: mean over the query's tokens of the best cosine in the document, moved to 0..1.

    In a search the namespace says how rare the query's words are, and a rare word's tokens count more, as in BM25.
    A document beyond what the encoder reads at once is read in windows, and the best window counts: taking the best
    of all windows together for each token favours long documents (nDCG@10 on Cranfield .527, best window .542).
    """

    def __init__(
        self, encoder: TextEncoder, name: str, max_tokens: int, statistics: TermStatistics | None = None
    ) -> None:
        self._encoder, self._name, self._max_tokens, self._statistics = encoder, name, max_tokens, statistics

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> NDArray[np.float32]:
        asked, *counts = self._encoder.count_tokens([query, *documents])
        if truncate == "NONE":
            for position, tokens in enumerate(counts):
                if asked + tokens > self._max_tokens:
                    raise TextTooLong(position, asked + tokens, self._max_tokens, self._name)
        # As in a cross-encoder's pair, the query takes its share of the limit first; half is always the document's.
        of_query = min(asked, self._max_tokens // 2)
        query_windows = self._encoder.token_windows([query], of_query)[0]
        if not query_windows:  # of characters that the tokenizer drops
            return np.zeros(len(documents), np.float32)
        query_vectors = np.concatenate(query_windows)
        weights = None
        if self._statistics is not None:
            spans = self._encoder.token_spans(query)
            weights = token_weights(query, spans[: len(query_vectors)], self._statistics)
        whole = self._max_tokens * (1 if truncate == "NONE" else MOST_WINDOWS)
        room = whole - of_query
        # Asked for without regard to the query, so that the encoder can remember them for the next one.
        documents_windows = self._encoder.token_windows(documents, whole)
        return np.array(
            [
                max((max_sim(query_vectors, window, weights) for window in _first(windows, room)), default=0.0)
                for windows in documents_windows
            ],
            dtype=np.float32,
        )


def token_weights(query: str, spans: Sequence[Span], statistics: TermStatistics) -> NDArray[np.float64]:
    """What each token of a query counts, float64 [n]: the idf of the word it is a part of.

    spans: where each token stands in the query. Stop words and punctuation have no idf, and count little.
    """
    weights = np.full(len(spans), OTHER_WEIGHT)
    for word in pattern(query).finditer(query):
        asked = query_terms(word.group(), statistics.language)
        found = [idf(statistics.texts, statistics.having.get(term, 0)) for term in asked]
        if found:
            inside = [place for place, (start, _) in enumerate(spans) if word.start() <= start < word.end()]
            weights[inside] = fmean(found)
    return weights


def _first(windows: Windows, tokens: int) -> Windows:
    """The first tokens of a text, still in its windows."""
    taken = []
    for window in windows:
        if tokens <= 0:
            break
        taken.append(window[:tokens])
        tokens -= len(window)
    return taken
