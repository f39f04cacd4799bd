"""One thread for computations that must not slow down searches."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundThread:
    """Runs functions one after another on one thread, which is started when it is first needed."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what the function returns, or raise what it raises."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="upkeep")
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    async def wait(self) -> None:
        """Wait until everything that was started has ended, also what nobody waits for any more."""
        if self._executor is not None:
            await self.run(lambda: None)

    def close(self) -> None:
        """End the thread."""
        if self._executor is not None:
            self._executor.shutdown()
