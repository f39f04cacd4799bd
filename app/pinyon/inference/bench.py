"""`pinyon models bench`: how quick each precision is on this machine, and how far it is from fp32.

Each is measured in a process of its own, so that its memory is its own. The texts are the paragraphs of this project's
documents, the queries their first lines.
"""

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.inference.catalog import Catalog
from pinyon.inference.precision import PRECISIONS, Precision, computable

Models = tuple[Path, Mapping[str, str]]
"""The models folder, and [models.paths] of the settings."""
TEXTS = 128
QUERIES = 16
TOKENS = 256
LEAST_AGREEMENT = 0.99
"""Rank correlation with fp32 that a precision must have to be chosen."""


class Measured(msgspec.Struct, frozen=True):
    """per_s: documents or pairs. memory: bytes the process grew by. agreement: mean rank correlation with fp32."""

    precision: Precision
    per_s: float
    memory: int
    agreement: float


def paragraphs(folder: Path) -> list[str]:
    """Texts to measure with: paragraphs of the Markdown files in a folder."""
    files = sorted([*folder.glob("*.md"), *folder.glob("docs/*.md")])
    parts = (part.strip() for file in files for part in file.read_text(encoding="utf-8").split("\n\n"))
    return [part for part in parts if len(part) > 200][:TEXTS]


def measure(
    models: Models,
    name: str,
    threads: int,
    texts: list[str],
    tell: Callable[[Precision, int, int], None] = lambda precision, which, of: None,
) -> Iterator[Measured]:
    """Every precision of a model that can be computed here, fp32 first, each as soon as it is measured.

    tell: called before each, with its number from 1 and how many there are.
    """
    here = list(filter(computable, PRECISIONS))
    reference: NDArray[np.float32] | None = None
    for which, precision in enumerate(here, 1):
        tell(precision, which, len(here))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            scores, seconds, memory = process.submit(scored, models, name, precision, threads, texts).result()
        reference = scores if reference is None else reference
        work = len(texts) if is_embedder(models, name) else scores.size
        yield Measured(precision, work / seconds, memory, agreement(reference, scores))


def best(measured: list[Measured]) -> Precision:
    """The quickest that ranks as fp32 does."""
    good = [one for one in measured if one.agreement >= LEAST_AGREEMENT]
    return max(good, key=lambda one: one.per_s).precision


def agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean over the rows of Spearman's rank correlation; scores [queries, documents]."""
    ranks = [np.argsort(np.argsort(scores, axis=1), axis=1).astype(np.float64) for scores in (one, other)]
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*ranks, strict=True)]))


def is_embedder(models: Models, name: str) -> bool:
    """Whether the model embeds texts; else it reranks pairs."""
    return Catalog(*models).entry(name).kind == "embed"


def scored(
    models: Models, name: str, precision: Precision, threads: int, texts: list[str]
) -> tuple[NDArray[np.float32], float, int]:
    """Scores of every query against every text, the seconds that took, and the memory; in a process of its own."""
    before = _resident()
    model = Catalog(*models, threads=threads).bare(name, precision)
    queries = [text.splitlines()[0] for text in texts[:: max(1, len(texts) // QUERIES)]][:QUERIES]
    if is_embedder(models, name):
        asked = model.encode([*queries, *texts[:QUERIES]], TOKENS).vectors[: len(queries)]  # and warm up
        begun = time.perf_counter()
        scores = asked @ model.encode(texts, TOKENS).vectors.T
    else:
        texts = texts[:32]  # a large cross-encoder reads four pairs a second
        model.predict(queries[0], texts[:4], TOKENS)
        begun = time.perf_counter()
        scores = np.stack([model.predict(query, texts, TOKENS) for query in queries[:4]])
    return scores, time.perf_counter() - begun, _resident() - before


def _resident() -> int:
    """Bytes of memory this process holds."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the most it ever held
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
