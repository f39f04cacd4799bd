"""At most so many hits for each value of a field: compared with grouping all hits of a search by hand."""

import asyncio
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon import filters
from pinyon.domain import Grouping, IndexSpec, Match, Mix, QueryPlan, Record, SparseVector
from pinyon.storage.engine import Engine
from pinyon.storage.sqlite.records import grouping
from pinyon.storage.sqlite.records.scoring import Scorer

from tests.examples import examples
from tests.storage.engines import EngineKind, every_engine
from tests.storage.lexical_reference import SPEC, vector

pytestmark = pytest.mark.anyio

WORDS = ["apple", "pear", "plum tree", "fig"]
VALUE = st.sampled_from(["a", "b", "c", 1, 1.0, 2.5, True, False, ["a"], ["a", "b"], ["c", "d", "c"], [], None])
ROW = st.tuples(st.floats(0, 3), st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), VALUE, st.integers(0, 1))
QUERY = SparseVector(np.array([1, 2], np.uint32), np.array([1.0, 0.5], np.float32))
DOTPRODUCT, EUCLIDEAN = (IndexSpec(metric, 2, metric) for metric in ("dotproduct", "euclidean"))  # type: ignore[arg-type]
SPARSE = IndexSpec("sparse", 0, "dotproduct")
SEARCHES = {
    "dense": (SPEC, QueryPlan(1, vector(0.5))),
    "lexical": (SPEC, QueryPlan(1, text="apple fig")),
    "hybrid": (SPEC, QueryPlan(1, vector(0.5), text="apple fig")),
    "by id": (SPEC, QueryPlan(1, id="r0")),
    "dot product": (DOTPRODUCT, QueryPlan(1, vector(0.5), sparse=QUERY)),
    "distance": (EUCLIDEAN, QueryPlan(1, vector(0.5))),
    "sparse": (SPARSE, QueryPlan(1, sparse=QUERY)),
    "words": (SPARSE, QueryPlan(1, sparse=QUERY, words=filters.HasWords("text", ("apple",)))),
}


def grouped_by_hand(hits: Sequence[Match], field: str, size: int, top_k: int) -> list[tuple[str, float]]:
    """The first hits, without those of a value that `size` earlier ones match as a filter matches."""
    chosen: list[Match] = []
    for hit in hits:
        value = hit.metadata.get(field, [])
        condition = filters.parse({field: {"$in": value if isinstance(value, list) else [value]}})
        assert isinstance(condition, filters.In)
        earlier = [
            [filters.matches(filters.In(field, (each,)), other.metadata) for other in chosen].count(True)
            for each in condition.values
        ]
        if max(earlier, default=0) < size:
            chosen.append(hit)
    return [(hit.id, hit.score) for hit in chosen[:top_k]]


def records(spec: IndexSpec, rows: Sequence[tuple[float, str, Any, int]]) -> list[Record]:
    made = []
    for n, (angle, text, value, kept) in enumerate(rows):
        metadata = {"text": text, "kept": kept, **({} if value is None else {"doc": value})}
        sparse = SparseVector(np.array([1, 2], np.uint32), np.array([angle, n], np.float32))
        dense = None if spec.sparse else vector(round(angle, 1))
        made.append(Record(f"r{n}", dense, metadata, None if spec.metric in ("cosine", "euclidean") else sparse))
    return made


async def ask(engine: Engine, spec: IndexSpec, plan: QueryPlan, **change: Any) -> list[Match]:
    return (await engine.query(spec.name, "a", msgspec.structs.replace(plan, **change))).matches


