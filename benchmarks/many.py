"""Measures many clients at once, against the bare model in the same run.

    python -m benchmarks.many [--precision fp32] [--threads 1] [--rounds 5]

Searches by text, each with eight words that were never asked before, by 1, 8 and 64 clients over HTTP: dense, hybrid,
and hybrid and reranked. The bare model computes such questions in batches of 1, 8 and 32, in a process of its own. Both
are measured in turns. Server, clients and model share the same cores.

Then how long a short request waits for a long one: an embed of two words that comes half a second after a rerank of 100
documents of 1,450 characters; and small upserts of 50 clients beside searches.
"""

import argparse
import itertools
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pinyon.inference import precision as precisions
from pinyon.inference.catalog import Catalog

from benchmarks import load, texts
from benchmarks.vectors import MODEL
from tests.running import PROJECT, RunningServer, config

COMPARED = {1: 1, 8: 8, 64: 32}
"""Numbers of clients, and the batch of the bare model that they are compared with."""
SEARCHES = {1: 60, 8: 240, 64: 640}
"""Searches of a round, by the number of clients."""
RECORDS, DOCUMENTS, CHARACTERS, TOP_K = 480, 100, 1_450, 10
RERANKERS = ("pinyon-late-interaction", "pinyon-rerank-mini")
SEARCH, UPSERT = "/records/namespaces/a/search", "/records/namespaces/a/upsert"
KINDS: dict[str, dict[str, Any]] = {
    "dense": {"query": {"top_k": TOP_K, "retrieval": "dense"}},
    "hybrid": {"query": {"top_k": TOP_K, "retrieval": "hybrid"}},
    "hybrid, reranked": {
        "query": {"top_k": TOP_K, "retrieval": "hybrid"},
        "rerank": {"model": RERANKERS[0], "rank_fields": ["chunk_text"]},
    },
}


def questions() -> Iterator[str]:
    """Eight words each, and no two alike: pieces of the abstracts."""
    words = " ".join(texts.abstracts()).split()
    dice, seen = np.random.default_rng(texts.SEED), set[str]()
    while True:
        start = int(dice.integers(0, len(words) - 8))
        question = " ".join(words[start : start + 8])
        if question not in seen:
            seen.add(question)
            yield question


def searches(kind: str, asked: Iterator[str], count: int) -> list[bytes]:
    """Bodies of searches of this kind."""
    body = KINDS[kind]
    return [
        json.dumps({**body, "query": {**body["query"], "inputs": {"text": question}}}).encode()
        for question in itertools.islice(asked, count)
    ]


def record(name: str, text: str) -> str:
    """A line of an upsert."""
    return json.dumps({"_id": name, "chunk_text": text})


model: Any = None
"""The bare model, in its process."""


def bare(precision: str, threads: int, some: Sequence[str], batch: int) -> float:
    """Questions per second that the bare model computes in batches."""
    global model
    if model is None:
        model = Catalog(PROJECT / "models", threads=threads).bare(MODEL, precision)  # type: ignore[arg-type]
        model.encode(some[:32], 256)
    begun = time.perf_counter()
    for start in range(0, len(some), batch):
        model.encode(some[start : start + batch], 256)
    return len(some) / (time.perf_counter() - begun)


