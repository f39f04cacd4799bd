"""The recall of approximate answers, measured around an engine that answers as the test wants."""

from typing import Any

import numpy as np
import pytest
from pinyon.domain import Fingerprint, Handle, Index, IndexSpec, Match, QueryAnswer, QueryPlan
from pinyon.errors import NotFound
from pinyon.storage.recall import Recall, RecallSampler

pytestmark = pytest.mark.anyio

HANDLE = Handle("docs", "1")
PLAN = QueryPlan(4, vector=np.zeros(2, np.float32))
BEST = [Match(id, 1.0 - place / 10, {}) for place, id in enumerate("abcd")]


class FakeEngine:
    """Answers approximately with `hits`, and exactly with the best."""

    def __init__(self) -> None:
        self.handles = [HANDLE]
        self.hits, self.approximate, self.lsn, self.lsn_of_exact = BEST[:3], True, 7, 7
        self.embedded_by: Fingerprint | None = None
        self.asked: list[bool] = []
        self.answered_exactly: list[tuple[Any, str]] = []

    def indexes(self) -> list[Index]:
        return [self.index(handle) for handle in self.handles]

    def index(self, index: Any) -> Index:
        return Index(IndexSpec("docs", 2, "cosine"), HANDLE if index == "docs" else index)

    async def query(self, index: Any, namespace: str, plan: QueryPlan) -> QueryAnswer:
        if self.index(index).handle not in self.handles:
            raise NotFound("gone")
        self.asked.append(plan.exact)
        if plan.exact:
            return QueryAnswer(BEST, self.lsn_of_exact, 0, embedded_by=self.embedded_by)
        return QueryAnswer(self.hits, self.lsn, 0, embedded_by=self.embedded_by, approximate=self.approximate)

    async def delete_namespace(self, index: Any, name: str) -> int:
        return 8

    def answer_exactly(self, index: Any, namespace: str) -> None:
        self.answered_exactly.append((index, namespace))


@pytest.fixture
def engine() -> Any:
    return FakeEngine()


@pytest.mark.parametrize("index", [HANDLE, "docs"], ids=["by handle", "by name"])
async def test_approximate_answers_are_compared_with_exact_ones(engine: Any, index: Any) -> None:
    sampler = RecallSampler(engine, 1.0, 0.0)
    for namespace in ("b", "a", "a"):
        await sampler.query(index, namespace, PLAN)
    assert engine.asked == [False] * 3, "not before there is time"
    await sampler.compared()
    assert engine.asked == [False] * 3 + [True] * 3
    seen = [(sample.index, sample.namespace, sample.queries, sample.recall) for sample in sampler.samples()]
    assert seen == [("docs", "a", 2, 0.75), ("docs", "b", 1, 0.75)]


async def test_a_hit_that_ties_with_the_last_is_as_good(engine: Any) -> None:
    engine.hits = [*BEST[:3], Match("other", BEST[3].score, {})]
    sampler = RecallSampler(engine, 1.0, 0.0)
    await sampler.query(HANDLE, "a", PLAN)
    await sampler.compared()
    assert sampler.samples()[0].recall == 1.0


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_exact_answers_and_those_outside_the_share_are_not_compared(engine: Any, share: float) -> None:
    engine.approximate = share == 0.0
    sampler = RecallSampler(engine, share, 0.0)
    await sampler.query(HANDLE, "a", PLAN)
    await sampler.compared()
    assert (engine.asked, sampler.samples()) == ([False], [])


async def test_answers_from_before_a_write_are_not_compared(engine: Any) -> None:
    engine.lsn_of_exact = 8
    sampler = RecallSampler(engine, 1.0, 0.0)
    await sampler.query(HANDLE, "a", PLAN)
    await sampler.compared()
    assert sampler.samples() == []


async def test_what_was_measured_goes_with_the_namespace_the_index_and_the_model(engine: Any) -> None:
    sampler = RecallSampler(engine, 1.0, 0.0)

    async def measure() -> list[tuple[str, int]]:
        for namespace in ("a", "b"):
            await sampler.query(HANDLE, namespace, PLAN)
        await sampler.compared()
        return [(sample.namespace, sample.queries) for sample in sampler.samples()]

    assert await measure() == [("a", 1), ("b", 1)]
    await sampler.delete_namespace("docs", "a")
    assert await measure() == [("a", 1), ("b", 2)]
    engine.embedded_by = Fingerprint("m", "m", "2", "mean", "", "", 2)
    assert await measure() == [("a", 1), ("b", 1)]
    engine.handles = []
    assert sampler.samples() == []


async def test_an_index_that_goes_while_an_answer_waits_is_no_trouble(engine: Any) -> None:
    sampler = RecallSampler(engine, 1.0, 0.0)
    await sampler.query(HANDLE, "a", PLAN)
    engine.handles = []
    await sampler.compared()
    assert sampler.samples() == []


async def test_a_namespace_whose_answers_miss_too_much_is_answered_exactly(engine: Any) -> None:
    sampler = RecallSampler(engine, 1.0, 0.98)
    for _ in range(4):
        for _ in range(10):
            await sampler.query(HANDLE, "a", PLAN)
        await sampler.compared()
    assert engine.answered_exactly == [(HANDLE, "a")] * 2, "each time that enough answers were seen"


@pytest.mark.parametrize(("share_missed", "worse"), [(0.01, False), (0.016, False), (0.08, True), (0.3, True)], ids=str)
def test_answers_are_worse_when_they_miss_too_many_and_not_by_chance(share_missed: float, worse: bool) -> None:
    random, judged = np.random.default_rng(0), list[bool]()
    for _ in range(4):
        recall = Recall(None)
        judged += [recall.add(float(1 - random.binomial(10, share_missed) / 10), 0.98) for _ in range(500)]
    assert any(judged) is worse
