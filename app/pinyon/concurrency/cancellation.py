"""Ends tasks surely, also those that wait for a database."""

import asyncio

AGAIN_AFTER_S = 0.2


async def cancel(task: "asyncio.Task[None]") -> None:
    """Cancel a task until it has ended.

    Python 3.11's asyncio.wait_for(), which psycopg uses, loses a cancellation that comes at the moment of its result.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_AFTER_S)
