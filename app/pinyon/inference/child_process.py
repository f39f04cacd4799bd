"""Runs a function in a process of its own.

Its memory can be measured alone and is given back, and a crash of compiled code does not reach the server. The function
and what it gets and returns are pickled, so the function must be importable. `multiprocessing` would leave a helper
process behind.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pinyon.errors import FailedPrecondition, PinyonError

T = TypeVar("T")
IDLE_NICENESS = 19
"""The lowest priority: such a process computes when no other one wants to."""


class Stopped(Exception):
    """The process was ended by stop()."""


class ChildProcess:
    """Runs one function at a time, each in a new process. background: at the lowest priority, without its messages."""

    def __init__(self, background: bool = False) -> None:
        self._background = background
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """What the function returns. Blocks until then.

        Raises the PinyonError that the function raised, FailedPrecondition if it raised another error or if its process
        ended without a result, and Stopped after stop().
        """
        with self._lock:
            if self._stopped:
                raise Stopped
            self._process = process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if self._background else None,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                process_group=0,  # an interrupt from the terminal is for the server, which then ends this process
            )
        try:
            output, _ = process.communicate(pickle.dumps((self._background, function, arguments)))
        finally:
            process.kill()
            process.wait()
        if self._stopped:
            raise Stopped
        if not output:
            raise FailedPrecondition(f"the process that computes it ended with status {process.returncode}")
        result: T | PinyonError = pickle.loads(output)
        if isinstance(result, PinyonError):
            raise result
        return result

    def stop(self) -> None:
        """End the process that runs, and begin no other. Any thread may call it."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()


def main() -> None:
    """The program of the process: one call, from the input to the output."""
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # what libraries print is no result
        background, function, arguments = pickle.load(sys.stdin.buffer)
        if background:
            _give_way()
        try:
            result = function(*arguments)
        except PinyonError as error:
            result = error
        except Exception as error:
            result = FailedPrecondition(f"{type(error).__name__}: {error}")
        pickle.dump(result, output)


def _give_way() -> None:
    """Let every other process go first, and be the first to be ended where memory runs out."""
    os.nice(IDLE_NICENESS)
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
