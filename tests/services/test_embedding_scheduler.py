"""Which texts are computed together: what was asked before is remembered, passages do not keep queries waiting."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from pinyon.domain import Fingerprint, InputType, Truncate
from pinyon.errors import TextTooLong, Unavailable
from pinyon.inference.backend import Embeddings
from pinyon.inference.backends.embedding.hash_backend import HashEncoder
from pinyon.inference.backends.embedding.named_embedder import NamedEmbedder
from pinyon.inference.model_executor import ModelExecutor
from pinyon.inference.steps import finished
from pinyon.services.inference import text_batches
from pinyon.services.inference.embedded_text import EmbeddedText, TokenForm
from pinyon.services.inference.embedding_scheduler import FIRST_RATE, EmbeddingScheduler
from pinyon.services.inference.query_cache import QueryCache
from pinyon.services.inference.returning_callers import ReturningCallers
from pinyon.services.inference.text_batches import TextRequest


class Watched(HashEncoder):
    """Remembers what it was asked to compute together."""

    def __init__(self) -> None:
        super().__init__(16, 64)
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        self.calls.append(list(texts))
        return super().encode(texts, max_tokens)


def embedder(encoder: HashEncoder, version: str = "1", max_tokens: int = 64) -> NamedEmbedder:
    printed = Fingerprint("m", "m", version, "mean", "query: ", "passage: ", 16)
    return NamedEmbedder(encoder, printed, "m", max_tokens)


def with_scheduler(
    test: Callable[[EmbeddingScheduler], Coroutine[Any, Any, None]],
    cache_bytes: int = 2**20,
    first_rate: float = FIRST_RATE,
    gap_s: float = 0.0,
) -> None:
    executor = ModelExecutor(100)
    try:
        asyncio.run(test(EmbeddingScheduler(executor, QueryCache(cache_bytes), first_rate, gap_s)))
    finally:
        executor.close(1)


def test_a_query_asked_again_is_not_computed_again() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Watched()
        first = await scheduler.embed(embedder(encoder), ["red apple", "pear"], "query", "END")
        again = await scheduler.embed(embedder(encoder), ["pear", "plum", "red apple", "pear"], "query", "END")
        assert encoder.calls == [["query: red apple", "query: pear"], ["query: plum"]]
        apple, pear = first
        assert [again[0], *again[2:]] == [pear, apple, pear]

    with_scheduler(check)


def test_a_query_is_embedded_once_with_its_tokens_and_again_only_where_they_are_missing() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Watched()
        (plain,) = await scheduler.embed(embedder(encoder), ["red apple"], "query", "END")
        (whole,) = await scheduler.embed(embedder(encoder), ["red apple"], "query", "END", "windows")
        forms: list[TokenForm | None] = ["windows", None]
        for form in forms:
            assert await scheduler.embed(embedder(encoder), ["red apple"], "query", "END", form) == [whole]
        assert encoder.calls == [["query: red apple"]] * 2
        assert plain.windows is None
        assert whole.windows is not None
        (wanted,) = finished(encoder.token_windows(["red apple"], 8))
        np.testing.assert_array_equal(whole.windows[0], wanted[0].astype(np.float16))

    with_scheduler(check)


def test_tokens_of_a_text_that_loses_its_beginning_are_left_to_the_reranker() -> None:
    found = embedder(Watched()).embed(["a b", "a " * 80], "query", "START", 8)
    assert found.windows is None
    assert found.truncated == [False, True]


def test_a_query_is_remembered_for_one_fingerprint_and_way_of_cutting_only() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Watched()
        await scheduler.embed(embedder(encoder), ["pear"], "query", "END")
        await scheduler.embed(embedder(encoder, "2"), ["pear"], "query", "END")
        await scheduler.embed(embedder(encoder), ["pear"], "query", "NONE")
        await scheduler.embed(embedder(encoder), ["pear"], "passage", "END")
        assert len(encoder.calls) == 4

    with_scheduler(check)


@pytest.mark.parametrize(("cache_bytes", "computed"), [(0, 6), (2**20, 3)])
def test_what_is_remembered_has_a_limit(cache_bytes: int, computed: int) -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Watched()
        for text in ["a", "b", "c", "a", "b", "c"]:
            await scheduler.embed(embedder(encoder), [text], "query", "END")
        assert len(encoder.calls) == computed

    with_scheduler(check, cache_bytes)


def test_passages_come_back_in_order_computed_with_those_alike_in_length() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Watched()
        texts = [f"{n} " + "word " * (n * 7 % 50) for n in range(70)]
        embedded = await scheduler.embed(embedder(encoder), texts, "passage", "END")
        alone = HashEncoder(16, 64).encode([f"passage: {text}" for text in texts], 64)
        np.testing.assert_array_equal([text.vector for text in embedded], alone.vectors)
        assert [text.tokens for text in embedded] == alone.tokens
        assert [text.truncated for text in embedded] == alone.truncated
        lengths = [[len(text) for text in call] for call in encoder.calls]
        assert sum(map(len, lengths)) == 70
        assert max(map(len, lengths)) <= text_batches.MOST_TEXTS
        assert all(min(one) >= max(following) for one, following in itertools.pairwise(lengths))

    with_scheduler(check)


def test_while_queries_come_calls_for_passages_are_short() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Watched()
        texts = ["x" * 197] * 40
        await scheduler.embed(embedder(encoder), ["apple"], "query", "END")
        await scheduler.embed(embedder(encoder), [f"{n:02} {text}" for n, text in enumerate(texts)], "passage", "END")
        assert len(encoder.calls[1]) == 3, "of 200 characters each"

    with_scheduler(check, first_rate=20_000)  # 600 characters in the time that a query may wait


def test_short_passages_share_a_call_however_slow_the_model_is() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        held = Held(scheduler)
        await held.begin()
        for n in range(10):
            held.ask([f"short {n}"], "passage")
        await held.finish()
        assert [len(call) for call in held.calls] == [10]

    with_scheduler(check, first_rate=10)  # a byte in 100 ms


def test_no_texts_need_no_call() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        watched = Watched()
        assert await scheduler.embed(embedder(watched), [], "passage", "END") == []
        assert watched.calls == []

    with_scheduler(check)


def test_a_text_that_is_too_long_is_named_by_its_place() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        texts = ["short"] * 40 + ["word " * 30] + ["short"] * 40
        for kind, place in (("passage", 40), ("query", 40)):
            with pytest.raises(TextTooLong) as raised:
                await scheduler.embed(embedder(Watched(), max_tokens=20), texts, kind, "NONE")  # type: ignore[arg-type]
            assert raised.value.position == place

    with_scheduler(check)


class Gated(Watched):
    """Computes nothing before it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        self.begun.set()
        assert self.go.wait(60)
        return super().encode(texts, max_tokens)


