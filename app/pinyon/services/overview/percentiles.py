"""Percentiles of a histogram, as Prometheus computes them (histogram_quantile). Pure."""

from collections.abc import Sequence


def percentile(share: float, bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    """The value below which this share (0..1) of the observations is; None if there are none.

    bounds: upper bounds of the buckets, ascending. counts: observations at most as large as each bound, then of all, so
    one more than bounds. Within a bucket the observations are taken to be spread evenly. Beyond the last bound the
    answer is that bound.
    """
    rank = share * counts[-1]
    if counts[-1] <= 0:
        return None
    below = lower = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count >= rank and count > below:
            return lower + (bound - lower) * (rank - below) / (count - below)
        below, lower = count, bound
    return bounds[-1]
