"""How many examples Hypothesis tries of each property: `make test` a part of them, `make test-slow` all."""

import os

TRIES_ALL = os.environ.get("PINYON_TEST_EXAMPLES") == "all"
PART = 4


def examples(count: int) -> int:
    """The number of examples of a property that deserves `count` of them."""
    return count if TRIES_ALL else max(1, count // PART)
