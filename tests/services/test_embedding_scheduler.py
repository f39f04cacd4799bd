"""Which texts are computed together: what was asked before is remembered, passages do not keep queries waiting."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from pinyon.domain import Fingerprint
from pinyon.errors import TextTooLong, Unavailable
from pinyon.inference.backend import Embeddings
from pinyon.inference.backends.hash_backend import HashEncoder
from pinyon.inference.backends.named_embedder import NamedEmbedder
from pinyon.inference.model_executor import ModelExecutor
from pinyon.services.inference import embedding_scheduler
from pinyon.services.inference.embedded_text import EmbeddedText
from pinyon.services.inference.embedding_scheduler import FIRST_RATE, EmbeddingScheduler
from pinyon.services.inference.query_cache import QueryCache


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
) -> None:
    executor = ModelExecutor(100)
    try:
        asyncio.run(test(EmbeddingScheduler(executor, QueryCache(cache_bytes), first_rate)))
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
        assert max(map(len, lengths)) <= embedding_scheduler.MOST_TEXTS
        assert all(min(one) >= max(following) for one, following in itertools.pairwise(lengths))

    with_scheduler(check)


def test_while_queries_come_calls_for_passages_are_short() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Watched()
        texts = ["ten chars."] * 40
        await scheduler.embed(embedder(encoder), ["apple"], "query", "END")
        await scheduler.embed(embedder(encoder), [f"{n:02} {text}" for n, text in enumerate(texts)], "passage", "END")
        assert len(encoder.calls[1]) == 2, "26 characters of the 30"

    with_scheduler(check, first_rate=1_000)  # 30 characters in the time that a query may wait


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
        self.go = threading.Event()

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        assert self.go.wait(10)
        return super().encode(texts, max_tokens)


def test_queries_of_several_requests_that_wait_together_are_computed_together() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Gated()
        together = embedder(encoder)
        asked = [asyncio.create_task(scheduler.embed(together, [f"q{n}"], "query", "END")) for n in range(40)]
        await asyncio.sleep(0)
        asked[5].cancel()  # it hung up while it waited
        encoder.go.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [len(call) for call in encoder.calls] == [1, 32, 6], "the first had nobody to wait for"
        assert isinstance(answers[5], asyncio.CancelledError)
        for n in (0, 39):
            answer = answers[n]
            assert not isinstance(answer, BaseException)
            wanted = HashEncoder(16, 64).encode([f"query: q{n}"], 64).vectors
            np.testing.assert_array_equal([text.vector for text in answer], wanted)

    with_scheduler(check)


def test_those_that_came_meanwhile_are_computed_when_the_first_hung_up() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Gated()
        together = embedder(encoder)
        asked = [asyncio.create_task(scheduler.embed(together, [f"q{n}"], "query", "END")) for n in range(3)]
        await asyncio.sleep(0)
        asked[0].cancel()
        await asyncio.sleep(0)
        encoder.go.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in answers] == [asyncio.CancelledError, list, list]
        assert ["query: q1", "query: q2"] in encoder.calls
        assert (await scheduler.embed(together, ["q3"], "query", "END"))[0].tokens == 3, "nobody is waited for any more"

    with_scheduler(check)


def test_more_texts_of_one_request_than_are_computed_at_once_are_computed_in_turns() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Watched()
        await scheduler.embed(embedder(encoder), [f"q{n}" for n in range(40)], "query", "END")
        assert [len(call) for call in encoder.calls] == [32, 8]

    with_scheduler(check)


def test_more_queries_than_may_wait_are_refused_and_the_others_answered() -> None:
    async def check(scheduler: EmbeddingScheduler) -> None:
        encoder = Gated()
        together = embedder(encoder)
        asked = [asyncio.create_task(scheduler.embed(together, [f"q{n}"], "query", "END")) for n in range(130)]
        for _ in range(5):  # let each of them get to where it waits
            await asyncio.sleep(0)
        encoder.go.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [one for one in answers if isinstance(one, Unavailable)]
        assert 20 <= len(refused) <= 30
        assert len(refused) + sum(isinstance(one, list) for one in answers) == 130

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
