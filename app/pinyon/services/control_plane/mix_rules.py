"""Checks the mix of an index or of one search, and what the scores of an index mean. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pinyon import decoding
from pinyon.domain import EVEN, Curve, IndexSpec, Mix
from pinyon.errors import InvalidArgument
from pinyon.search.calibration import problem

LEAST_FACTOR, MOST_FACTOR, MOST_CANDIDATES = 0.001, 100.0, 10_000
"""Factors are 0 or in this range. Much smaller ones would vanish in the sum of the weights, by which is divided."""
MOST_CURVES, MOST_POINTS = 20, 1_000
FACTORS = ("similarity", "words", "learned", "reranker")


def mix(given: Any) -> Mix | None:
    """The mix that a request gives as JSON values; None if it gives none. Raises InvalidArgument."""
    if given is None:
        return None
    if isinstance(given, dict):
        given = {name: value for name, value in given.items() if value is not None}
    try:
        chosen = decoding.convert(given, Mix)
    except msgspec.ValidationError as error:
        raise InvalidArgument(
            f"'mix' is wrong: {error}. It may have {', '.join(FACTORS)} (numbers, 1 is the default) and candidates"
        ) from None
    for name in FACTORS:
        factor = getattr(chosen, name)
        if factor != 0 and not LEAST_FACTOR <= factor <= MOST_FACTOR:
            raise InvalidArgument(f"mix.{name} must be 0, or from {LEAST_FACTOR:g} to {MOST_FACTOR:g}, got {factor:g}")
    if not chosen.similarity + chosen.words > 0:
        raise InvalidArgument("mix.similarity and mix.words must not both be 0, because then nothing would be ranked")
    if not 1 <= chosen.candidates <= MOST_CANDIDATES:
        raise InvalidArgument(f"mix.candidates must be from 1 to {MOST_CANDIDATES}, got {chosen.candidates}")
    return chosen


def calibration(given: Any) -> dict[str, Curve]:
    """The curves that a request gives as JSON values, by pipeline; none if it gives none. Raises InvalidArgument."""
    if given is None:
        return {}
    try:
        curves = decoding.convert(given, dict[str, Curve])
    except msgspec.ValidationError as error:
        raise InvalidArgument(
            f"'calibration' is wrong: {error}. For each pipeline it has a list of points [score, chance]"
        ) from None
    if len(curves) > MOST_CURVES or any(len(curve) > MOST_POINTS for curve in curves.values()):
        raise InvalidArgument(f"'calibration' may have {MOST_CURVES} pipelines with {MOST_POINTS} points each")
    for pipeline, curve in curves.items():
        if (wrong := problem(curve)) is not None:
            raise InvalidArgument(f"The curve '{pipeline[:80]}' in 'calibration' {wrong}")
    return curves


def taken_out(given: Mapping[str, Any] | None) -> tuple[dict[str, Any], Mix | None, dict[str, Curve]]:
    """Take the parameters `mix` and `calibration` out of others. Returns the others, and the two values.

    The mix is None if it is the one that every index has.
    """
    others = dict(given or {})
    chosen, curves = mix(others.pop("mix", None)), calibration(others.pop("calibration", None))
    return others, None if chosen == EVEN else chosen, curves


def as_wanted(existing: IndexSpec, wanted: IndexSpec) -> IndexSpec:
    """The existing spec without the mix, and without the calibration, if the wanted spec has none."""
    if existing.embed is None or wanted.embed is None:
        return existing
    embed = existing.embed
    if wanted.embed.mix is None:
        embed = msgspec.structs.replace(embed, mix=None)
    if not wanted.embed.calibration:
        embed = msgspec.structs.replace(embed, calibration={})
    return msgspec.structs.replace(existing, embed=embed)


def only_tunes(change: Mapping[str, Any]) -> bool:
    """Whether a change of an embedding, as index_rules.embed_change() takes it, changes only what tuning changes."""
    read = change.get("read_parameters")
    return set(change) == {"read_parameters"} and isinstance(read, Mapping) and set(read) <= {"mix", "calibration"}