def throughput(url: str, precision: str, threads: int, rounds: int, asked: Iterator[str]) -> None:
    """Print the table of searches."""
    print("| searches | clients | bare model/s | searches/s | ratio, median | ratio, best | p50 ms | p95 ms |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as alone, ProcessPoolExecutor(1, mp_context=context) as clients_of:
        for kind, (clients, batch) in itertools.product(KINDS, COMPARED.items()):
            rows = []
            for number in range(rounds + 1):
                count = SEARCHES[clients]
                rate = alone.submit(bare, precision, threads, list(itertools.islice(asked, count)), batch).result()
                bodies = searches(kind, asked, count)
                seconds, each = clients_of.submit(load.closed_loop, url, SEARCH, bodies, clients).result()
                if number:  # the first round warms up
                    rows.append((rate, count / seconds, count / seconds / rate, *np.percentile(each, [50, 95]) * 1e3))
            told = np.median(rows, axis=0)
            print(
                f"| {kind} | {clients} | {told[0]:.0f} | {told[1]:.0f} | {told[2]:.2f} |"
                f" {max(row[2] for row in rows):.2f} | {told[3]:.0f} | {told[4]:.0f} |",
                flush=True,
            )


def waits(url: str, rounds: int, asked: Iterator[str]) -> None:
    """Print how long an embed of two words takes: alone, and after a long rerank has begun."""
    words = " ".join(texts.abstracts())

    def rerank(reranker: str, number: int) -> None:
        starts = range(number * DOCUMENTS * 50, (number + 1) * DOCUMENTS * 50, 50)  # never read before
        documents = [{"text": words[start : start + CHARACTERS]} for start in starts]
        body = {"model": reranker, "query": next(asked), "documents": documents, "parameters": {"truncate": "END"}}
        httpx.post(f"{url}/rerank", json=body, timeout=600).raise_for_status()

    def embed() -> float:
        text = " ".join(next(asked).split()[:2])
        body = {"model": MODEL, "inputs": [{"text": text}], "parameters": {"input_type": "passage", "truncate": "END"}}
        return timed(lambda: httpx.post(f"{url}/embed", json=body, timeout=600).raise_for_status())

    print("\n| an embed of two words, p50 of rounds | s | the rerank, s |")
    print("|---|---|---|")
    print(f"| alone | {np.median([embed() for _ in range(max(5, rounds))]):.3f} | |", flush=True)
    for place, reranker in enumerate(RERANKERS):
        short, long = [], []
        for number in range(rounds):
            begun = time.perf_counter()
            thread = threading.Thread(target=rerank, args=(reranker, place * rounds + number))
            thread.start()
            time.sleep(0.5)
            short.append(embed())
            thread.join()
            long.append(time.perf_counter() - begun)
        print(
            f"| half a second after a rerank of {DOCUMENTS} documents by {reranker} began | {np.median(short):.3f} |"
            f" {np.median(long):.1f} |",
            flush=True,
        )


def small_upserts(url: str, asked: Iterator[str]) -> None:
    """Print what 50 clients store that upsert one short text each, beside 8 clients that search."""
    count = 400
    bodies = [record(f"s{n}", text).encode() for n, text in enumerate(itertools.islice(asked, count))]
    found: list[tuple[float, list[float]]] = []
    bodies_of_searches = searches("dense", asked, count)
    thread = threading.Thread(target=lambda: found.append(load.closed_loop(url, SEARCH, bodies_of_searches, 8)))
    thread.start()
    seconds, each = load.closed_loop(url, UPSERT, bodies, 50)
    thread.join()
    print("\n| side by side | /s | p50 ms | p95 ms | slowest ms |")
    print("|---|---|---|---|---|")
    measured = {"50 clients, an upsert of one text each": (seconds, each), "8 clients that search": found[0]}
    for name, (whole, times) in measured.items():
        p50, p95 = np.percentile(times, [50, 95]) * 1e3
        print(f"| {name} | {count / whole:.0f} | {p50:.0f} | {p95:.0f} | {max(times) * 1e3:.0f} |", flush=True)


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="fp32", choices=precisions.PRECISIONS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of the model; 1 on a machine that is busy otherwise")
    options = parser.parse_args()
    asked = questions()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(PROJECT / "models", folder / "models", ignore=shutil.ignore_patterns("weights"))
        settings = config(folder, MODEL)
        settings.write_text(settings.read_text().replace("[models]", f"[models]\nthreads = {options.threads}"))
        precisions.choose(folder / "models", MODEL, precisions.Choice(options.precision))
        server = RunningServer(settings, folder / "data", "--models-dir", str(folder / "models"))
        rows = [record(f"r{n}", text[:200]) for n, text in enumerate(texts.abstracts()[:RECORDS])]
        for start in range(0, len(rows), 96):
            lines = "\n".join(rows[start : start + 96])
            httpx.post(f"{server.url}{UPSERT}", content=lines, timeout=600).raise_for_status()
        threads = f"{options.threads} thread" if options.threads == 1 else f"{options.threads or 'all'} threads"
        print(f"{texts.describe()} {MODEL}, {options.precision}, {threads}. {options.rounds} rounds in turns.")
        waits(server.url, options.rounds, asked)
        small_upserts(server.url, asked)
        print()
        throughput(server.url, options.precision, options.threads, options.rounds, asked)
        server.stop()


if __name__ == "__main__":
    main()
