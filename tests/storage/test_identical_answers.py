"""Every engine gives the same answers, to the byte: hits, scores, ties, filters, counts, pages and facets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from numpy.typing import NDArray
from pinyon import filters
from pinyon.domain import EmbedSpec, FacetPlan, IndexSpec, Metric, PagePlan, QueryPlan, Record, Selection, SparseVector
from pinyon.storage.engine import Engine

from tests.examples import examples
from tests.storage.engines import ENGINES

pytestmark = pytest.mark.anyio

METRICS: tuple[Metric, ...] = ("cosine", "dotproduct", "euclidean")
FILTERS = (
    None,
    {"share": {"$lt": 0.02}},
    {"share": {"$gte": 0.5}},
    {"colour": {"$in": ["red", "blue"]}},
    {"$and": [{"tags": "x"}, {"share": {"$lte": 0.9}}]},
    {"$or": [{"colour": {"$ne": "red"}}, {"tags": {"$nin": ["x"]}}]},
    {"odd": True, "colour": {"$exists": True}},
    {"colour": "nobody"},
)
Vector = NDArray[np.float32]


class Engines:
    """The same data in an engine of every kind."""

    def __init__(self, engines: dict[str, Engine]) -> None:
        self.engines = engines

    async def each(self, call: Callable[[Engine], Awaitable[Any]]) -> None:
        """Make the same change to each."""
        for engine in self.engines.values():
            await call(engine)

    async def same(self, call: Callable[[Engine], Awaitable[Any]]) -> Any:
        """What each answers, which must be equal to the byte."""
        answers = {name: await call(engine) for name, engine in self.engines.items()}
        first, *others = answers
        for other in others:
            assert exactly(answers[first]) == exactly(answers[other]), f"{first} and {other} differ"
        return answers[first]

    async def close(self) -> None:
        for engine in self.engines.values():
            await engine.close()


def exactly(value: Any) -> Any:
    """A value in which arrays are bytes and floats are their exact digits, so that == compares all of it."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return {key: exactly(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [exactly(each) for each in value]
    fields = getattr(value, "__struct_fields__", None)
    return value if fields is None else {name: exactly(getattr(value, name)) for name in fields}


async def open_all(folder: Path) -> Engines:
    return Engines({name: await kind.open(folder / name) for name, kind in ENGINES.items()})


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[Engines]:
    engines = await open_all(tmp_path)
    yield engines
    await engines.close()


