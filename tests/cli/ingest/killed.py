"""The `pinyon` command, which kills itself at one of its requests that write.

python -m tests.cli.ingest.killed before|after N ARGUMENT...: kill -9 before the N-th such request is sent, or after it
was answered.
"""

import os
import signal
import sys
from typing import Any

from pinyon.cli.client.transport import Answer, HttpTransport
from pinyon.cli.main import main

WRITES = ("/records/", "/vectors/update", "/vectors/delete")


def _kill_at(moment: str, number: int) -> None:
    send, count = HttpTransport.send, 0

    async def counted(self: HttpTransport, method: str, url: str, path: str, *more: Any, **named: Any) -> Answer:
        nonlocal count
        writes = path.startswith(WRITES)
        count += writes
        dies = writes and count == number
        if dies and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await send(self, method, url, path, *more, **named)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    HttpTransport.send = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    _kill_at(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