Task = asyncio.Task[list[EmbeddedText]]


class Held:
    """Requests that are made while the model computes a first query, which waits until it is let."""

    def __init__(self, scheduler: EmbeddingScheduler, max_tokens: int = 64) -> None:
        self.scheduler, self.encoder, self.tasks = scheduler, Gated(), list[Task]()
        self.embedder = embedder(self.encoder, max_tokens=max_tokens)

    async def begin(self) -> None:
        self.ask(["first"], "query")
        await asyncio.to_thread(self.encoder.begun.wait)

    def ask(self, texts: list[str], input_type: InputType, truncate: Truncate = "END") -> Task:
        request = self.scheduler.embed(self.embedder, texts, input_type, truncate)
        self.tasks.append(asyncio.create_task(request))
        return self.tasks[-1]

    async def finish(self) -> list[Any]:
        """The answers and errors, without the first."""
        await asyncio.sleep(0)
        self.encoder.go.set()
        return (await asyncio.gather(*self.tasks, return_exceptions=True))[1:]

    @property
    def calls(self) -> list[list[str]]:
        """What was computed together after the first query, without prefixes."""
        return [[text.partition(": ")[2] for text in call] for call in self.encoder.calls[1:]]


def test_queries_of_several_requests_that_wait_together_are_computed_together() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        held = Held(scheduler)
        await held.begin()
        for n in range(40):
            held.ask([f"q{n}"], "query")
        await asyncio.sleep(0)
        held.tasks[6].cancel()  # q5 hung up while it waited
        answers = await held.finish()
        assert [len(call) for call in held.calls] == [32, 7]
        assert not any("q5" in call for call in held.calls)
        assert isinstance(answers[5], asyncio.CancelledError)
        for n in (0, 39):
            wanted = HashEncoder(16, 64).encode([f"query: q{n}"], 64).vectors
            np.testing.assert_array_equal([text.vector for text in answers[n]], wanted)

    with_scheduler(check)


