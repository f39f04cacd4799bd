"""What a score means: curves from scores to the chance that a hit is relevant, and how wrong they are. Pure."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Curve

LEAST_HITS = 50
"""A step of a fitted curve stands for at least so many hits, so that a few lucky ones do not look certain."""
BINS = 10
"""Of equal width, in calibration_error()."""
DIGITS = 5
"""Decimal places of the points of a fitted curve."""


class PipelineCurve(msgspec.Struct, frozen=True):
    """The curve of a pipeline with one model.

    pipeline: as in EmbedSpec.calibration. model, version: of the embedding weights; empty if it uses none. collections:
    what it was fitted on, for people.
    """

    pipeline: str
    model: str
    version: str
    curve: Curve
    collections: tuple[str, ...] = ()


class CurvesFile(msgspec.Struct, frozen=True):
    """The file models/calibration.json. made_by: how it was made, for people."""

    made_by: str
    curves: tuple[PipelineCurve, ...]


def problem(curve: Curve) -> str | None:
    """What is wrong with a curve, as a sentence without its subject; None if nothing is."""
    if not curve:
        return "must have at least one point"
    points = np.array(curve)
    if not np.isfinite(points).all():
        return "must have finite numbers"
    if (np.diff(points[:, 0]) <= 0).any():
        return "must have ascending scores"
    if points[:, 1].min() < 0 or points[:, 1].max() > 1 or (np.diff(points[:, 1]) < 0).any():
        return "must have probabilities from 0 to 1 that never fall"
    return None


def probability(curve: Curve, scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The chance that hits with these scores are relevant: float64 [n] in 0..1. scores: [n]."""
    points = np.array(curve)
    return np.asarray(np.interp(scores.astype(np.float64), points[:, 0], points[:, 1]))


def isotonic(
    scores: NDArray[np.floating[Any]],
    relevant: NDArray[np.bool_],
    weights: NDArray[np.float64] | None = None,
    least_hits: int = LEAST_HITS,
    flat: bool = False,
) -> Curve:
    """The curve that fits judged hits best, among those that never fall (isotonic regression by least squares).

    scores, relevant: [n], at least one hit. weights: float64 [n], above 0; None for equal ones. least_hits: as
    LEAST_HITS. flat: whether steps are flat from their least to their greatest score. Otherwise the curve goes through
    their means, which is smoother. If hits are few, steps are wide, and the way from one mean to the next would be
    wrong on most of it. Source: the pool-adjacent-violators algorithm, as Zadrozny and Elkan use it (KDD 2002).
    """
    values, places = np.unique(scores.astype(np.float64), return_inverse=True)
    weights = np.ones(len(scores)) if weights is None else weights
    columns = np.ones(len(scores)), weights, weights * scores, weights * relevant
    totals = np.stack([*(np.bincount(places, column, len(values)) for column in columns), values, values], axis=1)
    steps: list[NDArray[np.float64]] = []
    for step in totals:
        steps.append(step)
        while len(steps) > 1 and _chance(steps[-2]) >= _chance(steps[-1]):
            steps[-2:] = [_joined(*steps[-2:])]
    merged = [steps[0]]
    for step in steps[1:]:
        if merged[-1][0] < least_hits:
            merged[-1] = _joined(merged[-1], step)
        else:
            merged.append(step)
    if len(merged) > 1 and merged[-1][0] < least_hits:
        merged[-2:] = [_joined(*merged[-2:])]
    # The last of several points that round to the same score stays, so that the scores ascend.
    points = {
        round(float(score), DIGITS): round(_chance(step), DIGITS)
        for step in merged
        for score in (step[4:] if flat else step[2:3] / step[1])
    }
    return tuple(points.items())


def _joined(step: NDArray[np.float64], following: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two steps as one: hits, weights, weighted scores and weighted relevance are added."""
    return np.concatenate([step[:4] + following[:4], step[4:5], following[5:]])


def _chance(step: NDArray[np.float64]) -> float:
    """The share of relevant hits in a step.

    Its columns are hits, weights, weighted scores, weighted relevance, the least and the greatest score.
    """
    return float(min(1.0, step[3] / step[1]))


def calibration_error(
    probabilities: NDArray[np.float64], relevant: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> float:
    """Expected calibration error, 0 to 1: how far probabilities are from the share of hits that are relevant.

    The mean over BINS bins of equal width of that distance, weighted by the hits in each. probabilities, relevant: [n].
    weights: float64 [n]; None for equal ones. Source: Naeini, Cooper and Hauskrecht (AAAI 2015).
    """
    weights = np.ones(len(probabilities)) if weights is None else weights
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights * (probabilities - relevant), BINS)
    return float(np.abs(gaps).sum() / weights.sum())
