"""Places where tests make things fail. Nothing in the service arms one; to reach one that is not armed does nothing.

open       before a file of the data folder is opened
commit     before a transaction is committed
committed  after it was
remove     before a file of an index is removed
copied     before a backup, or what was restored, gets its name
embed      on the model thread, before texts are embedded
"""

from collections.abc import Callable
from typing import Literal

Place = Literal["open", "commit", "committed", "remove", "copied", "embed"]
_armed: dict[Place, Callable[[], None]] = {}


def reach(place: Place) -> None:
    """Called at the place."""
    if _armed and place in _armed:
        _armed[place]()


def arm(place: Place, action: Callable[[], None]) -> None:
    """Have this called whenever the place is reached, on whatever thread reaches it; it may raise."""
    _armed[place] = action


def disarm() -> None:
    """Forget every action."""
    _armed.clear()
