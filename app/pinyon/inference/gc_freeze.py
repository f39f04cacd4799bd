"""What is imported and loaded once, and then lasts: Python's collector of garbage need not look through it."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting() -> Iterator[None]:
    """Nothing is collected meanwhile, and what there is at the end is never looked through.

    Importing torch and transformers makes half a million objects. The collector went through all of them seven times on
    the way, 0.7 of 5 seconds, and would stop everything for 0.2 s each time it did so later.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
