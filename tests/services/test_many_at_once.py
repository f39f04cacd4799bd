"""Requests of several callers at the inference service: none holds up the others."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pinyon.domain import Fingerprint, Truncate
from pinyon.inference.answer import Answer
from pinyon.inference.backend import Embeddings, Retrieved
from pinyon.inference.backends.embedding.hash_backend import HashEncoder
from pinyon.inference.backends.embedding.named_embedder import NamedEmbedder
from pinyon.inference.model_executor import ModelExecutor
from pinyon.inference.steps import Steps
from pinyon.services.inference.inference import Inference, RerankCall

pytestmark = pytest.mark.anyio

CALL = RerankCall("any", Answer("any", "any"), "END", 1000, 1)
DOCUMENTS = [f"document {n}" for n in range(100)]


class Models:
    """A catalogue with one reranker and one embedder. `computed` lists what they computed, in order.

    The reranker scores a document in a step. Its step number `held` waits until it is let. So does loading it, while
    `may_load` is not set.
    """

    def __init__(self, held: int = 3) -> None:
        self.computed: list[str] = []
        self.begun, self.go, self._held = threading.Event(), threading.Event(), held
        self.loads, self.may_load = threading.Event(), threading.Event()
        self.may_load.set()

    def load(self, name: str) -> None:
        self.loads.set()
        assert self.may_load.wait(60)

    def reranker(self, *_: object) -> "Models":
        return self

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> Steps[NDArray[np.float32]]:
        for place, document in enumerate(documents):
            self.computed.append(f"{query}: {document}")
            if place == self._held:
                self.begun.set()
                assert self.go.wait(60)
            yield
        return np.linspace(0, 1, len(documents), dtype=np.float32)

    def embedder(self) -> NamedEmbedder:
        printed = Fingerprint("m", "m", "1", "mean", "", "", 16)
        return NamedEmbedder(Watched(self.computed), printed, "m", 64)


class Watched(HashEncoder):
    def __init__(self, computed: list[str]) -> None:
        super().__init__(16, 64)
        self._computed = computed

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        self._computed.append(" + ".join(texts))
        return super().encode(texts, max_tokens)


class Fewer(HashEncoder):
    """A defect: fewer vectors than texts."""

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        found = super().encode(texts, max_tokens)
        return Embeddings(found.vectors, found.tokens[:-1], found.truncated)


def inference(models: Any) -> tuple[Inference, ModelExecutor]:
    executor = ModelExecutor(50)
    return Inference(models, executor), executor


async def test_an_embed_of_two_words_waits_for_one_step_of_a_long_rerank() -> None:
    models = Models()
    service, executor = inference(models)
    rerank = asyncio.create_task(service.rerank(CALL, "long", DOCUMENTS))
    await asyncio.to_thread(models.begun.wait)
    embed = asyncio.create_task(service.embed(models.embedder(), ["two words"], "passage", "END"))
    await asyncio.sleep(0)
    models.go.set()
    await asyncio.gather(rerank, embed)
    assert models.computed.index("two words") == 4, "after the step that was computed, before the other 96"
    executor.close(10)


async def test_an_embed_does_not_wait_until_a_reranker_is_loaded() -> None:
    models = Models(held=-1)
    models.may_load.clear()
    service, executor = inference(models)
    rerank = asyncio.create_task(service.rerank(CALL, "first", DOCUMENTS[:1]))
    assert await asyncio.to_thread(models.loads.wait, 60)
    await service.embed(models.embedder(), ["two words"], "passage", "END")
    models.may_load.set()
    await rerank
    assert models.computed == ["two words", "first: document 0"]
    executor.close(10)


async def test_reranks_of_several_callers_take_turns() -> None:
    models = Models(held=0)
    service, executor = inference(models)
    first = asyncio.create_task(service.rerank(CALL, "first", DOCUMENTS))
    await asyncio.to_thread(models.begun.wait)
    second = asyncio.create_task(service.rerank(CALL, "second", DOCUMENTS[:3]))
    await asyncio.sleep(0)
    models.go.set()
    await asyncio.gather(first, second)
    ends = models.computed.index("second: document 2")
    assert ends <= 6, "the short one has ended when the long one has computed as much"
    executor.close(10)


@pytest.mark.parametrize(
    ("retrieved", "first"), [(Retrieved(), "hits: one"), (None, "question")], ids=["of a search", "of documents"]
)
async def test_a_quick_rerank_of_hits_goes_before_queries_that_come_later(
    retrieved: Retrieved | None, first: str
) -> None:
    models = Models(held=0)
    service, executor = inference(models)
    running = asyncio.create_task(service.rerank(CALL, "running", DOCUMENTS[:1]))
    await asyncio.to_thread(models.begun.wait)
    rerank = asyncio.create_task(service.rerank(CALL, "hits", ["one"], retrieved))  # the reranker is loaded by now
    await asyncio.sleep(0)
    embed = asyncio.create_task(service.embed(models.embedder(), ["question"], "query", "END"))
    await asyncio.sleep(0)
    models.go.set()
    await asyncio.gather(running, rerank, embed)
    assert models.computed[1] == first
    executor.close(10)


async def test_a_rerank_whose_caller_left_is_not_computed_further() -> None:
    models = Models()
    service, executor = inference(models)
    rerank = asyncio.create_task(service.rerank(CALL, "long", DOCUMENTS))
    await asyncio.to_thread(models.begun.wait)
    rerank.cancel()
    await asyncio.gather(rerank, return_exceptions=True)
    models.go.set()
    await service.embed(models.embedder(), ["next"], "passage", "END")
    assert models.computed[4:] == ["next"]
    executor.close(10)


async def test_a_defect_of_a_model_is_an_error_and_no_silence() -> None:
    service, executor = inference(Models())
    printed = Fingerprint("m", "m", "1", "mean", "", "", 16)
    with pytest.raises((ValueError, AssertionError, IndexError)):
        await service.embed(NamedEmbedder(Fewer(16, 64), printed, "m", 64), ["a", "b"], "passage", "END")
    executor.close(10)
