"""Texts of different requests that one call of a model embeds together."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from pinyon.errors import TextTooLong
from pinyon.inference.model_executor import ModelExecutor, Priority, Request
from pinyon.services.inference.embedded_text import EmbeddedText
from pinyon.services.inference.returning_callers import ReturningCallers

MOST_TEXTS = 32
"""Texts in one call; a larger batch is not faster per text."""
MOST_BYTES = 2_000
"""Bytes of one text that count when the duration of a call is estimated; most models cut longer texts."""


class TextRequest(Request[list[EmbeddedText]]):
    """The texts of one request. Each distinct text is computed once, so that equal texts have equal vectors.

    longest_first: the order in which its texts are computed; otherwise they are computed in the given order.
    """

    def __init__(self, clock: Callable[[], float], texts: Sequence[str], longest_first: bool) -> None:
        super().__init__(clock)
        self._texts, self._rows = texts, dict[str, EmbeddedText]()
        distinct = dict.fromkeys(texts)
        self._wanted = len(distinct)
        # A text that is too long fails before much has been computed, and texts of similar length share a call.
        self.pending = deque(sorted(distinct, key=lambda text: -len(text)) if longest_first else distinct)

    @property
    def waits(self) -> bool:
        """Whether it has texts for the next step, and somebody who waits for them."""
        return bool(self.pending) and not self.done

    def receive(self, text: str, row: EmbeddedText) -> None:
        """Take what was computed for a text. The last one answers the request."""
        self._rows[text] = row
        if len(self._rows) == self._wanted:
            self.answer([self._rows[text] for text in self._texts])

    def fail(self, error: BaseException) -> None:
        """Give the caller this error and compute no more of its texts."""
        self.pending.clear()
        super().fail(error)

    def refuse(self, text: str, error: TextTooLong) -> None:
        """Fail because this text is too long."""
        self.fail(TextTooLong(self._texts.index(text), error.tokens, error.limit, error.model))


Batch = list[tuple[TextRequest, str]]
"""Texts of one call, with the requests that they belong to."""


class TextBatches:
    """The work of one model for texts of one kind. Requests take part in a call in the order in which they are due.

    embed: computes some texts in one call, on the model thread. budget: bytes of text that the next call may have.
    callers: says how long a call waits for more requests. longest_first: as in TextRequest.
    """

    def __init__(
        self,
        executor: ModelExecutor,
        priority: Priority,
        embed: Callable[[list[str]], list[EmbeddedText]],
        budget: Callable[[], int],
        callers: ReturningCallers,
        longest_first: bool,
    ) -> None:
        self.priority: Priority = priority
        self._executor, self._embed, self._budget = executor, embed, budget
        self._callers, self._longest_first = callers, longest_first
        self._requests: list[TextRequest] = []
        self._lock = threading.Lock()  # for the list, which the event loop and the model thread change

    async def embed(self, texts: Sequence[str]) -> list[EmbeddedText]:
        """Embed each text, in the given order. Raises what the model raises, or Unavailable if too many wait."""
        if not texts:
            return []
        self._executor.check_room()
        request = TextRequest(self._executor.clock, texts, self._longest_first)
        with self._lock:
            self._requests.append(request)
        self._callers.arrived()
        self._executor.submit(self)
        return await request.future

    @property
    def waiting(self) -> int:
        with self._lock:
            return sum(request.waits for request in self._requests)

    def due(self) -> float | None:
        with self._lock:
            self._requests = [request for request in self._requests if request.waits]
            return min((request.due for request in self._requests), default=None)

    def step(self) -> None:
        self._callers.gather(lambda: self.waiting)
        batch = self._take()
        if not batch:  # the callers have left meanwhile
            return
        sizes = dict[TextRequest, int]()
        for request, text in batch:
            sizes[request] = sizes.get(request, 0) + size(text)
        for request in sizes:
            request.begin()
        begun = self._executor.clock()
        self._compute(batch)
        seconds = self._executor.clock() - begun
        for request, bytes_of_request in sizes.items():
            request.took(seconds * bytes_of_request / sum(sizes.values()))

    def fail(self, error: BaseException) -> None:
        with self._lock:
            for request in self._requests:
                if request.waits:
                    request.fail(error)

    def _take(self) -> Batch:
        """The texts of the next call: of the request that is due first, and of the others as far as there is room."""
        room, batch = self._budget(), Batch()
        with self._lock:
            requests = sorted((request for request in self._requests if request.waits), key=lambda one: one.due)
        for request in requests:
            while request.pending and len(batch) < MOST_TEXTS:
                needed = size(request.pending[0])
                if batch and needed > room:
                    break
                batch.append((request, request.pending.popleft()))
                room -= needed
        return batch

    def _compute(self, batch: Batch) -> None:
        """Embed a batch. An error reaches only the request that it is about: halves of the batch are tried again."""
        try:
            rows = self._embed([text for _, text in batch])
            assert len(rows) == len(batch), "the model returned another number of vectors"
        except TextTooLong as error:
            owner, text = batch[error.position]
            owner.refuse(text, error)
            if others := [(request, text) for request, text in batch if request is not owner]:
                self._compute(others)
        except BaseException as error:
            requests = list(dict.fromkeys(request for request, _ in batch))
            if len(requests) == 1:
                requests[0].fail(error)
                return
            half = len(requests) // 2
            for part in (set(requests[:half]), set(requests[half:])):
                self._compute([(request, text) for request, text in batch if request in part])
        else:
            answered = {request for request, _ in batch if not request.pending}
            self._callers.answered(len(answered), self.waiting)  # before they can ask again: each caller counts once
            for (request, text), row in zip(batch, rows, strict=True):
                request.receive(text, row)


def size(text: str) -> int:
    """The bytes of a text that count."""
    return max(1, len(text[:MOST_BYTES].encode(errors="surrogatepass")[:MOST_BYTES]))
