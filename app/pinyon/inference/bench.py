"""How fast each precision is on this machine, and how close its rankings are to those of fp32.

Each precision is measured in a process of its own, so that its memory can be measured too. The texts are paragraphs of
the documentation, and their first lines are the queries.
"""

import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.errors import FailedPrecondition
from pinyon.inference.catalog import Catalog
from pinyon.inference.child_process import ChildProcess
from pinyon.inference.precision import PRECISIONS, Choice, Precision, computable
from pinyon.inference.steps import finished
from pinyon.settings import Settings

TEXTS, QUERIES, ROUNDS = 64, 16, 3
TOKENS = 256
"""Limit of each text."""
LEAST_AGREEMENT = 0.99
"""Rank correlation with fp32 that a precision needs to be chosen."""
LEAST_SPEED = 1.1
"""How many times as fast as fp32 a precision must be to be chosen. Less could be chance."""
Timer = Callable[[], float]
"""Seconds that count up, from any start. It must be importable, because another process uses it."""


class Measured(msgspec.Struct, frozen=True):
    """One precision.

    per_s: documents or pairs per second. memory: growth of the process in bytes. agreement: mean rank correlation with
    fp32.
    """

    precision: Precision
    per_s: float
    memory: int
    agreement: float


def paragraphs(folder: Path) -> list[str]:
    """Texts to measure with: paragraphs of the Markdown files in a folder and its docs/."""
    files = sorted([*folder.glob("*.md"), *folder.glob("docs/*.md")])
    parts = (part.strip() for file in files for part in file.read_text(encoding="utf-8").split("\n\n"))
    return [part for part in parts if len(part) > 200][:TEXTS]


def measure(
    settings: Settings,
    name: str,
    texts: list[str],
    tell: Callable[[Precision, int, int], None] = lambda precision, which, of: None,
    failed: Callable[[Precision, str], None] = lambda precision, reason: None,
    timer: Timer = time.perf_counter,
    process: ChildProcess | None = None,
) -> Iterator[Measured]:
    """Measure every precision that this machine can compute, fp32 first, and yield each result at once.

    tell: called before each measurement, with the precision, its number from 1, and how many there are. failed: called
    with a precision in which this model cannot be computed, and with the reason; it is left out. process: computes.
    Raises FailedPrecondition if the model cannot be computed in fp32, and Stopped if the process was stopped.
    """
    process = process or ChildProcess()
    available = list(filter(computable, PRECISIONS))
    reference: NDArray[np.float32] | None = None
    for which, precision in enumerate(available, 1):
        tell(precision, which, len(available))
        try:
            scores, seconds, memory = process.run(scored, settings, name, precision, texts, timer)
        except FailedPrecondition as error:
            if reference is None:
                raise
            failed(precision, error.message)
            continue
        reference = scores if reference is None else reference
        work = len(texts) if is_embedder(settings, name) else scores.size
        yield Measured(precision, work / seconds, memory, agreement(reference, scores))


def best(measured: list[Measured]) -> Choice:
    """The fastest precision whose rankings agree with those of fp32, or fp32 if none is clearly faster.

    measured: fp32 comes first.
    """
    fp32 = measured[0]
    good = [one for one in measured if one.agreement >= LEAST_AGREEMENT and one.per_s >= LEAST_SPEED * fp32.per_s]
    fastest = max([*good, fp32], key=lambda one: one.per_s)
    return Choice(fastest.precision, round(fastest.per_s / fp32.per_s, 2), round(fastest.agreement, 4))


def agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean of Spearman's rank correlation over the queries. one, other: scores [queries, documents]."""
    ranks = [np.argsort(np.argsort(scores, axis=1), axis=1).astype(np.float64) for scores in (one, other)]
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*ranks, strict=True)]))


def is_embedder(settings: Settings, name: str) -> bool:
    """Whether the model embeds texts. If not, it reranks pairs."""
    return Catalog.of(settings).entry(name).kind == "embed"


def scored(
    settings: Settings, name: str, precision: Precision, texts: list[str], timer: Timer
) -> tuple[NDArray[np.float32], float, int]:
    """Scores [queries, texts], the seconds that they took, and the memory in bytes. Run it in a process of its own.

    The fastest round counts, because OpenVINO compiles code for every new length of a batch.
    """
    before = _resident()
    model = Catalog.of(settings).bare(name, precision)
    queries = [text.splitlines()[0] for text in texts[:: max(1, len(texts) // QUERIES)]][:QUERIES]
    seconds = []
    if is_embedder(settings, name):
        asked = model.encode([*queries, *texts[:QUERIES]], TOKENS).vectors[: len(queries)]  # this also warms up
        for _ in range(ROUNDS):
            begun = timer()
            vectors = model.encode(texts, TOKENS).vectors
            seconds.append(timer() - begun)
        return asked @ vectors.T, min(seconds), _resident() - before
    texts, rows = texts[:32], []  # a large cross-encoder reads four pairs a second
    finished(model.predict(queries[0], texts[:4], TOKENS))
    for query in queries[:ROUNDS]:
        begun = timer()
        rows.append(finished(model.predict(query, texts, TOKENS)))
        seconds.append(timer() - begun)
    return np.stack(rows), min(seconds) * len(seconds), _resident() - before


def _resident() -> int:
    """Resident memory of this process in bytes."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the maximum so far
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
