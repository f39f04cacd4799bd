"""Computations in short steps, so that a long request does not hold up the others."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]
"""A computation. It pauses after each step, where other work may go first, and returns its result at the end."""

STEP_S = 0.05
"""Intended duration of a step in seconds. A text that takes longer by itself is still one step."""


def finished(steps: Steps[T]) -> T:
    """Compute all steps, one after another, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class Pace:
    """How much a model computes in a given time, from how long it took lately. The unit is the caller's: tokens, bytes.

    first: units per second that are assumed at the beginning.
    """

    def __init__(self, first: float) -> None:
        self._rate = first

    def within(self, seconds: float) -> int:
        """Units that take about so many seconds, at least 1."""
        return max(1, int(self._rate * seconds))

    def took(self, units: int, seconds: float) -> None:
        """Learn from a call. A call far below a step says little, because it consists of fixed costs."""
        if units < self.within(STEP_S) / 2 and seconds < STEP_S / 2:
            return
        self._rate = 0.7 * self._rate + 0.3 * units / max(seconds, 1e-6)