async def ask_twice(held: Held, second: Callable[[], list[str]]) -> None:
    """Five queries that wait while the first is computed, then the first caller again; then others, one by one."""
    await held.begin()
    for n in range(5):
        held.ask([f"q{n}"], "query")
    await asyncio.sleep(0)
    held.encoder.go.set()
    await held.tasks[0]
    held.ask(["first again"], "query")
    await asyncio.gather(*held.tasks)
    for text in second():
        held.ask([text], "query")
        await asyncio.sleep(0)
    await asyncio.gather(*held.tasks)


def test_callers_who_ask_again_at_once_are_computed_together() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        held = Held(scheduler)
        await ask_twice(held, lambda: [f"again {n}" for n in range(6)])
        assert [len(call) for call in held.calls] == [6, 6]

    with_scheduler(check, gap_s=30)


def test_a_caller_who_asks_again_before_the_others_are_counted_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, again = list[tuple[int, int]](), threading.Event()
    arrivals = itertools.count(1)
    arrived, answered, answer = ReturningCallers.arrived, ReturningCallers.answered, TextRequest.answer

    def note_arrival(callers: ReturningCallers) -> None:
        arrived(callers)
        if next(arrivals) == 7:  # the first, five others, and the first again
            again.set()

    def note_count(callers: ReturningCallers, requests: int, waiting: int) -> None:
        counted.append((requests, waiting))
        answered(callers, requests, waiting)

    def wait_for_the_next_question(request: TextRequest, result: Any) -> None:
        answer(request, result)
        assert again.wait(60)

    monkeypatch.setattr(ReturningCallers, "arrived", note_arrival)
    monkeypatch.setattr(ReturningCallers, "answered", note_count)
    monkeypatch.setattr(TextRequest, "answer", wait_for_the_next_question)

    async def check(scheduler: EmbeddingScheduler) -> None:
        await ask_twice(Held(scheduler), list)

    with_scheduler(check, gap_s=30)
    assert counted == [(1, 5), (6, 0)]


def test_a_caller_who_asks_alone_does_not_wait_for_the_others_for_ever() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        held = Held(scheduler)
        await ask_twice(held, lambda: ["alone"])
        await held.scheduler.embed(held.embedder, ["and again"], "query", "END")
        assert [len(call) for call in held.calls][-2:] == [1, 1]

    with_scheduler(check, gap_s=0.001)


def test_small_upserts_of_several_requests_are_computed_together() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        held = Held(scheduler)
        await held.begin()
        for n in range(40):
            held.ask([f"{n} " + "word " * (n % 3)], "passage")
        answers = await held.finish()
        assert [len(call) for call in held.calls] == [32, 8]
        for n in (0, 39):
            wanted = HashEncoder(16, 64).encode([f"passage: {n} " + "word " * (n % 3)], 64).vectors
            np.testing.assert_array_equal([text.vector for text in answers[n]], wanted)

    with_scheduler(check)


def test_queries_go_before_passages_and_a_short_request_before_the_rest_of_a_long_one() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        held = Held(scheduler)
        await held.begin()
        held.ask([f"long {n} " + "word " * 300 for n in range(6)], "passage")
        held.ask(["short"], "passage")
        held.ask(["query"], "query")
        await held.finish()
        shapes = [[text.split()[0] for text in call] for call in held.calls]
        assert shapes[0] == ["query"]
        assert shapes[1] == ["long"], "as long as a query may wait"
        assert shapes[2][0] == "short", "before the second text of the long request"
        assert [name for shape in shapes for name in shape].count("long") == 6

    with_scheduler(check)


def test_a_request_whose_caller_left_is_not_computed_further() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        held = Held(scheduler)
        await held.begin()
        gone = held.ask([f"gone {n} " + "word " * 300 for n in range(6)], "passage")
        held.ask(["stays"], "passage")
        await asyncio.sleep(0)
        gone.cancel()
        await held.finish()
        assert held.calls == [["stays"]]

    with_scheduler(check)


