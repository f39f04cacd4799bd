"""`pinyon-late-interaction`: reranks by the token vectors of an embedding model. It has no weights of its own.

It stands in for cross-encoders whose weights are missing. It is slower than a search and much faster than a large
cross-encoder, and ranks better than the search alone.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import TermStatistics, Truncate
from pinyon.errors import TextTooLong
from pinyon.inference.backend import MOST_WINDOWS, QUERY_TOKENS, Span, TextEncoder, Windows
from pinyon.inference.steps import Steps
from pinyon.search import token_codes
from pinyon.search.ranking import idf, max_sim
from pinyon.search.text.analysis import query_terms
from pinyon.search.text.words import pattern

NOTHING_STORED: Mapping[str, bytes] = {}
CODES_PER_STEP = 64
"""Documents with stored token vectors that one step scores: up to about 50 ms."""
OTHER_WEIGHT = 0.3
"""Weight of a token that belongs to no term: about the idf of a word that three of four texts contain."""


class LateInteractionReranker:
    """A Reranker. The score is the mean, over the query's tokens, of the best cosine in the document, scaled to 0..1.

    statistics: of the query's terms in the namespace; if given, the tokens of rare words count more, as in BM25.
    query_windows: token vectors of the query, if they are known. The query is read if they are not of all its tokens.
    token_codes: by text, the token vectors of documents that the encoder has read before; the others are read. A
    document that is longer than the encoder reads at once is read in windows, and its best window counts. The best
    of all windows for each token would favour long documents (nDCG@10 on Cranfield .527; with the best window .542).
    """

    def __init__(
        self,
        encoder: TextEncoder,
        name: str,
        max_tokens: int,
        statistics: TermStatistics | None = None,
        query_windows: Windows | None = None,
        token_codes: Mapping[str, bytes] = NOTHING_STORED,
    ) -> None:
        self._encoder, self._name, self._max_tokens, self._statistics = encoder, name, max_tokens, statistics
        self._query_windows, self._token_codes = query_windows, token_codes
        self._last: tuple[str, ReadQuery] | None = None

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> Steps[NDArray[np.float32]]:
        asked = yield from self._read(query)
        if truncate == "NONE":
            for position, document in enumerate(documents):
                (tokens,) = self._encoder.count_tokens([document])
                yield
                if asked.tokens + tokens > self._max_tokens:
                    raise TextTooLong(position, asked.tokens + tokens, self._max_tokens, self._name)
        if not len(asked.vectors):  # the tokenizer drops every character of the query
            return np.zeros(len(documents), np.float32)
        whole = self._max_tokens * (1 if truncate == "NONE" else MOST_WINDOWS)
        room = whole - asked.used
        scores = np.zeros(len(documents), np.float32)
        unread = []
        for place, document in enumerate(documents):
            if document in self._token_codes:
                windows = token_codes.decode(self._token_codes[document])
                scores[place] = max(
                    (token_codes.max_sim(asked.vectors, window, asked.weights) for window in windows), default=0
                )
            else:
                unread.append(place)
            if place % CODES_PER_STEP == CODES_PER_STEP - 1:
                yield
        if unread:
            # The same number of tokens for every query, so that the encoder can cache them.
            read = yield from self._encoder.token_windows([documents[place] for place in unread], whole)
            for place, of_document in zip(unread, read, strict=True):
                sims = (max_sim(asked.vectors, window, asked.weights) for window in _first(of_document, room))
                scores[place] = max(sims, default=0)
        return scores

    def _read(self, query: str) -> Steps["ReadQuery"]:
        """Read the query. It is read once, even if it is compared with several lists of documents."""
        if self._last is not None and self._last[0] == query:
            return self._last[1]
        (tokens,) = self._encoder.count_tokens([query])
        # As in the pair of a cross-encoder, the query takes its part of the limit first. Half is always the document's.
        # Where two models are joined, the one with the token vectors may have more tokens than the one that counts.
        spans = self._encoder.token_spans(query)
        used = min(max(tokens, len(spans)), self._max_tokens // 2)
        known = self._query_windows or []
        # A prefix can change how the beginning of a query is broken into tokens. Its vectors do not fit the spans then.
        if sum(map(len, known)) == min(len(spans), QUERY_TOKENS) and used <= QUERY_TOKENS:
            windows = _first(known, used)
        else:
            (windows,) = yield from self._encoder.token_windows([query], used)
        vectors = np.concatenate(windows) if windows else np.empty((0, self._encoder.dimension), np.float32)
        weights = None
        if self._statistics is not None:
            weights = token_weights(query, spans[: len(vectors)], self._statistics)
        read = ReadQuery(tokens, used, vectors, weights)
        self._last = query, read
        return read


class ReadQuery(msgspec.Struct, frozen=True):
    """A query for late interaction.

    tokens: of the whole query. used: how many tokens of the limit it takes. vectors: float32 [n, dimension], of its
    first tokens; empty if there are none. weights: float64 [n], of each of them; None for equal weights.
    """

    tokens: int
    used: int
    vectors: NDArray[np.float32]
    weights: NDArray[np.float64] | None


def token_weights(query: str, spans: Sequence[Span], statistics: TermStatistics) -> NDArray[np.float64]:
    """The weight of each token of a query, float64 [n]: the idf of the word that it belongs to.

    spans: the position of each token in the query. Stop words and punctuation have no idf and a low weight.
    """
    weights = np.full(len(spans), OTHER_WEIGHT)
    for word in pattern(query).finditer(query):
        asked = query_terms(word.group(), statistics.analysis, statistics.languages)
        rarities = [idf(statistics.texts, statistics.having.get(term.forms, 0)) for term in asked]
        if rarities:
            inside = [token for token, (start, _) in enumerate(spans) if word.start() <= start < word.end()]
            weights[inside] = fmean(rarities)
    return weights


def _first(windows: Windows, tokens: int) -> Windows:
    """The windows of a text, cut to its first tokens."""
    taken = []
    for window in windows:
        if tokens <= 0:
            break
        taken.append(window[:tokens])
        tokens -= len(window)
    return taken