def vectors_with_extremes(count: int, dimension: int) -> Vector:
    """Random vectors, with every third replaced: by duplicates, multiples, near ties, zeros, huge and tiny numbers."""
    random = np.random.default_rng(count * dimension)
    vectors = random.standard_normal((count, dimension)).astype(np.float32)
    for place in range(3, count, 3):
        one = vectors[place // 2]
        vectors[place] = [
            one,
            one * np.float32(0.5),
            np.nextafter(one, np.float32(9)),
            np.zeros(dimension),
            random.standard_normal(dimension) * 1e30,
            random.standard_normal(dimension) * 1e-30,
            np.full(dimension, 3e38),
            np.eye(dimension)[place % dimension],
        ][place // 3 % 8]
    return vectors


def metadata_of(place: int, count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"share": place * 7 % count / count, "odd": place % 2 == 1}
    if place % 5:
        metadata["colour"] = ("red", "blue", "grün", "red")[place % 4]
    if place % 3 == 0:
        metadata["tags"] = ["x", "y"][: 1 + place % 2]
    return metadata


def sparse_of(place: int) -> SparseVector | None:
    if place % 4 == 3:
        return None
    random = np.random.default_rng(place % 50)  # equal ones now and then
    terms = random.choice(60, 6, replace=False).astype(np.uint32)
    return SparseVector(np.sort(terms), random.choice([0.25, 1.5, -2.0, 1e-3], 6).astype(np.float32))


def condition_of(raw: dict[str, Any] | None) -> filters.Condition | None:
    return None if raw is None else filters.parse(raw)


async def load(engines: Engines, spec: IndexSpec, records: list[Record], namespace: str = "a") -> None:
    await engines.each(lambda engine: engine.create_index(spec))
    await engines.each(lambda engine: engine.upsert(spec.name, namespace, records))


@pytest.mark.parametrize("metric", METRICS)
async def test_dense_hits_scores_and_ties(engines: Engines, metric: Metric) -> None:
    count, dimension = 240, 8
    stored = vectors_with_extremes(count, dimension)
    records = [Record(f"r{place * 37 % count}", each, metadata_of(place, count)) for place, each in enumerate(stored)]
    await load(engines, IndexSpec("docs", dimension, metric), records)
    asked = [stored[1], stored[4], np.zeros(dimension), stored[15], stored[18], stored[21], stored[2] * 1e-40]
    hits = 0
    for vector in asked:
        for top_k, raw in [(5, None), (1_000, None), *((8, each) for each in FILTERS[1:])]:
            plan = QueryPlan(top_k, vector=np.asarray(vector, np.float32), filter=condition_of(raw))
            hits += len((await engines.same(lambda engine, plan=plan: engine.query("docs", "a", plan))).matches)  # type: ignore[misc]
    assert hits > 7 * count
    by_id = QueryPlan(count, id="r5", include_values=True)
    assert len((await engines.same(lambda engine: engine.query("docs", "a", by_id))).matches) == count


async def test_counts_pages_facets_and_namespaces(engines: Engines) -> None:
    count = 120
    stored = vectors_with_extremes(count, 4)
    records = [Record(f"r{place}", each, metadata_of(place, count)) for place, each in enumerate(stored)]
    await load(engines, IndexSpec("docs", 4, "dotproduct"), records)
    await engines.each(lambda engine: engine.upsert("docs", "b", records[:3]))
    await engines.each(lambda engine: engine.delete("docs", "a", Selection(ids=["r3", "r77", "nobody"])))
    for raw in FILTERS:
        selection = Selection(filter=condition_of(raw))
        await engines.same(lambda engine, by=selection: engine.count("docs", "a", by))  # type: ignore[misc]
        for plan in (PagePlan(7, selection, after="r2"), PagePlan(50, selection, prefix="r1", ids_only=True)):
            await engines.same(lambda engine, plan=plan: engine.page("docs", "a", plan))  # type: ignore[misc]
        for field in ("colour", "tags", "odd", "share"):
            facet = FacetPlan(field, 20, selection.filter)
            await engines.same(lambda engine, plan=facet: engine.facets("docs", "a", plan))  # type: ignore[misc]
    names = await engines.same(lambda engine: engine.every_namespace("docs"))
    assert [each.record_count for each in names] == [count - 2, 3]


async def test_sparse_products_alone_and_beside_dense_ones(engines: Engines) -> None:
    count, dimension = 150, 6
    stored = vectors_with_extremes(count, dimension)
    both = [Record(f"r{p}", stored[p], metadata_of(p, count), sparse_of(p)) for p in range(count)]
    await load(engines, IndexSpec("both", dimension, "dotproduct"), both)
    alone = [Record(f"r{p}", None, metadata_of(p, count), sparse_of(p)) for p in range(count) if p % 4 != 3]
    await load(engines, IndexSpec("alone", 0, "dotproduct"), alone)
    for place in (0, 1, 5, 22):
        sparse = sparse_of(place)
        for top_k, raw in ((10, None), (1_000, None), (10, FILTERS[2]), (10, FILTERS[4])):
            plan = QueryPlan(top_k, vector=stored[place], sparse=sparse, filter=condition_of(raw))
            await engines.same(lambda engine, plan=plan: engine.query("both", "a", plan))  # type: ignore[misc]
            for by_rarity in (False, True):
                plan = QueryPlan(top_k, sparse=sparse, filter=condition_of(raw), by_rarity=by_rarity)
                answer = await engines.same(lambda engine, plan=plan: engine.query("alone", "a", plan))  # type: ignore[misc]
                assert answer.matches


@pytest.mark.parametrize("metric", ["cosine", "dotproduct"])
async def test_lexical_and_hybrid_hits_with_the_parts_of_their_scores(engines: Engines, metric: Metric) -> None:
    count, dimension = 200, 8
    random = np.random.default_rng(3)
    words = [
        "the",
        "river",
        "rivers",
        "bank",
        "money",
        "boat",
        "boats",
        "café",
        "naïve",
        "x-ray",
        "running",
        "ran",
        "the",
        "of",
        "and",
    ]
    texts = [" ".join(random.choice(words, random.integers(1, 30))) for _ in range(count)]
    stored = random.standard_normal((count, dimension)).astype(np.float32)
    records = [Record(f"r{p}", stored[p], metadata_of(p, count) | {"text": texts[p]}) for p in range(count)]
    await load(engines, IndexSpec("docs", dimension, metric, EmbedSpec("any", "text")), records)
    await engines.each(lambda engine: engine.delete("docs", "a", Selection(ids=["r4", "r9"])))
    unrelated = random.standard_normal(dimension)
    for text in ("river bank", "the café", "boats running money", "nobody"):
        for raw in (None, FILTERS[2], FILTERS[4]):
            parts = {"text": text, "filter": condition_of(raw), "statistics_text": text}
            lexical = QueryPlan(10, **parts)
            hybrid = QueryPlan(10, vector=stored[7], unrelated=unrelated, **parts)
            await engines.same(lambda engine, plan=lexical: engine.query("docs", "a", plan))  # type: ignore[misc]
            answer = await engines.same(lambda engine, plan=hybrid: engine.query("docs", "a", plan))  # type: ignore[misc]
            assert len(answer.matches) == 10


@pytest.mark.parametrize("dimension", [2_100, 4_500])
async def test_long_vectors(engines: Engines, dimension: int) -> None:
    stored = vectors_with_extremes(16, dimension)
    await load(engines, IndexSpec("docs", dimension, "cosine"), [Record(f"r{p}", v, {}) for p, v in enumerate(stored)])
    for vector in stored[:4]:
        plan = QueryPlan(10, vector=vector, include_values=True)
        assert len((await engines.same(lambda engine, plan=plan: engine.query("docs", "a", plan))).matches) == 10  # type: ignore[misc]


NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1 / 3, 1e-30, -1e-40, 1e19, 1e30, -3e38]) | st.floats(
    width=32, allow_nan=False, allow_infinity=False
)
SOME_VECTORS = numpy_strategies.arrays(np.float32, 3, elements=NUMBERS)


