"""Chooses which hits of a search are shown, with which fields and explanations."""

from collections.abc import Sequence

import msgspec
import numpy as np

from pinyon.domain import Curve, Match, Metadata
from pinyon.search.calibration import probability
from pinyon.services.data_plane.records.searches import Search

DIGITS = 4
"""Decimal places of calibrated scores."""


def shown(
    matches: Sequence[Match],
    ranking: Sequence[tuple[int, float]],
    curve: Curve | None,
    search: Search,
    has_token_codes: bool = False,
) -> list[Match]:
    """The hits that a search returns, best first.

    ranking: position in `matches` and last score of each hit, best first. curve: what these scores mean, if that is
    asked and known. A search with a min_score has one, and hits whose calibrated score is lower are left out.
    has_token_codes: whether stored token vectors were used where there were some.
    """
    calibrated: list[float | None] = [None] * len(ranking)
    if curve is not None:
        chances = probability(curve, np.array([score for _, score in ranking]))
        calibrated = [*chances.round(DIGITS).tolist()]
    least = 0.0 if search.min_score is None else search.min_score
    return [
        _hit(matches[place], place + 1, score, chance, search, has_token_codes)
        for (place, score), chance in zip(ranking, calibrated, strict=True)
        if chance is None or chance >= least
    ]


def _hit(
    match: Match, rank: int, score: float, calibrated: float | None, search: Search, has_token_codes: bool
) -> Match:
    """A match with the fields that were asked for and its last score.

    rank: its place before reranking, from 1. calibrated: the chance that it is relevant, if that is known.
    """
    fields = _chosen(match.metadata, search.fields)
    if search.explain:
        parts = {"learned": match.learned} if match.parts is None else msgspec.structs.asdict(match.parts)
        explained = {"score": match.score, "rank": rank, **parts, "rerank": score if search.rerank else None}
        explained["calibrated"] = calibrated
        if has_token_codes:
            explained["token_vectors"] = "read" if match.token_codes is None else "stored"
        fields = {**fields, "_explain": {key: value for key, value in explained.items() if value is not None}}
    if score is match.score and fields is match.metadata:
        return match
    return Match(match.id, score, fields)


def _chosen(metadata: Metadata, fields: list[str] | None) -> Metadata:
    """The named fields that the record has. None, or the name "*", stands for all fields."""
    if fields is None or "*" in fields:
        return metadata
    return {name: metadata[name] for name in fields if name in metadata}
