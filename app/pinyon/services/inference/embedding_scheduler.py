"""Which texts are computed together, and when: queries soon, passages quickly.

Passages alike in length are computed together, so that little is padding, and while queries come no call takes longer
than they may wait. Queries of different requests that wait together are computed together, and remembered.
"""

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from pinyon import failpoints, metrics
from pinyon.domain import InputType, Truncate
from pinyon.errors import TextTooLong
from pinyon.inference.backend import Embedder, Embeddings
from pinyon.inference.model_executor import PASSAGE, QUERY, ModelExecutor
from pinyon.services.inference.query_cache import QueryCache, QueryVector

MOST_AT_ONCE = 32
"""Texts; more at once are no quicker."""
CALL_S, CALL_BESIDE_QUERIES_S = 0.4, 0.03
"""How long a call for passages is meant to take, alone and while queries come."""
QUERIES_COME_S = 2.0
"""So long after a query another one is expected."""
MOST_CHARACTERS = 2_000
"""Of a text; what is longer is mostly cut."""
FIRST_RATE = 20_000.0
"""Characters a second, before anything was measured."""


Waiting = tuple[str, "asyncio.Future[QueryVector]"]
"""A query, and who waits for it."""


class EmbeddingCalls:
    """Calls of embedders on the model thread. Not for use by several threads at once."""

    def __init__(self, executor: ModelExecutor, query_cache_bytes: int) -> None:
        self._executor = executor
        self._queries = QueryCache(query_cache_bytes)
        self._rates: dict[str, float] = {}
        self._last_query = -QUERIES_COME_S
        self._waiting: dict[tuple[Embedder, Truncate], list[Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def embed(
        self, embedder: Embedder, texts: Sequence[str], input_type: InputType, truncate: Truncate
    ) -> Embeddings:
        """One vector per text. Raises TextTooLong or Unavailable."""
        if input_type == "query":
            return await self._queries_of(embedder, texts, truncate)
        return await self._passages(embedder, texts, truncate)

    async def _queries_of(self, embedder: Embedder, texts: Sequence[str], truncate: Truncate) -> Embeddings:
        self._last_query = time.monotonic()
        keys = [(embedder.fingerprint, truncate, text) for text in texts]
        kept = {key: found for key in keys if (found := self._queries.get(key)) is not None}
        for key in keys:
            metrics.looked_up("query", key in kept)
        missing = [key for key in dict.fromkeys(keys) if key not in kept]
        if truncate == "NONE" and missing:  # one that is too long is nobody else's business
            places = [keys.index(key) for key in missing]
            computed = _rows(await self._call(embedder, [key[2] for key in missing], places, "query", truncate))
        elif missing:  # with nothing missing, a full queue is no reason to refuse
            computed = await self._computed(embedder, truncate, [key[2] for key in missing])
        else:
            computed = []
        for key, row in zip(missing, computed, strict=True):
            kept[key] = row
            self._queries.put(key, row)
        return _together([kept[key] for key in keys])

    async def _computed(self, embedder: Embedder, truncate: Truncate, texts: list[str]) -> list[QueryVector]:
        """Queries, computed at once where none of others are, else together with those that wait.

        Raises Unavailable when too many do.
        """
        together = embedder, truncate
        waiting = self._waiting.get(together)
        if waiting is None and len(texts) <= MOST_AT_ONCE:
            self._waiting[together] = []
            try:
                return _rows(await self._call(embedder, texts, [], "query", truncate))
            finally:  # those that came meanwhile
                self._start_turns(embedder, truncate)
        self._executor.check_room(0 if waiting is None else len(waiting))
        loop = asyncio.get_running_loop()
        joined: list[Waiting] = [(text, loop.create_future()) for text in texts]
        if waiting is not None:
            waiting += joined
        else:
            self._waiting[together] = joined
            self._start_turns(embedder, truncate)
        return await asyncio.gather(*(future for _, future in joined))

    def _start_turns(self, embedder: Embedder, truncate: Truncate) -> None:
        if not self._waiting[embedder, truncate]:
            del self._waiting[embedder, truncate]
            return
        task = asyncio.get_running_loop().create_task(self._take_turns(embedder, truncate))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_turns(self, embedder: Embedder, truncate: Truncate) -> None:
        """Compute what waits, all at once up to a limit, until nothing does."""
        together = embedder, truncate
        while waiting := [one for one in self._waiting[together] if not one[1].done()]:  # callers may have hung up
            turn, self._waiting[together] = waiting[:MOST_AT_ONCE], waiting[MOST_AT_ONCE:]
            try:
                rows = _rows(await self._call(embedder, [text for text, _ in turn], [], "query", truncate))
            except Exception as error:
                for _, future in turn:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), row in zip(turn, rows, strict=True):
                if not future.done():
                    future.set_result(row)
        del self._waiting[together]

    async def _passages(self, embedder: Embedder, texts: Sequence[str], truncate: Truncate) -> Embeddings:
        # The longest first: one that is too long is found before much is computed.
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        found: dict[int, QueryVector] = {}
        while order:
            number = self._how_many(embedder.label, len(texts[order[0]]))
            places, order = order[:number], order[number:]
            part = await self._call(embedder, [texts[place] for place in places], places, "passage", truncate)
            found |= dict(zip(places, _rows(part), strict=True))
        return _together([found[place] for place in range(len(texts))])

    def _how_many(self, label: str, characters: int) -> int:
        beside = time.monotonic() - self._last_query < QUERIES_COME_S
        budget = self._rates.get(label, FIRST_RATE) * (CALL_BESIDE_QUERIES_S if beside else CALL_S)
        return int(np.clip(budget // max(1, min(characters, MOST_CHARACTERS)), 1, MOST_AT_ONCE))

    async def _call(
        self, embedder: Embedder, texts: list[str], places: list[int], input_type: InputType, truncate: Truncate
    ) -> Embeddings:
        """On the model thread. places: where the texts are in the request."""

        def compute() -> tuple[Embeddings, float]:
            failpoints.reach("embed")
            begun = time.perf_counter()
            return embedder.embed(texts, input_type, truncate), time.perf_counter() - begun

        try:
            found, seconds = await self._executor.run(compute, priority=QUERY if input_type == "query" else PASSAGE)
        except TextTooLong as error:
            raise TextTooLong(places[error.position], error.tokens, error.limit, error.model) from error
        metrics.embedded(input_type, len(texts), sum(found.tokens), seconds)
        if input_type == "passage":
            rate = len(texts) * min(max(map(len, texts)), MOST_CHARACTERS) / max(seconds, 1e-6)
            before = self._rates.get(embedder.label, rate)
            self._rates[embedder.label] = 0.7 * before + 0.3 * rate
        return found


def _rows(found: Embeddings) -> list[QueryVector]:
    return [
        QueryVector(vector, tokens, cut)
        for vector, tokens, cut in zip(found.vectors, found.tokens, found.truncated, strict=True)
    ]


def _together(rows: list[QueryVector]) -> Embeddings:
    vectors = rows[0].vector[None] if len(rows) == 1 else np.stack([row.vector for row in rows])
    return Embeddings(vectors, [row.tokens for row in rows], [row.truncated for row in rows])
