"""A lock for what many threads read and few change."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedLock:
    """Lets many searches in at the same time, or one change. A change that waits goes before later searches."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._searching, self._waiting = 0, 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock for a search."""
        with self._changed:
            while self._waiting:
                self._changed.wait()
            self._searching += 1
        try:
            yield
        finally:
            with self._changed:
                self._searching -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock for a change."""
        with self._changed:
            self._waiting += 1
            while self._searching:
                self._changed.wait()
            try:
                yield
            finally:
                self._waiting -= 1
                self._changed.notify_all()
