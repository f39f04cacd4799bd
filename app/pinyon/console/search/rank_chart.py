"""A chart of how hits change their ranks from column to column. Pure."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from pinyon.console.page_weight import shortened
from pinyon.console.search.cards import Card

WIDTH, ROW, TOP = 100, 14, 6
"""Units of the picture: between two columns, between two ranks, and above the first one."""


class Line(msgspec.Struct, frozen=True):
    """A hit between two columns that both have it. number: as in Card. moved: ranks that it rises."""

    number: int
    id: str
    x1: int
    y1: int
    x2: int
    y2: int
    moved: int


class Dot(msgspec.Struct, frozen=True):
    """A hit in a column."""

    number: int
    id: str
    rank: int
    x: int
    y: int


class RankChart(msgspec.Struct, frozen=True):
    """The picture. width, height: in its own units."""

    width: int
    height: int
    lines: list[Line]
    dots: list[Dot]


def of_cards(columns: Sequence[Sequence[Card]]) -> RankChart | None:
    """The chart of the cards of all columns; None if there is nothing to compare."""
    if sum(map(bool, columns)) < 2:
        return None
    dots = [
        [Dot(card.number, shortened(card.id, 40), card.rank, WIDTH * place + WIDTH // 2, TOP + ROW * (card.rank - 1))
         for card in cards]
        for place, cards in enumerate(columns)
    ]  # fmt: skip
    lines = []
    for left, right in pairwise(dots):
        by_number = {dot.number: dot for dot in left}
        for dot in right:
            if (before := by_number.get(dot.number)) is not None:
                moved = before.rank - dot.rank
                lines.append(Line(dot.number, dot.id, before.x, before.y, dot.x, dot.y, moved))
    height = 2 * TOP + ROW * (max(map(len, columns)) - 1)
    return RankChart(WIDTH * len(columns), height, lines, [dot for column in dots for dot in column])
