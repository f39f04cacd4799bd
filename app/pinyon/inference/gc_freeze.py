"""Keeps Python's garbage collector away from objects that live as long as the process."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_frozen() -> Iterator[None]:
    """No collection runs inside, and what exists at the end is never examined again.

    Importing torch and transformers makes half a million objects. The collector went through all of them seven times
    during the import, 0.7 of 5 seconds, and would stop everything for 0.2 s each time it did so later.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
