"""Texts to measure with: public collections from ../shared/data (or $PINYON_BENCH_DATA), or made-up ones.

Where the collections are missing, every function returns texts that a seeded generator makes from the words of this
project's documentation. Times with them are comparable with each other, but not with times of real texts, so
benchmarks print describe().
"""

import gzip
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).parents[1]
DATA = Path(os.environ.get("PINYON_BENCH_DATA", PROJECT.parent / "shared" / "data"))
SEED = 0
ABSTRACT_WORDS, QUESTION_WORDS = 150, 9
"""Words of made-up texts: about as many tokens as Cranfield's abstracts and questions have."""
MADE_UP = 2_000
"""How many made-up abstracts, or questions, there are."""


def has_collections(data: Path = DATA) -> bool:
    """Whether the public collections are on this machine."""
    return (data / "retrieval").is_dir()


def describe(data: Path = DATA) -> str:
    """Which texts this run uses: a sentence for the results page."""
    if has_collections(data):
        return "Texts of public collections."
    return f"Made-up texts (seed {SEED}), because {data} has no collections."


def abstracts(data: Path = DATA) -> list[str]:
    """Texts of about 200 tokens: Cranfield's abstracts."""
    if not has_collections(data):
        return list(made_up(MADE_UP, ABSTRACT_WORDS, SEED))
    return [text for text in column(data / "retrieval" / "cranfield" / "corpus.jsonl") if text]


def passages(data: Path = DATA) -> Iterator[str]:
    """Every text of every collection."""
    if not has_collections(data):
        yield from made_up(MADE_UP, ABSTRACT_WORDS, SEED)
        return
    for file in sorted(data.glob("retrieval/*/corpus.jsonl")):
        yield from column(file)
    for file in sorted(data.glob("train/*.jsonl.gz")):
        for line in gzip.decompress(file.read_bytes()).splitlines():
            row = json.loads(line)
            yield from (row["positive"], *row["negatives"])


def questions(collections: Sequence[str], each: int | None = None, data: Path = DATA) -> list[str]:
    """Questions of these collections, at most `each` of one."""
    if not has_collections(data):
        return list(made_up(MADE_UP, QUESTION_WORDS, SEED + 1))
    return [text for name in collections for text in column(data / "retrieval" / name / "queries.jsonl")[:each]]


def made_up(count: int, words: int, seed: int) -> Iterator[str]:
    """Sentences of words from the documentation, drawn as often as they occur there. The same seed, the same texts."""
    pages = (page.read_text(encoding="utf-8") for page in sorted(PROJECT.glob("docs/*.md")))
    known, often = np.unique(re.findall(r"[a-z]{2,}", "\n".join(pages).lower()), return_counts=True)
    drawn = np.random.default_rng(seed).choice(known, (count, words), p=often / often.sum())
    for row in drawn:
        yield f"{' '.join(row)}.".capitalize()


def column(file: Path) -> list[str]:
    """The texts of a file of JSON lines."""
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]
