"""Vectors of real text to measure with: sentences of public collections, embedded once and kept.

`python -m benchmarks.vectors` embeds what ../shared/data holds (or $PINYON_BENCH_DATA), with the quickest way this
machine has, and keeps float32 arrays in ~/.cache/pinyon/bench. Beyond what is there, real vectors get noise, and
load() says so.
"""

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DATA = Path(os.environ.get("PINYON_BENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pinyon" / "bench"
MODEL = "all-MiniLM-L6-v2"
SENTENCES, QUESTIONS = 110_000, 1_000
MAX_TOKENS = 64
NOISE = 0.5
"""Length of the noise beside a vector of length 1: its cosine with where it came from is about 0.89."""

Vectors = NDArray[np.float32]


def sentences() -> Iterator[str]:
    """Distinct sentences of 40 to 400 characters."""
    seen: set[str] = set()
    for text in _passages():
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            if 40 <= len(sentence) <= 400 and sentence not in seen:
                seen.add(sentence)
                yield sentence


def _passages() -> Iterator[str]:
    for file in sorted(DATA.glob("retrieval/*/corpus.jsonl")):
        for line in file.open(encoding="utf-8"):
            yield json.loads(line)["text"]
    for file in sorted(DATA.glob("train/*.jsonl.gz")):
        for line in gzip.decompress(file.read_bytes()).splitlines():
            row = json.loads(line)
            yield from (row["positive"], *row["negatives"])


def questions() -> list[str]:
    """Real questions, the same number of each collection that has enough."""
    found: list[str] = []
    for name in ("nq-small", "cranfield", "nl2bash", "xquad/en"):
        lines = (DATA / "retrieval" / name / "queries.jsonl").open(encoding="utf-8")
        found += [json.loads(line)["text"] for line in lines][: QUESTIONS // 4 + 50]
    return found[:QUESTIONS]


def load(count: int) -> tuple[Vectors, Vectors, int]:
    """Vectors float32 [count, 384] and questions float32 [q, 384], unit length, and how many are of real text."""
    if not (CACHE / "sentences.npy").exists():
        _embed()
    real, asked = np.load(CACHE / "sentences.npy", mmap_mode="r"), np.load(CACHE / "questions.npy")
    vectors = np.empty((count, real.shape[1]), np.float32)
    vectors[: len(real)] = real[:count]
    random = np.random.default_rng(0)
    for start in range(len(real), count, 50_000):
        part = vectors[start : start + 50_000]
        part[:] = real[random.integers(len(real), size=len(part))]
        noise = random.standard_normal(part.shape, dtype=np.float32)
        part += noise * np.float32(NOISE / np.sqrt(part.shape[1]))
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors, asked, min(count, len(real))


def _embed() -> None:
    from pinyon.inference.catalog import Catalog
    from pinyon.inference.precision import computable
    from tqdm import tqdm

    encoder = Catalog(Path(__file__).parents[1] / "models").bare(
        MODEL, "openvino-bf16" if computable("openvino-bf16") else "bf16"
    )
    CACHE.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(0).permutation
    for name, texts in (("questions", questions()), ("sentences", list(sentences()))):
        texts = [texts[place] for place in order(len(texts))[:SENTENCES]]
        parts = [
            encoder.encode(texts[start : start + 256], MAX_TOKENS).vectors
            for start in tqdm(range(0, len(texts), 256), desc=name, disable=None)
        ]
        np.save(CACHE / f"{name}.npy", np.concatenate(parts))


if __name__ == "__main__":
    _embed()
