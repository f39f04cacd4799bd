"""How long a call waits for callers who ask again."""

from collections.abc import Iterator

import pytest
from pinyon.services.inference.returning_callers import MOST_EXPECTED, ReturningCallers

FOREVER = 60.0


class Clock:
    """A clock that only the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def growing(callers: ReturningCallers, numbers: Iterator[int]) -> int:
    """Gather while the number of waiting requests grows; the last number that was looked at."""
    seen = 0

    def waiting() -> int:
        nonlocal seen
        seen = next(numbers)
        callers.arrived()
        return seen

    callers.gather(waiting)
    return seen


@pytest.mark.parametrize(("answered", "waiting", "gathered"), [(1, 0, 1), (4, 4, 8), (8, 0, 8), (32, 0, MOST_EXPECTED)])
def test_a_call_waits_for_all_who_are_active(answered: int, waiting: int, gathered: int) -> None:
    callers = ReturningCallers(FOREVER, Clock())
    callers.answered(answered, waiting)
    assert growing(callers, iter(range(1, 100))) == gathered


def test_nobody_is_expected_long_after_the_answers() -> None:
    clock = Clock()
    callers = ReturningCallers(FOREVER, clock)
    callers.answered(8, 0)
    clock.now += 1
    callers.gather(lambda: 1)  # returns at once


def test_when_no_more_come_the_call_begins() -> None:
    callers = ReturningCallers(0.001, Clock())
    callers.answered(8, 0)
    callers.gather(lambda: 1)


def test_requests_that_cannot_share_the_call_do_not_hold_it_up() -> None:
    callers = ReturningCallers(FOREVER, Clock())
    callers.answered(8, 0)
    looks = 0

    def waiting() -> int:
        nonlocal looks
        looks += 1
        callers.arrived()  # for another call
        return 1

    callers.gather(waiting)
    assert looks <= MOST_EXPECTED
