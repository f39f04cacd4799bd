"""How many cells a query must look into, and which rows byte codes leave in the running."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.domain import Metric
from pinyon.search.ranking import exact_scores, higher_is_better
from pinyon.storage.shared.row_sets import distinct, places_of, without
from pinyon.storage.sqlite.ivf.nprobe import CalibrationQueries, MeasuredNprobe, nprobe_for, smallest_nprobe
from pinyon.storage.sqlite.ivf.sq8 import Sq8Codes

METRICS: list[Metric] = ["cosine", "dotproduct", "euclidean"]


def some(count: int, seed: int, dimension: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def test_as_many_cells_as_the_share_needs_are_enough() -> None:
    places = np.arange(1_000).reshape(10, 100)
    everywhere = np.ones_like(places, dtype=bool)
    assert smallest_nprobe(everywhere, places, 0.5) == 500
    assert smallest_nprobe(everywhere, places, 0.97) == 970
    assert smallest_nprobe(places < 100, places, 0.5) == 50
    assert smallest_nprobe(~everywhere, places, 0.5) == 1


def test_beyond_what_can_be_counted_the_mean_of_the_tail_tells() -> None:
    random = np.random.default_rng(1)
    places = random.exponential(100, (512, 10)).astype(np.int64)
    found = np.ones_like(places, dtype=bool)
    for share in (0.98, 0.99, 0.998):
        assert smallest_nprobe(found, places, share) == pytest.approx(-100 * np.log(1 - share), rel=0.15)
    assert smallest_nprobe(found, np.zeros_like(places), 0.998) == 1


def test_depths_between_and_beyond_the_measured_ones_need_cells_between_and_beyond() -> None:
    measured = [MeasuredNprobe(10, 20), MeasuredNprobe(100, 60), MeasuredNprobe(1_000, 100)]
    at = [nprobe_for(measured, depth, 500) for depth in (1, 10, 100, 1_000)]
    assert at == pytest.approx([20, 20, 60, 100], abs=1)
    between = [nprobe_for(measured, depth, 500) for depth in (10, 20, 50, 100, 500, 2_000, 10_000, 10**6)]
    assert between == sorted(between)
    assert 21 < between[1] < 59 and 61 < between[4] < 99 and between[5] > 101
    assert nprobe_for(measured, 10**9, 110) == 110
    assert nprobe_for([MeasuredNprobe(10, 20)], 10**6, 500) >= 20


@pytest.mark.parametrize("metric", METRICS)
def test_the_nearest_of_the_questions_are_those_of_all_that_was_seen(metric: Metric) -> None:
    vectors = some(3_000, 2)
    questions = CalibrationQueries(vectors[:100], metric)
    for start in range(0, len(vectors), 700):
        questions.add(np.arange(start, min(start + 700, len(vectors))), vectors[start : start + 700])
    nearest = questions.nearest()
    assert nearest.shape == (100, 1_000)
    for question, rows in zip(questions.vectors, nearest, strict=True):
        kind: Metric = "dotproduct" if metric == "cosine" else metric  # vectors come prepared
        good = higher_is_better(kind, exact_scores(kind, vectors, question))
        assert set(rows.tolist()) == set(np.argsort(-good)[:1_000].tolist())
        assert (np.diff(good[rows]) <= 1e-4).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("count", [1, 10, 300])
def test_byte_codes_lose_none_of_the_nearest_and_few_others_stay(metric: Metric, count: int) -> None:
    vectors = some(2_000, 3)
    if metric == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = Sq8Codes.fitted(vectors, len(vectors))
    codes.put(np.arange(len(vectors)), vectors)
    among = np.arange(0, len(vectors), 2)
    for query in some(20, 4):
        good = higher_is_better(metric, exact_scores(metric, vectors[among], query))
        wanted = among[np.argsort(-good)[:count]]
        found = codes.nearest(query, among, count, metric)
        assert set(wanted.tolist()) <= set(found.tolist())
        assert len(found) <= count * 1.3 + 20


@pytest.mark.parametrize("metric", ["dotproduct", "euclidean"])
def test_byte_codes_lose_none_where_one_number_has_coarse_steps(metric: Metric) -> None:
    vectors = some(4_000, 5)
    vectors[::400, 3] = 1_000
    codes = Sq8Codes.fitted(vectors, len(vectors))
    codes.put(np.arange(len(vectors)), vectors)
    everything = np.arange(len(vectors))
    for query in some(40, 6):
        query[3] *= 3
        good = higher_is_better(metric, exact_scores(metric, vectors, query))
        assert set(np.argsort(-good)[:10].tolist()) <= set(codes.nearest(query, everything, 10, metric).tolist())


ROWS = st.lists(st.integers(0, 30), max_size=20)


@given(one=ROWS, other=ROWS)
def test_rows_are_sets_in_order(one: list[int], other: list[int]) -> None:
    first, second = (np.array(sorted(set(rows)), np.int64) for rows in (one, other))
    assert distinct(np.array(one, np.int64)).tolist() == first.tolist()
    assert without(first, second).tolist() == sorted(set(one) - set(other))
    assert first[places_of(first, second)].tolist() == sorted(set(one) & set(other))
