"""Results are as good as the models allow: Cranfield over HTTP, by the benchmark's own script."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.beir_http import measure, ndcg_at_10, verdict
from tests.running import RunningServer


def test_ndcg_is_one_for_the_ideal_order_and_lower_for_any_other() -> None:
    grades = {"a": 3, "b": 1, "c": 0}
    assert ndcg_at_10(["a", "b", "c"], grades) == pytest.approx(1)
    assert ndcg_at_10(["b", "a"], grades) == pytest.approx((1 + 7 / 1.5849625) / (7 + 1 / 1.5849625))
    assert ndcg_at_10(["x"] * 10 + ["a"], grades) == 0


@pytest.mark.slow
def test_cranfield_is_searched_and_reranked_as_well_as_measured_before(
    minilm_server: RunningServer, shared_data: Callable[[str], Path]
) -> None:
    with minilm_server.client() as client:
        client.timeout = 600
        found = measure(client, shared_data("retrieval/cranfield"), "bge-reranker-v2-m3", 50)
    assert found["dense"]["nDCG@10"] >= 0.495
    assert found["bge-reranker-v2-m3, depth 50"]["nDCG@10"] >= 0.535
    assert found["hybrid"]["nDCG@10"] >= 0.56
    assert found["hybrid"]["against dense"].startswith("better")


def test_the_verdict_is_that_of_the_interval() -> None:
    assert verdict([0.6, 0.7, 0.5] * 10, [0.5, 0.6, 0.4] * 10).startswith("better: +0.1000")
    assert verdict([0.4] * 30, [0.5] * 30).startswith("worse")
    assert verdict([0.5, 0.7] * 15, [0.7, 0.5] * 15).startswith("no difference")
