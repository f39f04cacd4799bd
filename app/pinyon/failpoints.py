"""Places where tests make the service fail or wait. The service itself arms none, and then reaching one does nothing.

open       before a file of the data folder is opened; its subject is the file's name without suffix
commit     before a transaction is committed
committed  after a transaction was committed
remove     before a file of an index is removed
copied     before a finished backup or restored copy gets its name
hash       before the weights of a model are hashed; its subject is the model
load       before a model is looked up or loaded for an index, or all are checked; its subject is the model
embed      on the model thread, before texts are embedded
"""

from collections.abc import Callable
from typing import Literal

Place = Literal["open", "commit", "committed", "remove", "copied", "hash", "load", "embed"]
_armed: dict[Place, tuple[Callable[[], None], str | None]] = {}


def reach(place: Place, subject: str = "") -> None:
    """Run the action that is armed at this place, if there is one. subject: what the service is working on there."""
    if _armed and place in _armed:
        action, wanted = _armed[place]
        if wanted is None or wanted == subject:
            action()


def arm(place: Place, action: Callable[[], None], subject: str | None = None) -> None:
    """Run this action whenever a thread reaches the place. It may raise, or wait.

    subject: run it only for this one; None for all.
    """
    _armed[place] = action, subject


def disarm() -> None:
    """Forget every action."""
    _armed.clear()
