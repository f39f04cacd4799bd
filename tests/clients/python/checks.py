"""Assertions that say what they saw, for scripts that run without a test framework."""

from collections.abc import Callable
from typing import Any


def equal(seen: Any, wanted: Any) -> None:
    """Two values are the same."""
    if seen != wanted:
        raise AssertionError(f"expected {wanted!r}, got {seen!r}")


def close(seen: Any, wanted: Any) -> None:
    """Two numbers, or two lists of them, are the same but for the rounding of float32."""
    pairs = list(zip(seen, wanted, strict=True)) if isinstance(wanted, list) else [(seen, wanted)]
    if any(abs(one - other) > 1e-5 for one, other in pairs):
        raise AssertionError(f"expected about {wanted!r}, got {seen!r}")


def true(seen: Any, about: Any = "") -> None:
    """Something holds."""
    if not seen:
        raise AssertionError(f"expected something true, got {seen!r} {about}")


def refused(kind: type[Exception], words: str, call: Callable[[], Any]) -> None:
    """A call raises this exception, and its text has these words, in whatever case."""
    try:
        answer = call()
    except kind as error:
        if words.lower() not in str(error).lower():
            raise AssertionError(f"expected {words!r} in: {error}") from error
    else:
        raise AssertionError(f"expected {kind.__name__}, got {answer!r}")
