"""Shapes that stored vectors and questions come in: what approximate answers must find the nearest of, all the same.

Every shape is drawn from a seed of its own, so that a failure is found again. `count` says how many vectors are stored;
the defaults are the fewest, about, that show what was once lost: SIZES has what was reported where that is more.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Array = np.ndarray
Random = np.random.Generator
QUERIES = 40


class Shape(NamedTuple):
    """Stored vectors, vectors that are added when the inverted file is there (or none), and queries; float32 [n, d]."""

    stored: Array
    later: Array
    queries: Array


Draw = Callable[[Random, int], Shape]
SHAPES: dict[str, tuple[Draw, int]] = {}
"""How each is drawn, and how many vectors are stored."""
SIZES = {
    "later, of length 2, 64 numbers": 55_000,
    "later, of length 3, 64 numbers": 55_000,
    "later, of length 3, fewer": 40_000,
    "later, of length 5, 32 numbers": 55_000,
    "later, of length 5, 64 numbers": 55_000,
    "later, of length 10, 64 numbers": 55_000,
    "clusters": 60_000,
    "near-duplicates": 60_000,
    "wide clusters": 20_000,
}
"""How many vectors there were where it was first seen, where that is more than what is drawn for the tests."""


def drawn(name: str, count: int | None = None) -> Shape:
    """The shape of that name, the same every time. count: of stored vectors; None: as many as suit it."""
    draw, usual = SHAPES[name]
    random = np.random.default_rng(list(name.encode()))
    stored, later, queries = draw(random, count or usual)
    assert len(queries) and len(later) <= 0.3 * len(stored)
    return Shape(*(np.ascontiguousarray(some, dtype=np.float32) for some in (stored, later, queries)))


def shape(name: str, count: int = 20_000) -> Callable[[Draw], Draw]:
    """Enters what draws a shape under its name."""

    def enter(draw: Draw) -> Draw:
        SHAPES[name] = draw, count
        return draw

    return enter


def normal(random: Random, count: int, dimension: int) -> Array:
    return random.standard_normal((count, dimension), dtype=np.float32)


def unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def none(dimension: int) -> Array:
    return np.empty((0, dimension), np.float32)


def around(random: Random, centres: Array, count: int, sigma: float) -> Array:
    """Vectors around centres that are picked at random."""
    return centres[random.integers(len(centres), size=count)] + sigma * normal(random, count, centres.shape[1])


def same_kind(vectors: Array) -> Shape:
    """The last vectors as queries, the others stored."""
    return Shape(vectors[:-QUERIES], none(vectors.shape[1]), vectors[-QUERIES:])


def text_like(random: Random, count: int, dimension: int) -> Array:
    """As vectors of texts are: near to a few dozen directions that matter less and less, in loose topics, of length 1."""
    rank = min(dimension, 100)
    directions = np.linalg.qr(normal(random, dimension, rank))[0].T * np.arange(1, rank + 1)[:, None] ** -0.35
    topics = normal(random, max(20, count // 150), rank)
    inner = topics[random.integers(len(topics), size=count)] + 0.9 * normal(random, count, rank)
    mean = normal(random, 1, dimension) / np.sqrt(dimension)
    return unit(
        inner @ directions / np.sqrt(rank) + mean + 0.25 * normal(random, count, dimension) / np.sqrt(dimension)
    )


# Later vectors that lie outside what the codes were fitted to.


def longer(name: str, length: float, dimension: int, count: int = 20_000) -> None:
    @shape(name, count)
    def draw(random: Random, count: int) -> Shape:
        queries = unit(normal(random, QUERIES, dimension))
        queries[::2] *= length
        return Shape(unit(normal(random, count, dimension)), length * unit(normal(random, 300, dimension)), queries)


longer("later, of length 1.3, 48 numbers", 1.3, 48)
longer("later, of length 1.6, 16 numbers", 1.6, 16)
longer("later, of length 2, 64 numbers", 2, 64)
longer("later, of length 3, 64 numbers", 3, 64)
longer("later, of length 3, fewer", 3, 64, 12_000)
longer("later, of length 5, 32 numbers", 5, 32)
longer("later, of length 5, 64 numbers", 5, 64)
longer("later, of length 10, 64 numbers", 10, 64)


@shape("later, drifting away")
def _(random: Random, count: int) -> Shape:
    way = unit(normal(random, 1, 64)) * 4
    steps = np.linspace(0, 1, count // 5)[:, None]
    later = normal(random, count // 5, 64) + steps * way
    queries = normal(random, QUERIES, 64) + np.linspace(0, 1, QUERIES)[:, None] * way
    return Shape(normal(random, count, 64), later, queries)


@shape("later, a new cluster")
def _(random: Random, count: int) -> Shape:
    centre = 3 * unit(normal(random, 1, 64))
    stored = around(random, normal(random, 60, 64), count, 0.5)
    return Shape(stored, around(random, centre, 2_000, 0.1), around(random, centre, QUERIES, 0.1))


@shape("later, near-duplicates")
def _(random: Random, count: int) -> Shape:
    stored = normal(random, count, 64)
    return Shape(stored, around(random, stored[:1], 1_000, 0.05), around(random, stored[:1], QUERIES, 0.05))


@shape("later, much shorter")
def _(random: Random, count: int) -> Shape:
    return Shape(unit(normal(random, count, 48)), 0.01 * normal(random, 1_000, 48), 0.01 * normal(random, QUERIES, 48))


@shape("later, another scale")
def _(random: Random, count: int) -> Shape:
    later = 1_000 * normal(random, 1_000, 32)
    return Shape(
        normal(random, count, 32), later, np.concatenate([normal(random, 20, 32), 1_000 * normal(random, 20, 32)])
    )


@shape("later, numbers that were zero before")
def _(random: Random, count: int) -> Shape:
    stored, later, queries = normal(random, count, 64), normal(random, 1_000, 64), normal(random, QUERIES, 64)
    stored[:, 48:] = 0
    return Shape(stored, later, queries)


@shape("later, many outside")
def _(random: Random, count: int) -> Shape:
    return Shape(unit(normal(random, count, 64)), 2 * unit(normal(random, count // 4, 64)), normal(random, QUERIES, 64))


# Clusters.


@shape("clusters")
def _(random: Random, count: int) -> Shape:
    return same_kind(around(random, normal(random, 60, 64), count + QUERIES, 0.3))


@shape("tight clusters")
def _(random: Random, count: int) -> Shape:
    return same_kind(around(random, normal(random, 30, 48), count + QUERIES, 0.05))


@shape("near-duplicates")
def _(random: Random, count: int) -> Shape:
    alike = around(random, normal(random, 1, 64), 1_000 + QUERIES, 0.05)
    return Shape(np.concatenate([normal(random, count - 1_000, 64), alike[QUERIES:]]), none(64), alike[:QUERIES])


@shape("wide clusters", 6_000)
def _(random: Random, count: int) -> Shape:
    stored = around(random, normal(random, 200, 3_072), count, 0.3)
    return Shape(stored, none(3_072), normal(random, QUERIES // 2, 3_072))


@shape("clusters in clusters")
def _(random: Random, count: int) -> Shape:
    centres = around(random, normal(random, 20, 96), 400, 0.3)
    return same_kind(around(random, centres, count + QUERIES, 0.08))


@shape("clusters of unequal size")
def _(random: Random, count: int) -> Shape:
    centres = normal(random, 200, 64)
    which = np.minimum(random.zipf(1.5, count + QUERIES) - 1, 199)
    return same_kind(centres[which] + 0.2 * normal(random, count + QUERIES, 64))


@shape("clusters, queries between them")
def _(random: Random, count: int) -> Shape:
    centres = normal(random, 60, 64)
    queries = centres[:QUERIES] + centres[20 : 20 + QUERIES]
    return Shape(around(random, centres, count, 0.1), none(64), queries / 2)


@shape("clusters, wide and narrow")
def _(random: Random, count: int) -> Shape:
    centres, sigmas = normal(random, 60, 64), np.geomspace(0.01, 1, 60)
    which = random.integers(60, size=count + QUERIES)
    return same_kind(centres[which] + sigmas[which, None] * normal(random, count + QUERIES, 64))


# How the numbers are spread.


@shape("heavy tails")
def _(random: Random, count: int) -> Shape:
    return same_kind(random.standard_t(2, (count + QUERIES, 64)))


@shape("heavier tails")
def _(random: Random, count: int) -> Shape:
    return same_kind(random.standard_cauchy((count + QUERIES, 48)))


@shape("nearly one-hot")
def _(random: Random, count: int) -> Shape:
    vectors = 0.05 * normal(random, count + QUERIES, 256)
    vectors[np.arange(len(vectors)), random.integers(256, size=len(vectors))] += 1
    return same_kind(vectors)


@shape("normal")
def _(random: Random, count: int) -> Shape:
    return same_kind(normal(random, count + QUERIES, 64))


@shape("even")
def _(random: Random, count: int) -> Shape:
    return same_kind(random.random((count + QUERIES, 64)))


@shape("directions that matter less and less")
def _(random: Random, count: int) -> Shape:
    turn = np.linalg.qr(normal(random, 128, 128))[0]
    return same_kind((normal(random, count + QUERIES, 128) * np.arange(1, 129) ** -1.0) @ turn)


@shape("numbers that matter less and less")
def _(random: Random, count: int) -> Shape:
    return same_kind(normal(random, count + QUERIES, 128) * np.arange(1, 129) ** -1.0)


@shape("few directions and noise")
def _(random: Random, count: int) -> Shape:
    few = normal(random, count + QUERIES, 10) @ normal(random, 10, 256)
    return same_kind(few + 0.3 * normal(random, count + QUERIES, 256))


@shape("mostly zeros, none negative")
def _(random: Random, count: int) -> Shape:
    vectors = random.gamma(1, 1, (count + QUERIES, 128))
    return same_kind(vectors * (random.random(vectors.shape) < 0.05))


@shape("whole numbers")
def _(random: Random, count: int) -> Shape:
    return same_kind(random.integers(-3, 4, (count + QUERIES, 32)))


@shape("zeros and ones")
def _(random: Random, count: int) -> Shape:
    return same_kind(random.random((count + QUERIES, 128)) < 0.3)


@shape("lengths over four orders")
def _(random: Random, count: int) -> Shape:
    return same_kind(unit(normal(random, count + QUERIES, 64)) * 10 ** random.uniform(-2, 2, (count + QUERIES, 1)))


@shape("one huge number")
def _(random: Random, count: int) -> Shape:
    vectors = normal(random, count + QUERIES, 64)
    vectors[:, 7] *= 300
    return same_kind(vectors)


@shape("one number that is sometimes huge")
def _(random: Random, count: int) -> Shape:
    vectors = normal(random, count + QUERIES, 64)
    vectors[random.random(len(vectors)) < 0.002, 7] = 1_000
    return same_kind(vectors)


@shape("far from the origin")
def _(random: Random, count: int) -> Shape:
    return same_kind(normal(random, count + QUERIES, 64) + 100 * unit(normal(random, 1, 64)))


@shape("two scales")
def _(random: Random, count: int) -> Shape:
    vectors = normal(random, count + QUERIES, 64)
    vectors[::2] *= 0.01
    return same_kind(vectors)


@shape("a few long ones")
def _(random: Random, count: int) -> Shape:
    vectors = normal(random, count + QUERIES, 64)
    vectors[random.choice(count, 30, replace=False)] *= 10
    return same_kind(vectors)


@shape("very small numbers")
def _(random: Random, count: int) -> Shape:
    return same_kind(1e-6 * normal(random, count + QUERIES, 48))


@shape("very large numbers")
def _(random: Random, count: int) -> Shape:
    return same_kind(1e6 * normal(random, count + QUERIES, 48))


@shape("half of the numbers are always the same")
def _(random: Random, count: int) -> Shape:
    vectors = normal(random, count + QUERIES, 64)
    vectors[:, ::2] = 0.5
    return same_kind(vectors)


@shape("along a line")
def _(random: Random, count: int) -> Shape:
    places = random.random((count + QUERIES, 1)) * 20
    return same_kind(np.sin(places + np.arange(32) * 0.7) + 0.01 * normal(random, count + QUERIES, 32))


@shape("pairs of opposites")
def _(random: Random, count: int) -> Shape:
    half = normal(random, count // 2, 64)
    return Shape(np.concatenate([half, -half]), none(64), half[:QUERIES] + 0.3 * normal(random, QUERIES, 64))


# Alike, and nothing at all.


@shape("duplicates")
def _(random: Random, count: int) -> Shape:
    some = normal(random, count // 50, 48)
    return Shape(np.repeat(some, 50, axis=0), none(48), normal(random, QUERIES, 48))


@shape("duplicates, queries near them")
def _(random: Random, count: int) -> Shape:
    some = normal(random, count // 7, 48)
    return Shape(np.repeat(some, 7, axis=0), none(48), some[:QUERIES] + 0.05 * normal(random, QUERIES, 48))


@shape("all the same")
def _(random: Random, count: int) -> Shape:
    return Shape(np.repeat(normal(random, 1, 32), count, axis=0), none(32), normal(random, QUERIES, 32))


@shape("zeros among them")
def _(random: Random, count: int) -> Shape:
    vectors = normal(random, count, 48)
    vectors[::10] = 0
    return Shape(vectors, none(48), np.concatenate([normal(random, QUERIES - 5, 48), 0.01 * normal(random, 5, 48)]))


# Queries.


@shape("queries that are stored")
def _(random: Random, count: int) -> Shape:
    vectors = normal(random, count, 64)
    return Shape(vectors, none(64), vectors[:QUERIES])


@shape("queries far outside")
def _(random: Random, count: int) -> Shape:
    return Shape(normal(random, count, 64), none(64), 100 * normal(random, QUERIES, 64))


@shape("queries that ask for one number")
def _(random: Random, count: int) -> Shape:
    return Shape(normal(random, count, 64), none(64), np.eye(64)[:QUERIES])


@shape("queries opposite to everything")
def _(random: Random, count: int) -> Shape:
    centre = 2 * unit(normal(random, 1, 64))
    return Shape(normal(random, count, 64) * 0.2 + centre, none(64), normal(random, QUERIES, 64) * 0.2 - centre)


# Like texts, and other dimensions.


@shape("like texts, 384 numbers")
def _(random: Random, count: int) -> Shape:
    return same_kind(text_like(random, count + QUERIES, 384))


@shape("like texts, 1,536 numbers", 8_000)
def _(random: Random, count: int) -> Shape:
    return same_kind(text_like(random, count + QUERIES, 1_536))


@shape("like texts, told in other words")
def _(random: Random, count: int) -> Shape:
    stored = text_like(random, count, 256)
    return Shape(stored, none(256), unit(stored[:QUERIES] + 0.8 * unit(normal(random, QUERIES, 256))))


@shape("like texts, many nearly the same")
def _(random: Random, count: int) -> Shape:
    stored = text_like(random, count, 384)
    stored[: count // 20] = unit(stored[:1] + 0.02 * normal(random, count // 20, 384) / np.sqrt(384) * 10)
    return Shape(stored, none(384), unit(stored[:QUERIES] + 0.02 * normal(random, QUERIES, 384)))


@shape("two numbers")
def _(random: Random, count: int) -> Shape:
    return same_kind(normal(random, count + QUERIES, 2))


@shape("8 numbers")
def _(random: Random, count: int) -> Shape:
    return same_kind(normal(random, count + QUERIES, 8))


@shape("16 numbers in clusters")
def _(random: Random, count: int) -> Shape:
    return same_kind(around(random, normal(random, 50, 16), count + QUERIES, 0.2))


@shape("100 numbers")
def _(random: Random, count: int) -> Shape:
    return same_kind(around(random, normal(random, 100, 100), count + QUERIES, 0.6))


@shape("131 numbers, not to be divided")
def _(random: Random, count: int) -> Shape:
    return same_kind(around(random, normal(random, 100, 131), count + QUERIES, 0.6))
