"""When the inverted file of a namespace is built that is being filled: not while it grows fast, but not never."""

from typing import Any

import pytest
from pinyon.domain import Handle
from pinyon.storage.sqlite.upkeep.write_debounce import WriteDebounce

QUIET_S, PATIENCE_S = 0.5, 30.0
PLACE = (Handle("docs", "1"), "a")
DATABASE: Any = object()


class Clock:
    """Stands for the module time."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("pinyon.storage.sqlite.upkeep.write_debounce.time", clock)
    return clock


def seconds_until_quiet(clock: Clock, first: int, per_second: float) -> float:
    """How long a namespace waits that has so many records and grows by so many a second, in steps of half a second."""
    debounce, begun, written = WriteDebounce(QUIET_S, PATIENCE_S), clock.now, 0
    while True:
        count = first + int(per_second * (clock.now - begun))
        pending = debounce.take(PLACE)
        if debounce.is_quiet(PLACE, pending, DATABASE, written, count):
            return clock.now - begun
        assert list(debounce.due()) == [], "it is looked at again after the quiet time"
        clock.now += QUIET_S
        assert list(debounce.due()) == [PLACE]
        written += 1  # a write in every half second


def test_a_namespace_without_writes_is_quiet_at_the_second_look(clock: Clock) -> None:
    debounce = WriteDebounce(QUIET_S, PATIENCE_S)
    assert not debounce.is_quiet(PLACE, None, DATABASE, 7, 50_000)
    clock.now += QUIET_S
    assert debounce.is_quiet(PLACE, debounce.take(PLACE), DATABASE, 7, 50_000)
    assert not debounce


def test_writes_that_add_little_are_waited_for_once(clock: Clock) -> None:
    assert seconds_until_quiet(clock, 50_000, 0) == PATIENCE_S + QUIET_S
    assert seconds_until_quiet(clock, 50_000, 400) == PATIENCE_S + QUIET_S


def test_a_namespace_that_grows_fast_is_put_off_until_it_grows_by_less_than_a_third(clock: Clock) -> None:
    # From 50,000 at 15,000 a second: 50,000, then about 500,000, 960,000, 1,420,000, 1,870,000 and 2,330,000.
    assert seconds_until_quiet(clock, 50_000, 15_000) == 5 * (PATIENCE_S + QUIET_S)


@pytest.mark.parametrize("per_second", [10**3, 10**5, 10**7])
def test_no_steady_rate_puts_it_off_for_ever(clock: Clock, per_second: float) -> None:
    assert seconds_until_quiet(clock, 50_000, per_second) <= 5 * (PATIENCE_S + QUIET_S)
