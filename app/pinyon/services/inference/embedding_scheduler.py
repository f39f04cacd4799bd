"""Decides which texts one model call computes together: queries start soon, passages finish quickly.

Passages of similar length are computed together, so that little padding is needed. While queries arrive, a call for
passages is kept so short that queries need not wait long for it. Queries of different requests that wait at the same
time are computed together, and their vectors are cached.
"""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from pinyon import failpoints, metrics
from pinyon.domain import InputType, Truncate
from pinyon.errors import TextTooLong
from pinyon.inference.backend import Embedder, Embeddings
from pinyon.inference.model_executor import ModelExecutor
from pinyon.services.inference import embedded_text
from pinyon.services.inference.embedded_text import EmbeddedText
from pinyon.services.inference.query_batches import QueryBatches
from pinyon.services.inference.query_cache import QueryCache

MOST_TEXTS = 32
"""Texts in one call; a larger batch is not faster per text."""
CALL_S, CALL_BESIDE_QUERIES_S = 0.4, 0.03
"""Target duration of a call for passages in seconds: without queries, and while queries arrive."""
QUERIES_EXPECTED_S = 2.0
"""For so many seconds after a query, another one is expected."""
MOST_CHARACTERS = 2_000
"""Characters of one text that count when the duration of a call is estimated; most models cut longer texts."""
FIRST_RATE = 20_000.0
"""Default of `first_rate`."""


class EmbeddingScheduler:
    """Runs embedders on the model thread. Use it from the event-loop thread only.

    first_rate: characters per second that are assumed of a model before a call has been measured.
    """

    def __init__(self, executor: ModelExecutor, cache: QueryCache, first_rate: float = FIRST_RATE) -> None:
        self._executor, self._cache, self._first_rate = executor, cache, first_rate
        self._rates: dict[str, float] = {}
        self._last_query = -QUERIES_EXPECTED_S
        self._batches: dict[tuple[Embedder, Truncate], QueryBatches] = {}

    async def embed(
        self, embedder: Embedder, texts: Sequence[str], input_type: InputType, truncate: Truncate
    ) -> list[EmbeddedText]:
        """Embed each text, in the given order. Raises TextTooLong or Unavailable."""
        if input_type == "query":
            return await self._embed_queries(embedder, texts, truncate)
        return await self._embed_passages(embedder, texts, truncate)

    async def _embed_queries(self, embedder: Embedder, texts: Sequence[str], truncate: Truncate) -> list[EmbeddedText]:
        self._last_query = time.monotonic()
        keys = [(embedder.fingerprint, truncate, text) for text in texts]
        known = {key: cached for key in keys if (cached := self._cache.get(key)) is not None}
        for key in keys:
            metrics.looked_up("query", key in known)
        missing = [key for key in dict.fromkeys(keys) if key not in known]
        if truncate == "NONE" and missing:  # computed alone: a text that is too long must fail its own request only
            places = [keys.index(key) for key in missing]
            computed = await self._call(embedder, "query", truncate, [key[2] for key in missing], places)
        elif missing:  # if all are cached, a full queue is no reason to refuse the request
            computed = await self._embed_together(embedder, truncate, [key[2] for key in missing])
        else:
            computed = []
        for key, embedded in zip(missing, computed, strict=True):
            known[key] = embedded
            self._cache.put(key, embedded)
        return [known[key] for key in keys]

    async def _embed_together(self, embedder: Embedder, truncate: Truncate, texts: list[str]) -> list[EmbeddedText]:
        """Embed queries, in one call with those of other requests that wait."""
        key = embedder, truncate
        batches = self._batches.get(key)
        if batches is None:
            compute = partial(self._call, embedder, "query", truncate)
            batches = self._batches[key] = QueryBatches(compute, self._executor.check_room, MOST_TEXTS)
        try:
            return await batches.embed(texts)
        finally:
            if batches.idle and self._batches.get(key) is batches:  # holds no embedder that is not used any more
                del self._batches[key]

    async def _embed_passages(self, embedder: Embedder, texts: Sequence[str], truncate: Truncate) -> list[EmbeddedText]:
        # The longest texts come first: one that is too long fails before much has been computed.
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        embedded: dict[int, EmbeddedText] = {}
        while order:
            number = self._batch_size(embedder.label, len(texts[order[0]]))
            places, order = order[:number], order[number:]
            batch = await self._call(embedder, "passage", truncate, [texts[place] for place in places], places)
            embedded |= zip(places, batch, strict=True)
        return [embedded[place] for place in range(len(texts))]

    def _batch_size(self, label: str, characters: int) -> int:
        """How many passages of at most so many characters one call takes, so that it lasts as long as intended."""
        expects_queries = time.monotonic() - self._last_query < QUERIES_EXPECTED_S
        budget = self._rates.get(label, self._first_rate) * (CALL_BESIDE_QUERIES_S if expects_queries else CALL_S)
        return int(np.clip(budget // max(1, min(characters, MOST_CHARACTERS)), 1, MOST_TEXTS))

    async def _call(
        self,
        embedder: Embedder,
        input_type: InputType,
        truncate: Truncate,
        texts: list[str],
        places: Sequence[int] = (),
    ) -> list[EmbeddedText]:
        """One call on the model thread. places: position of each text in its request; only TextTooLong needs them."""

        def compute() -> tuple[Embeddings, float]:
            failpoints.reach("embed")
            begun = time.perf_counter()
            return embedder.embed(texts, input_type, truncate), time.perf_counter() - begun

        try:
            batch, seconds = await self._executor.run(compute, priority=input_type)
        except TextTooLong as error:
            raise TextTooLong(places[error.position], error.tokens, error.limit, error.model) from error
        metrics.embedded(input_type, len(texts), sum(batch.tokens), seconds)
        if input_type == "passage":
            rate = len(texts) * min(max(map(len, texts)), MOST_CHARACTERS) / max(seconds, 1e-6)
            before = self._rates.get(embedder.label, rate)
            self._rates[embedder.label] = 0.7 * before + 0.3 * rate
        return embedded_text.from_dense(batch)
