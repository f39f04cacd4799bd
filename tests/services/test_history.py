"""What the metrics were: rates, percentiles and recall, over a clock that the test turns."""

import math

import pytest
from pinyon import metrics
from pinyon.auth.permissions import GRANT, Grant
from pinyon.domain import RecallSample
from pinyon.errors import PermissionDenied
from pinyon.services.overview import history
from pinyon.services.overview.history import History
from pinyon.services.overview.percentiles import percentile


def test_a_percentile_lies_within_its_bucket_as_prometheus_computes_it() -> None:
    bounds = [1.0, 2.0, 4.0]
    assert percentile(0.5, bounds, [0, 10, 10, 10]) == pytest.approx(1.5)
    assert percentile(0.5, bounds, [10, 10, 20, 20]) == pytest.approx(1.0)
    assert percentile(0.75, bounds, [10, 10, 20, 20]) == pytest.approx(3.0)
    assert percentile(0.99, bounds, [0, 0, 0, 5]) == 4.0
    assert percentile(0.5, bounds, [0, 0, 0, 0]) is None


class Turned:
    """A clock, and a history that looks at it. Other tests may count too, so each uses a stage of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.measured: list[RecallSample] = []
        self.history = History(lambda: self.measured, lambda: self.now)

    def pass_and_take(self, seconds: float) -> None:
        self.now += seconds
        self.history.take()


def test_rates_and_percentiles_are_of_the_last_minute() -> None:
    turned = Turned()
    turned.history.take()
    for _ in range(20):
        metrics.observe("test-rate", 0.007)
    turned.pass_and_take(history.EVERY_S)
    assert [point.values for point in turned.history.rates("test-rate")] == [[None], [20 / history.EVERY_S]]
    (half,) = turned.history.seconds("test-rate", [0.5])[-1].values
    assert half is not None and 0.005 <= half <= 0.01
    for _ in range(history.WINDOW):
        turned.pass_and_take(history.EVERY_S)
    assert turned.history.rates("test-rate")[-1].values == [0.0]
    assert turned.history.seconds("test-rate", [0.5])[-1].values == [None]
    assert turned.history.overall("test-rate", [0.5])[0] == 20
    assert turned.history.overall("test-never", [0.5]) == (0, [None])


def test_recall_is_the_mean_of_the_measured_searches() -> None:
    turned = Turned()
    turned.history.take()
    turned.measured = [RecallSample("a", "n", 10, 1.0), RecallSample("b", "n", 30, 0.9)]
    turned.pass_and_take(1)
    first, last = turned.history.recall()
    assert (first.values, first.age) == ([None], 1)
    assert math.isclose(last.values[0] or 0, 0.925)


def test_old_samples_are_dropped() -> None:
    turned = Turned()
    for _ in range(history.KEPT + 10):
        turned.pass_and_take(history.EVERY_S)
    points = turned.history.memory()
    assert len(points) == history.KEPT
    assert points[0].age == history.EVERY_S * (history.KEPT - 1)


def test_a_key_for_some_indexes_learns_nothing_of_all_of_them() -> None:
    turned = Turned()
    turned.history.take()
    token = GRANT.set(Grant(frozenset({"read"}), indexes=frozenset({"mine"})))
    try:
        for tell in (
            turned.history.memory,
            turned.history.recall,
            turned.history.stages,
            lambda: turned.history.rates("search"),
            lambda: turned.history.seconds("search", [0.5]),
            lambda: turned.history.overall("search", [0.5]),
        ):
            with pytest.raises(PermissionDenied):
                tell()
    finally:
        GRANT.reset(token)