@pytest.fixture(scope="module")
def open_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Engines]]:
    """Engines that are opened once, with an index of every metric, and a loop for them."""
    with asyncio.Runner() as runner:
        engines = runner.run(open_all(tmp_path_factory.mktemp("engines")))
        for metric in METRICS:
            spec = IndexSpec(metric, 3, metric)
            runner.run(engines.each(lambda engine, spec=spec: engine.create_index(spec)))  # type: ignore[misc]
        yield runner, engines
        runner.run(engines.close())


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    metric=st.sampled_from(METRICS),
    stored=st.lists(SOME_VECTORS, min_size=1, max_size=50),
    query=SOME_VECTORS,
    top_k=st.integers(1, 60),
    is_filtered=st.booleans(),
)
def test_whatever_the_numbers_are(
    open_engines: tuple[asyncio.Runner, Engines],
    metric: Metric,
    stored: list[Vector],
    query: Vector,
    top_k: int,
    is_filtered: bool,
) -> None:
    runner, engines = open_engines
    records = [Record(f"r{place}", vector, {"odd": place % 2 == 1}) for place, vector in enumerate(stored)]
    condition = filters.parse({"odd": False}) if is_filtered else None
    plan = QueryPlan(top_k, vector=query, filter=condition, include_values=True)

    async def compare() -> None:
        await engines.each(lambda engine: engine.upsert(metric, "a", records))
        await engines.same(lambda engine: engine.query(metric, "a", plan))
        await engines.each(lambda engine: engine.delete(metric, "a", Selection()))

    runner.run(compare())
