"""`pinyon` that kills itself: python -m tests.durability.killed_command EVENT N pinyon-arguments...

EVENT: one of Python's audit events, such as open, os.rename, os.remove or http.client.send; for open, files that are
written. N: at which time of those from now on.
"""

import os
import signal
import sys
from typing import Any

from pinyon.cli.main import main


def kill_at(event: str, number: int) -> None:
    """Kill this process when the event happens for the N-th time."""
    left = number

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if name == event and (name != "open" or "w" in str(arguments[1]) or "a" in str(arguments[1])):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    kill_at(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
