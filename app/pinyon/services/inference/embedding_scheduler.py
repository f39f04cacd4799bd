"""Decides which texts one model call computes together: queries start soon, passages finish quickly.

Texts of different requests that wait at the same time are computed together. While queries arrive, a call for passages
is kept so short that queries need not wait long for it. The vectors of queries are cached.
"""

import time
from collections.abc import Callable, Sequence

from pinyon import failpoints, metrics
from pinyon.domain import InputType, Truncate
from pinyon.errors import TextTooLong
from pinyon.inference.backend import Embedder, SparseEmbedder
from pinyon.inference.model_executor import ModelExecutor
from pinyon.inference.steps import Pace
from pinyon.services.inference import embedded_text
from pinyon.services.inference.embedded_text import WINDOW_TOKENS, EmbeddedText, TokenForm
from pinyon.services.inference.query_cache import QueryCache
from pinyon.services.inference.returning_callers import ReturningCallers
from pinyon.services.inference.text_batches import TextBatches, size

CALL_S, CALL_BESIDE_QUERIES_S = 0.1, 0.03
"""Intended duration of a call in seconds, and of one for passages while queries arrive."""
QUERIES_EXPECTED_S = 2.0
"""For so many seconds after a query, another one is expected."""
LEAST_QUERY_BYTES, LEAST_PASSAGE_BYTES = 2_000, 400
"""Short texts with so many bytes are computed together even by a slow model: one by one they would take longer."""
GAP_S = 0.003
"""Queries that come one after another within so many seconds share a call; about twice the time between two of them."""
FIRST_RATE = 20_000.0
"""Default of `first_rate`."""

Key = tuple[Embedder | SparseEmbedder, InputType, Truncate, int | TokenForm | None]
"""Texts with the same key can be computed together. The last part is the limit of tokens that a request sets for a
sparse model, or the form of token vectors that it wants from a dense one."""


class EmbeddingScheduler:
    """Runs embedders on the model thread. Use it from the event-loop thread only.

    first_rate: bytes of text per second that are assumed of a model before a call has been measured. gap_s: of queries,
    as in ReturningCallers.
    """

    def __init__(
        self, executor: ModelExecutor, cache: QueryCache, first_rate: float = FIRST_RATE, gap_s: float = GAP_S
    ) -> None:
        self._executor, self._cache, self._first_rate, self._gap_s = executor, cache, first_rate, gap_s
        self._paces: dict[tuple[str, InputType], Pace] = {}
        self._callers: dict[tuple[str, InputType], ReturningCallers] = {}
        self._last_query = -QUERIES_EXPECTED_S
        self._batches: dict[Key, TextBatches] = {}

    async def embed(
        self,
        embedder: Embedder,
        texts: Sequence[str],
        input_type: InputType,
        truncate: Truncate,
        form: TokenForm | None = None,
    ) -> list[EmbeddedText]:
        """Embed each text, in the given order. Raises TextTooLong or Unavailable.

        form: in which each text gets its token vectors too, if it does.
        """

        def compute(some: list[str]) -> list[EmbeddedText]:
            return embedded_text.from_dense(embedder.embed(some, input_type, truncate, WINDOW_TOKENS[form]), form)

        key = embedder, input_type, truncate, form
        if input_type == "passage":
            return await self._embed_together(key, texts, compute)
        self._last_query = time.monotonic()
        keys = [(embedder.fingerprint, truncate, text) for text in texts]
        known = {
            each: cached for each in keys if (cached := self._cache.get(each)) is not None and cached.has_tokens(form)
        }
        for each in keys:
            metrics.looked_up("query", each in known)
        missing = [each for each in dict.fromkeys(keys) if each not in known]
        if missing:  # if all are cached, a full queue is no reason to refuse the request
            try:
                computed = await self._embed_together(key, [text for _, _, text in missing], compute)
            except TextTooLong as error:
                place = keys.index(missing[error.position])
                raise TextTooLong(place, error.tokens, error.limit, error.model) from error
            for each, embedded in zip(missing, computed, strict=True):
                known[each] = embedded
                self._cache.put(each, embedded)
        return [known[each] for each in keys]

    async def embed_sparse(
        self,
        embedder: SparseEmbedder,
        texts: Sequence[str],
        input_type: InputType,
        truncate: Truncate,
        max_tokens: int | None,
    ) -> list[EmbeddedText]:
        """Embed each text with a sparse model, in the given order. Raises TextTooLong or Unavailable."""
        if input_type == "query":
            self._last_query = time.monotonic()

        def compute(some: list[str]) -> list[EmbeddedText]:
            return embedded_text.from_sparse(embedder.embed(some, input_type, truncate, max_tokens))

        return await self._embed_together((embedder, input_type, truncate, max_tokens), texts, compute)

    async def _embed_together(
        self, key: Key, texts: Sequence[str], compute: Callable[[list[str]], list[EmbeddedText]]
    ) -> list[EmbeddedText]:
        """Embed texts in calls with those of other requests that wait."""
        batches = self._batches.get(key)
        if batches is None:
            embedder, input_type, _, _ = key
            of_model = embedder.label, input_type
            pace = self._paces.setdefault(of_model, Pace(self._first_rate))
            gap_s = self._gap_s if input_type == "query" else 0.0
            callers = self._callers.setdefault(of_model, ReturningCallers(gap_s, self._executor.clock))
            batches = self._batches[key] = TextBatches(
                self._executor,
                input_type,
                lambda some: _measured(compute, some, input_type, pace),
                lambda: self._budget(input_type, pace),
                callers,
                longest_first=input_type == "passage",
            )
        try:
            return await batches.embed(texts)
        finally:
            if not batches.waiting and self._batches.get(key) is batches:  # holds no embedder that is not used any more
                del self._batches[key]

    def _budget(self, input_type: InputType, pace: Pace) -> int:
        """How many bytes of text the next call takes, so that it lasts as long as intended."""
        if input_type == "query":
            return max(pace.within(CALL_S), LEAST_QUERY_BYTES)
        expects_queries = time.monotonic() - self._last_query < QUERIES_EXPECTED_S
        return max(pace.within(CALL_BESIDE_QUERIES_S if expects_queries else CALL_S), LEAST_PASSAGE_BYTES)


def _measured(
    compute: Callable[[list[str]], list[EmbeddedText]], texts: list[str], input_type: InputType, pace: Pace
) -> list[EmbeddedText]:
    """Compute texts in one call, and note how long it took. On the model thread."""
    failpoints.reach("embed")
    begun = time.perf_counter()
    embedded = compute(texts)
    seconds = time.perf_counter() - begun
    metrics.embedded(input_type, len(texts), sum(text.tokens for text in embedded), seconds)
    pace.took(sum(map(size, texts)), seconds)
    return embedded
