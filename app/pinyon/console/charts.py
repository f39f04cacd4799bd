"""Small line charts as SVG: the points of their lines. Pure."""

from collections.abc import Sequence

import msgspec

from pinyon.services.overview.history import Point

WIDTH, HEIGHT = 300.0, 60.0
"""Of a chart, in units of its own."""
NO_LINE = 2
"""Fewest points that make a line."""


class Chart(msgspec.Struct, frozen=True):
    """A chart. lines: names, latest values and paths of its lines; a path is "" where nothing is known.

    top: the value at its upper edge, in words. minutes: of which it tells.
    """

    title: str
    lines: list[tuple[str, str, str]]
    top: str
    minutes: int


def chart(title: str, names: Sequence[str], points: Sequence[Point], unit: str, top: float | None = None) -> Chart:
    """A chart of lines from 0 up. points: each with a value for each line. unit: as in_words() takes it.

    top: the value at the upper edge; None for the largest one.
    """
    columns = [[point.values[place] for point in points] for place in range(len(names))]
    known = [value for column in columns for value in column if value is not None]
    highest = max(known, default=0.0) if top is None else top
    span = max((point.age for point in points), default=0.0)
    lines = []
    for name, column in zip(names, columns, strict=True):
        latest = next((value for value in reversed(column) if value is not None), None)
        places = [
            (WIDTH * (1 - point.age / span), HEIGHT * (1 - value / highest))
            for point, value in zip(points, column, strict=True)
            if value is not None and span > 0 and highest > 0
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places) if len(places) >= NO_LINE else ""
        lines.append((name, "-" if latest is None else in_words(latest, unit), path))
    return Chart(title, lines, in_words(highest, unit), round(span / 60))


def in_words(value: float, unit: str) -> str:
    """A value with its unit: "s" for seconds, "B" for bytes, "share" for 0..1, any other one stands behind it."""
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "B":
        for size, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if value >= size:
                return f"{value / size:,.1f} {name}"
        return f"{value:.0f} bytes"
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:,.3g} {unit}"
