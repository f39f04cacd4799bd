"""Repeats a change of the catalogue that somebody else was faster with."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pinyon.errors import VersionConflict

CONFLICTS = 10
"""How often a change is repeated."""
T = TypeVar("T")

log = logging.getLogger("pinyon.indexes")


async def until_no_conflict(change: Callable[[], Awaitable[T]]) -> T:
    """Make a change, and repeat it while what it changes was changed at the same time.

    change: reads the newest state, then writes. Raises VersionConflict at the end.
    """
    for _ in range(CONFLICTS):
        try:
            return await change()
        except VersionConflict as error:
            log.info("%s", error.message)
    return await change()
