"""Whatever shape the vectors and the questions come in, approximate answers find what exact ones do, or are exact.

The few in QUICK are those that show soonest what was once lost. What was found, and
whether it was answered approximately, is printed: pytest -rP shows it.
"""

from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import IndexSpec, Metric, QueryPlan, Record
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.options import Tuning

from tests.storage.sqlite.upkeep.recall_shapes import SHAPES, SIZES, Shape, drawn

pytestmark = pytest.mark.anyio

METRICS: list[Metric] = ["cosine", "dotproduct", "euclidean"]
K, MEAN, WORST = 10, 0.98, 0.8
"""Hits that are asked for, and the share of them that all queries, and that the worst of them, must find."""
FROM, BATCH = 2_000, 1_000
QUICK: list[tuple[str, Metric, int]] = [
    ("later, of length 5, 32 numbers", "dotproduct", 6_000),
    ("later, of length 10, 64 numbers", "euclidean", 4_000),
    ("later, a new cluster", "cosine", 8_000),
    ("near-duplicates", "cosine", 6_000),
    ("clusters of unequal size", "cosine", 6_000),
    ("far from the origin", "cosine", 6_000),
    ("queries that ask for one number", "dotproduct", 6_000),
    ("normal", "cosine", 4_000),
]
"""Shape, metric and how many vectors are stored."""


async def put(engine: SqliteEngine, vectors: np.ndarray, first: int) -> None:
    for start in range(0, len(vectors), BATCH):
        part = vectors[start : start + BATCH]
        await engine.upsert("docs", "a", [Record(f"r{first + start + n}", row, {}) for n, row in enumerate(part)])
    await engine.upkeep_done()


async def asked(folder: Path, shape: Shape, metric: Metric, k: int = K) -> tuple[np.ndarray, int]:
    """For each query the share of the k best that it found, where any that is as good counts; and how many of them
    were answered approximately."""
    engine = await SqliteEngine.open_folder(folder, 2, 2**28, approximate_from=FROM, tuning=Tuning(quiet_s=0))
    try:
        await engine.create_index(IndexSpec("docs", shape.stored.shape[1], metric))
        await put(engine, shape.stored, 0)
        await put(engine, shape.later, len(shape.stored))
        found, approximate = [], 0
        for query in shape.queries:
            answer = await engine.query("docs", "a", QueryPlan(k, vector=query))
            exact = await engine.query("docs", "a", QueryPlan(k, vector=query, exact=True))
            assert not exact.approximate and len(answer.matches) == len(exact.matches) == k
            last, sign = exact.matches[-1].score, -1 if metric == "euclidean" else 1
            found.append(sum(sign * match.score >= sign * last for match in answer.matches) / k)
            approximate += answer.approximate
        return np.array(found), approximate
    finally:
        await engine.close()


async def check(folder: Path, name: str, metric: Metric, count: int | None = None) -> None:
    found, approximate = await asked(folder, drawn(name, count), metric)
    print(
        f"{name}, {metric}: {found.mean():.3f} found, {found.min():.1f} by the worst query;"
        f" {approximate} of {len(found)} answered approximately"
    )
    assert found.mean() >= MEAN
    assert found.min() >= WORST


@pytest.mark.parametrize(("name", "metric", "count"), QUICK, ids=[f"{name}: {metric}" for name, metric, _ in QUICK])
async def test_the_most_telling_shapes_lose_nothing(tmp_path: Path, name: str, metric: Metric, count: int) -> None:
    await check(tmp_path, name, metric, count)


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", SHAPES)
async def test_vectors_of_every_shape_are_found(tmp_path: Path, name: str, metric: Metric) -> None:
    await check(tmp_path, name, metric)


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", SIZES)
async def test_vectors_are_found_among_as_many_as_were_reported(tmp_path: Path, name: str, metric: Metric) -> None:
    await check(tmp_path, name, metric, SIZES[name])


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_the_same_every_time_and_holds_numbers_only(name: str) -> None:
    count = 7_000 if name.startswith("later") else 2_500
    for some, same in zip(drawn(name, count), drawn(name, count), strict=True):
        assert some.dtype == np.float32 and np.isfinite(some).all()
        assert np.array_equal(some, same)