def test_a_text_that_is_too_long_fails_its_own_request_only() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        held = Held(scheduler, max_tokens=20)
        await held.begin()
        for kind in ("query", "passage"):
            held.ask(["fits"], kind, "NONE")  # type: ignore[arg-type]
            held.ask(["fits too", "word " * 30], kind, "NONE")  # type: ignore[arg-type]
            held.ask(["and this"], kind, "NONE")  # type: ignore[arg-type]
        answers = await held.finish()
        for kind, (fits, long, other) in (("query", answers[:3]), ("passage", answers[3:])):
            assert isinstance(long, TextTooLong) and long.position == 1
            for answer, text in ((fits, "fits"), (other, "and this")):
                wanted = HashEncoder(16, 20).encode([f"{kind}: {text}"], 20).vectors
                np.testing.assert_array_equal([row.vector for row in answer], wanted)

    with_scheduler(check)


class Fragile(Gated):
    """Cannot compute one text, whatever it is computed with."""

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        if any("broken" in text for text in texts):
            raise MemoryError
        return super().encode(texts, max_tokens)


def test_an_unexpected_error_reaches_the_request_that_it_is_about_and_no_other() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        held = Held(scheduler)
        held.encoder = Fragile()
        held.embedder = embedder(held.encoder)
        await held.begin()
        for text in ("one", "broken", "two"):
            held.ask([text], "passage")
        one, broken, two = await held.finish()
        assert isinstance(broken, Unavailable)
        assert [len(rows) for rows in (one, two)] == [1, 1]

    with_scheduler(check)


def test_equal_texts_of_a_request_have_equal_vectors_however_they_are_batched() -> None:
    class Drifting(Watched):
        """A model whose vectors depend on the call."""

        def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
            found = super().encode(texts, max_tokens)
            return Embeddings(found.vectors + np.float32(len(self.calls)), found.tokens, found.truncated)

    async def check(scheduler: EmbeddingScheduler) -> None:
        texts = [f"text {n % 25}" for n in range(100)] + [f"text {n}" for n in range(25, 80)]
        rows = await scheduler.embed(embedder(Drifting()), texts, "passage", "END")
        for n in range(75):
            np.testing.assert_array_equal(rows[n].vector, rows[n + 25].vector)

    with_scheduler(check)


def test_other_models_and_ways_of_cutting_are_never_in_one_call() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        held = Held(scheduler)
        await held.begin()
        held.ask(["a"], "passage", "END")
        held.ask(["b"], "passage", "START")
        other = embedder(held.encoder, "2")
        held.tasks.append(asyncio.create_task(scheduler.embed(other, ["c"], "passage", "END")))
        await held.finish()
        assert held.calls == [["a"], ["b"], ["c"]]

    with_scheduler(check)


def test_more_texts_of_one_request_than_are_computed_at_once_are_computed_in_turns() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Watched()
        await scheduler.embed(embedder(encoder), [f"q{n}" for n in range(40)], "query", "END")
        assert [len(call) for call in encoder.calls] == [32, 8]

    with_scheduler(check)


def test_more_requests_than_may_wait_are_refused_and_the_others_answered() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        held = Held(scheduler)
        await held.begin()
        for n in range(130):
            held.ask([f"q{n}"], "query" if n % 2 else "passage")
        answers = await held.finish()
        refused = [place for place, answer in enumerate(answers) if isinstance(answer, Unavailable)]
        assert refused == list(range(100, 130)), "those that came last"
        assert all(len(answer) == 1 for answer in answers[:100])

    with_scheduler(check)


def test_what_goes_wrong_reaches_everybody_who_waited_for_it_and_nobody_later() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Watched()
        together = embedder(encoder)
        encoder.calls = None  # type: ignore[assignment]
        asked = [asyncio.create_task(scheduler.embed(together, [f"q{n}"], "query", "END")) for n in range(3)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in answers] == [AttributeError] * 3
        encoder.calls = []
        assert (await scheduler.embed(together, ["q1"], "query", "END"))[0].tokens == 3

    with_scheduler(check)


def test_a_query_that_is_remembered_is_answered_while_the_queue_is_full() -> None:
    executor = ModelExecutor(0)  # room for nothing

    async def check() -> None:
        cache = QueryCache(2**20)
        scheduler = EmbeddingScheduler(executor, cache)
        with pytest.raises(Unavailable):
            await scheduler.embed(embedder(Watched()), ["pear"], "query", "END")
        known = embedder(Watched())
        cached = EmbeddedText(3, False, np.ones(16, np.float32))
        cache.put((known.fingerprint, "END", "pear"), cached)
        assert await scheduler.embed(known, ["pear"], "query", "END") == [cached]

    try:
        asyncio.run(check())
    finally:
        executor.close(1)