@pytest.mark.parametrize("first", [1, 256])
@settings(max_examples=examples(15))
@given(
    rows=st.lists(ROW, max_size=40),
    size=st.integers(1, 3),
    top_k=st.integers(1, 12),
    kept=st.sampled_from([None, {"kept": 1}, {"doc": {"$ne": "a"}}]),
)
@every_engine
def test_grouped_hits_are_those_that_grouping_all_hits_by_hand_leaves(
    kind: EngineKind, first: int, rows: list[Any], size: int, top_k: int, kept: Any
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
            patched.setattr(grouping, "FIRST", first)  # so that a few records are several rounds
            patched.setattr(grouping, "GROWTH", 2)
            engine = await kind.open(Path(folder))
            for spec in (SPEC, DOTPRODUCT, EUCLIDEAN, SPARSE):
                await engine.create_index(spec)
                if rows:
                    await engine.upsert(spec.name, "a", records(spec, rows))
            condition = None if kept is None else filters.parse(kept)
            for name, (spec, plan) in SEARCHES.items():
                every = await ask(engine, spec, plan, top_k=100, filter=condition)
                hits = await ask(engine, spec, plan, top_k=top_k, filter=condition, grouping=Grouping("doc", size))
                assert [(hit.id, hit.score) for hit in hits] == grouped_by_hand(every, "doc", size, top_k), name
            await engine.close()

    asyncio.run(run())


@every_engine
async def test_a_value_of_thousands_of_records_costs_one_round(
    kind: EngineKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []
    best = Scorer.best
    monkeypatch.setattr(Scorer, "best", lambda self, *how: rounds.append(how) or best(self, *how))
    engine = await kind.open(tmp_path)
    await engine.create_index(SPEC)
    rows = [(n / 10_000, "apple", "long", 0) for n in range(3_000)]
    rows += [(1 + n / 1_000, "apple pear", f"short {n % 5}", 0) for n in range(500)]
    for start in range(0, len(rows), 500):
        made = records(SPEC, rows)[start : start + 500]
        await engine.upsert("docs", "a", made)
    for plan in (QueryPlan(6, vector(0)), QueryPlan(6, vector(0), text="apple"), QueryPlan(6, text="apple")):
        rounds.clear()
        hits = await ask(engine, SPEC, plan, grouping=Grouping("doc"))
        assert {hit.metadata["doc"] for hit in hits} == {"long", *(f"short {n}" for n in range(5))}
        assert len(rounds) <= 2
    await engine.close()


@every_engine
async def test_a_hybrid_search_with_few_candidates_goes_on_until_there_are_enough_groups(
    kind: EngineKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "FIRST_HYBRID", 2)
    engine = await kind.open(tmp_path)
    await engine.create_index(SPEC)
    rows = [(n / 100, WORDS[n % 3], f"d{n // 20}", 0) for n in range(200)]
    await engine.upsert("docs", "a", records(SPEC, rows))
    plan = QueryPlan(10, vector(0), text="apple", mix=Mix(candidates=2))
    every = {hit.id: hit for hit in await ask(engine, SPEC, plan, top_k=200)}
    hits = await ask(engine, SPEC, plan, grouping=Grouping("doc", 3), top_k=30)
    assert [len({hit.id for hit in hits if hit.metadata["doc"] == f"d{n}"}) for n in range(10)] == [3] * 10
    assert [hit.score for hit in hits] == sorted((every[hit.id].score for hit in hits), reverse=True)
    assert all(hit.parts is not None and hit.parts.dense == pytest.approx(cosine(hit)) for hit in hits)
    await engine.close()


def cosine(hit: Match) -> float:
    return math.cos(round(int(hit.id[1:]) / 100, 1))


async def test_groups_are_the_same_with_columns_in_memory_and_as_large_where_searches_are_approximate(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "FIRST", 1)
    await engine.create_index(SPEC)
    rows = [(n / 500, WORDS[n % 4], f"d{n // 100}" if n % 7 else ["d0", f"d{n % 3}"], n % 2) for n in range(1_200)]
    for start in range(0, len(rows), 400):
        await engine.upsert("docs", "a", records(SPEC, rows)[start : start + 400])
    condition = filters.parse({"kept": 1})
    every = await ask(engine, SPEC, QueryPlan(1_200, vector(0.1), filter=condition, exact=True))
    plan = QueryPlan(20, vector(0.1), filter=condition, grouping=Grouping("doc", 2))
    wanted = grouped_by_hand(every, "doc", 2, 20)
    for _ in range(2):  # the first search asks for the columns, the second one has them
        assert [(hit.id, hit.score) for hit in await ask(engine, SPEC, plan, exact=True)] == wanted
        hits = await ask(engine, SPEC, plan)
        assert [(hit.id, hit.score) for hit in hits] == grouped_by_hand(hits, "doc", 2, 20)
        assert len(hits) == 20
        await engine.upkeep_done()  # type: ignore[attr-defined]
