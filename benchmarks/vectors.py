"""Vectors to measure with: sentences of public collections, embedded once and kept; or made-up vectors.

`python -m benchmarks.vectors` embeds the collections with the quickest precision of this machine and keeps float32
arrays in ~/.cache/pinyon/bench. Larger counts are filled up with noisy copies of real vectors. Where neither the
arrays nor the collections exist, the vectors are made up: seeded, in clusters. load() says how many are real.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import texts

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pinyon" / "bench"
MODEL, DIMENSION = "all-MiniLM-L6-v2", 384
SENTENCES, QUESTIONS = 110_000, 1_000
COLLECTIONS = ("nq-small", "cranfield", "nl2bash", "xquad/en")
"""Where questions come from, the same number of each that has enough."""
MAX_TOKENS = 64
NOISE = 0.5
"""Length of the noise that is added to a vector of length 1. Its cosine with the original is about 0.89."""
CLUSTER = 50
"""Made-up vectors around each centre."""

Vectors = NDArray[np.float32]


def load(count: int, data: Path = texts.DATA, cache: Path = CACHE) -> tuple[Vectors, Vectors, int]:
    """Vectors float32 [count, 384], questions float32 [q, 384], all of unit length, and how many vectors are real."""
    if not (cache / "sentences.npy").exists():
        if not texts.has_collections(data):
            return *_made_up(count), 0
        _embed(data, cache)
    real, asked = np.load(cache / "sentences.npy", mmap_mode="r"), np.load(cache / "questions.npy")
    vectors = np.empty((count, real.shape[1]), np.float32)
    vectors[: len(real)] = real[:count]
    random = np.random.default_rng(0)
    for start in range(len(real), count, 50_000):
        part = vectors[start : start + 50_000]
        part[:] = near(real[random.integers(len(real), size=len(part))], random)
    return vectors, asked, min(count, len(real))


def describe(count: int, real: int) -> str:
    """What load() returned: a phrase for the results page."""
    if not real:
        return f"{count:,} vectors of {DIMENSION} dimensions, all made up (seed 0), because there are no collections"
    others = ", the others are real ones with noise" if real < count else ""
    return f"{count:,} vectors of {DIMENSION} dimensions, {real:,} of real text{others}"


def near(vectors: Vectors, random: np.random.Generator) -> Vectors:
    """Each vector with noise, at unit length."""
    noise = random.standard_normal(vectors.shape, dtype=np.float32)
    moved = vectors + noise * np.float32(NOISE / np.sqrt(vectors.shape[1]))
    unit: Vectors = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return unit


def _made_up(count: int) -> tuple[Vectors, Vectors]:
    """Vectors and questions around the same seeded centres: neighbours are near, as with real texts."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((max(1, count // CLUSTER), DIMENSION), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = np.empty((count, DIMENSION), np.float32)
    for start in range(0, count, 50_000):
        part = vectors[start : start + 50_000]
        part[:] = near(centres[random.integers(len(centres), size=len(part))], random)
    return vectors, near(centres[random.integers(len(centres), size=QUESTIONS)], random)


def split(text: str) -> list[str]:
    """The sentences of a text, about."""
    return re.split(r"(?<=[.!?])\s+", text)


def sentences(data: Path) -> list[str]:
    """The sentences whose vectors load() returns first, in the same order."""
    return _drawn(data)[1]


def _drawn(data: Path) -> tuple[list[str], list[str]]:
    """Questions, and sentences, in a seeded order."""
    order = np.random.default_rng(0).permutation
    questions = texts.questions(COLLECTIONS, QUESTIONS // 4 + 50, data)[:QUESTIONS]
    every = list(_sentences(data))
    return (
        [questions[place] for place in order(len(questions))],
        [every[place] for place in order(len(every))[:SENTENCES]],
    )


def _sentences(data: Path) -> Iterator[str]:
    """Distinct sentences of 40 to 400 characters."""
    seen: set[str] = set()
    for text in texts.passages(data):
        for sentence in split(text):
            if 40 <= len(sentence) <= 400 and sentence not in seen:
                seen.add(sentence)
                yield sentence


def _embed(data: Path, cache: Path) -> None:
    from pinyon.inference.catalog import Catalog
    from pinyon.inference.precision import computable
    from tqdm import tqdm

    encoder = Catalog(texts.PROJECT / "models").bare(MODEL, "openvino-bf16" if computable("openvino-bf16") else "bf16")
    cache.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(("questions", "sentences"), _drawn(data), strict=True):
        parts = [
            encoder.encode(rows[start : start + 256], MAX_TOKENS).vectors
            for start in tqdm(range(0, len(rows), 256), desc=name, disable=None)
        ]
        np.save(cache / f"{name}.npy", np.concatenate(parts))


if __name__ == "__main__":
    _embed(texts.DATA, CACHE)
