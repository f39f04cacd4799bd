"""Reranking hits of an index that changes meanwhile, or whose own model cannot answer."""

from typing import Any

import numpy as np
import pytest
from pinyon.domain import Centroid, EmbedSpec, Fingerprint, Handle, Index, IndexSpec, Match, QueryAnswer
from pinyon.errors import EmbeddingMismatch, FailedPrecondition
from pinyon.inference.answer import Answer
from pinyon.inference.backend import Retrieved
from pinyon.services.data_plane.records.reranking import HitReranker, Rerank, Reranking
from pinyon.services.inference.embedded_text import EmbeddedText
from pinyon.services.inference.inference import RerankCall
from pinyon.services.inference.unrelated_vectors import UnrelatedVectors

pytestmark = pytest.mark.anyio

INDEX = Index(IndexSpec("docs", 2, "cosine", EmbedSpec("any", "text")), Handle("docs", "1"))
HITS = [Match(id, 0.5, {"text": id}, np.float32([1, 0])) for id in ("b", "a")]


def printed(model: str) -> Fingerprint:
    return Fingerprint(model, model, "1", "mean", "", "", 2)


class Embedding:
    fingerprint = printed("new")
    encoder = None
    languages = ()
    token_languages = ()


class Embedders:
    """Stands for an index that is embedded by `new` now; `gone`: whose model is not on this machine."""

    def __init__(self, gone: bool = False) -> None:
        self._gone = gone

    async def get(self, index: Index) -> Embedding:
        return Embedding()

    async def encoder(self, index: Index) -> None:
        if self._gone:
            raise FailedPrecondition("weights are not on this machine")


class Scores:
    """Stands for the inference service: scores by the similarities, or all the same."""

    async def embed(self, embedder: Any, texts: Any, *_: Any) -> list[EmbeddedText]:
        return [EmbeddedText(1, False, np.float32([1, 0]) if texts == ["query"] else np.float32([0, 1])) for _ in texts]

    async def rerank(self, call: RerankCall, query: str, texts: list[str], known: Retrieved) -> Any:
        return np.full(len(texts), 0.5, np.float32) if known.similarities is None else known.similarities


def reranking(model: str) -> Reranking:
    call = RerankCall(model, Answer(model, model), "END", 100, 1)
    return Reranking(Rerank(model), call, "query", ["text"], call.answer.fuses)


def reranker(gone: bool = False) -> HitReranker:
    embedders: Any = Embedders(gone)
    inference: Any = Scores()
    return HitReranker(embedders, inference, UnrelatedVectors(inference))


async def test_hits_found_before_a_switch_are_not_compared_with_the_new_model() -> None:
    for embedded_by in (printed("new"), None):
        answer = QueryAnswer(HITS, 1, 0, embedded_by=embedded_by, centroid=Centroid(np.array([0.2, 0.9]), 10))
        ranking, units = await reranker().rerank(INDEX, reranking("pinyon-late-interaction"), answer)
        assert ([HITS[place].id for place, _ in ranking], units) == (["a", "b"], 1)
        assert [score for _, score in ranking] == [1, 1]
    with pytest.raises(EmbeddingMismatch):
        stale = QueryAnswer(HITS, 1, 0, embedded_by=printed("old"))
        await reranker().rerank(INDEX, reranking("pinyon-late-interaction"), stale)


async def test_a_reranker_that_does_not_read_with_the_indexs_model_does_not_need_it() -> None:
    answer = QueryAnswer(HITS, 1, 0)
    ranking, _ = await reranker(gone=True).rerank(INDEX, reranking("bm25"), answer)
    assert [HITS[place].id for place, _ in ranking] == ["a", "b"]
    with pytest.raises(FailedPrecondition):
        await reranker(gone=True).rerank(INDEX, reranking("pinyon-late-interaction"), answer)
