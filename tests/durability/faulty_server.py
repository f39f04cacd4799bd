"""`pinyon` with something that goes wrong: python -m tests.durability.faulty_server ACTION PLACE N pinyon-arguments...

ACTION: kill (this process, at once), or fail. PLACE: one of pinyon.failpoints, or "write", "sync" or "open-file" of any
file of SQLite's. N: at which time of those from now on; "3-" for all from the third on. Daily backups are taken
every second, so that they meet what goes wrong.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import apsw
from pinyon import failpoints
from pinyon.cli.main import main
from pinyon.services.backups import run_times, schedules

from tests.durability.disk import Disk

ERRORS: dict[str, Callable[[], Exception]] = {
    "open": lambda: apsw.CantOpenError("failed on purpose"),
    "commit": lambda: apsw.IOError("failed on purpose"),
    "committed": lambda: RuntimeError("failed on purpose"),
    "remove": lambda: PermissionError(13, "failed on purpose"),
    "embed": lambda: RuntimeError("failed on purpose"),
    "write": lambda: apsw.FullError("failed on purpose"),
    "sync": lambda: apsw.IOError("failed on purpose"),
    "open-file": lambda: apsw.CantOpenError("failed on purpose"),
    "memory": lambda: MemoryError("failed on purpose"),
}
OF_DISK = {"write": "write", "sync": "sync", "open": "open-file"}


def at(number: str, place: str, action: str) -> Callable[[], None]:
    """What happens when the place is reached."""
    counted, first, on = itertools.count(1), int(number.rstrip("-")), number.endswith("-")

    def reached() -> None:
        n = next(counted)
        if n == first or (on and n > first):
            if action == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ERRORS[place]()

    return reached


def run(action: str, place: str, number: str, arguments: list[str]) -> int:
    """The command, with this armed."""
    reached = at(number, place, action)
    if place == "memory":
        failpoints.arm("embed", reached)
    elif place not in OF_DISK.values():
        failpoints.arm(place, reached)  # type: ignore[arg-type]
    else:

        def on(what: str, name: Any) -> None:
            if OF_DISK[what] == place and not str(name).endswith("-shm"):
                reached()

        with Disk(on, keep=False):
            return main(arguments)
    return main(arguments)


if __name__ == "__main__":
    run_times.DAYS["daily"] = 1 / 86_400
    schedules.CHECK_S = 0.05
    sys.exit(run(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
