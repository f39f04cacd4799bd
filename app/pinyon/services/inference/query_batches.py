"""Queries of one embedder that arrive while it computes: they wait and are computed together."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from pinyon.services.inference.embedded_text import EmbeddedText


class WaitingQuery(msgspec.Struct, frozen=True):
    """A query and the future that its request waits for."""

    text: str
    embedded: "asyncio.Future[EmbeddedText]"


class QueryBatches:
    """Runs one call at a time. Use it from the event-loop thread only.

    compute: embeds some texts in one call. check_room: raises Unavailable if so many more calls may not wait.
    most_texts: the largest batch.
    """

    def __init__(
        self,
        compute: Callable[[list[str]], Awaitable[list[EmbeddedText]]],
        check_room: Callable[[int], None],
        most_texts: int,
    ) -> None:
        self._compute, self._check_room, self._most_texts = compute, check_room, most_texts
        self._running = False
        self._waiting: list[WaitingQuery] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether no call runs and no query waits."""
        return not self._running

    async def embed(self, texts: list[str]) -> list[EmbeddedText]:
        """Compute immediately if no call is running; otherwise join the next batch.

        Raises Unavailable if too many queries wait.
        """
        if not self._running and len(texts) <= self._most_texts:
            self._running = True
            try:
                return await self._compute(texts)
            finally:
                self._compute_waiting_next()
        self._check_room(len(self._waiting))
        loop = asyncio.get_running_loop()
        queries = [WaitingQuery(text, loop.create_future()) for text in texts]
        self._waiting += queries
        if not self._running:
            self._compute_waiting_next()
        return await asyncio.gather(*(query.embedded for query in queries))

    def _compute_waiting_next(self) -> None:
        self._running = bool(self._waiting)
        if self._running:
            self._task = asyncio.get_running_loop().create_task(self._compute_waiting())

    async def _compute_waiting(self) -> None:
        """Compute waiting queries, a batch at a time, until none waits."""
        while waiting := [query for query in self._waiting if not query.embedded.done()]:  # callers may have hung up
            batch, self._waiting = waiting[: self._most_texts], waiting[self._most_texts :]
            try:
                rows = await self._compute([query.text for query in batch])
            except Exception as error:
                for query in batch:
                    if not query.embedded.done():
                        query.embedded.set_exception(error)
                continue
            for query, row in zip(batch, rows, strict=True):
                if not query.embedded.done():
                    query.embedded.set_result(row)
        self._waiting = []
        self._running = False
