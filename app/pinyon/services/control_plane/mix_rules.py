"""Checks the mix of an index, or of one search: how much the sides of its scores count. Pure."""

from math import isfinite
from typing import Any

import msgspec

from pinyon.domain import Mix
from pinyon.errors import InvalidArgument

MOST_FACTOR, MOST_CANDIDATES = 100.0, 10_000
FACTORS = ("similarity", "words", "learned", "reranker")


def mix(given: Any) -> Mix | None:
    """The mix that a request gives as JSON values; None if it gives none. Raises InvalidArgument."""
    if given is None:
        return None
    if isinstance(given, dict):
        given = {name: value for name, value in given.items() if value is not None}
    try:
        chosen = msgspec.convert(given, Mix)
    except msgspec.ValidationError as error:
        raise InvalidArgument(
            f"'mix' is wrong: {error}. It may have {', '.join(FACTORS)} (numbers, 1 is the default) and candidates"
        ) from None
    for name in FACTORS:
        factor = getattr(chosen, name)
        if not isfinite(factor) or not 0 <= factor <= MOST_FACTOR:
            raise InvalidArgument(f"mix.{name} must be from 0 to {MOST_FACTOR:g}, got {factor:g}")
    if not chosen.similarity + chosen.words > 0:
        raise InvalidArgument("mix.similarity and mix.words must not both be 0, because then nothing would be ranked")
    if not 1 <= chosen.candidates <= MOST_CANDIDATES:
        raise InvalidArgument(f"mix.candidates must be from 1 to {MOST_CANDIDATES}, got {chosen.candidates}")
    return chosen
