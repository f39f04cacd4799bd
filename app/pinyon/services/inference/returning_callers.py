"""Callers who were just answered often ask again at once, one after another. Waiting for them makes fuller batches."""

import threading
from collections.abc import Callable

MOST_EXPECTED = 16
"""Callers that are waited for at most. With more, one half is computed while the other half asks again."""
EXPECTED_S = 0.05
"""Callers that were answered longer ago are not expected to ask again at once."""


class ReturningCallers:
    """Decides how long a call waits for more requests: a call for eight takes little longer than a call for four.

    gap_s: the call waits as long as one request comes within so many seconds after the other. clock: in seconds.
    """

    def __init__(self, gap_s: float, clock: Callable[[], float]) -> None:
        self._gap_s, self._clock = gap_s, clock
        self._arrival = threading.Event()
        self._expected, self._answered_at = 0, 0.0

    def arrived(self) -> None:
        """Note that a request has come. Any thread may call it."""
        self._arrival.set()

    def answered(self, requests: int, waiting: int) -> None:
        """Note that so many requests are answered now, while others wait: so many callers are active."""
        self._expected, self._answered_at = min(requests + waiting, MOST_EXPECTED), self._clock()

    def gather(self, waiting: Callable[[], int]) -> None:
        """Wait for the callers who ask again. waiting: how many requests wait now."""
        if not self._gap_s or self._clock() - self._answered_at > EXPECTED_S:
            return
        for _ in range(MOST_EXPECTED):  # requests that cannot share the call arrive too: it does not wait for them all
            self._arrival.clear()
            if waiting() >= self._expected or not self._arrival.wait(self._gap_s):
                return
