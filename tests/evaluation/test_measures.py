"""Measures against their formulas; verdicts against what is known of the samples."""

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.evaluation.measures import compared, quantiles, values

IDS = ["a", "b", "c", "d", "e"]


@given(
    ranked=st.lists(st.sampled_from(IDS), unique=True),
    grades=st.dictionaries(st.sampled_from(IDS), st.integers(-1, 4), min_size=1).filter(
        lambda held: max(held.values()) > 0
    ),
)
def test_measures_are_those_of_the_textbook(ranked: list[str], grades: dict[str, int]) -> None:
    found = values({"q": ranked}, {"q": grades})

    def gain(held: list[int]) -> float:
        return sum((2 ** max(grade, 0) - 1) / log2(place + 2) for place, grade in enumerate(held))

    ideal = gain(sorted(grades.values(), reverse=True)[:10])
    assert found["nDCG@10"][0] == pytest.approx(gain([grades.get(id, 0) for id in ranked]) / ideal, abs=1e-9)
    relevant = {id for id, grade in grades.items() if grade > 0}
    assert found["recall@100"][0] == pytest.approx(len(relevant & set(ranked)) / len(relevant))
    first = next((place for place, id in enumerate(ranked, 1) if id in relevant), None)
    assert found["MRR@10"][0] == pytest.approx(1 / first if first else 0)


def test_only_the_first_ten_and_hundred_hits_count() -> None:
    fillers = [f"x{n}" for n in range(100)]
    late = values({"q": [*fillers[:10], "a"], "r": [*fillers, "a"]}, {"q": {"a": 1}, "r": {"a": 1}})
    assert late == {"nDCG@10": [0, 0], "recall@100": [1, 0], "MRR@10": [0, 0]}


def test_a_query_without_hits_counts_as_nothing_found() -> None:
    found = values({"q": [], "r": ["a"]}, {"q": {"a": 1}, "r": {"a": 1}})
    assert found == {"nDCG@10": [0, 1], "recall@100": [0, 1], "MRR@10": [0, 1]}


def test_the_verdict_is_that_of_the_interval() -> None:
    better = compared([0.6, 0.7, 0.5] * 10, [0.5, 0.6, 0.4] * 10)
    assert (better.word, better.difference) == ("better", pytest.approx(0.1))
    assert compared([0.4] * 30, [0.5] * 30).word == "worse"
    none = compared([0.5, 0.7] * 15, [0.7, 0.5] * 15)
    assert none.word == "no difference"
    assert none.low < 0 < none.high


def test_quantiles_are_those_of_the_times() -> None:
    assert quantiles([float(n) for n in range(101)]) == {"p50_ms": 50, "p95_ms": 95}
