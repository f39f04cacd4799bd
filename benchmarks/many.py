"""Measures many clients at once, against the bare model in the same run.

    python -m benchmarks.many [--precision fp32] [--threads 1] [--rounds 5] [--token-cache-bytes 0]

Searches by text, each with eight words that were never asked before, by 1, 8 and 64 clients over HTTP: dense, hybrid,
and hybrid and reranked. The bare model computes such questions in batches of 1, 8 and 32, in a process of its own, with
the same threads. Where searches are reranked, it also compares each question with ten of the texts, which are kept in
the same cache of token vectors; with `--token-cache-bytes 0` both read ten texts for each question. Both are measured
in turns. Server, clients and model share the same cores.

Processor times say more than times of the clock on a machine that is busy with other work.

Then how long a short request waits for a long one: an embed of two words that comes half a second after a rerank of 100
documents of 1,450 characters; and small upserts of 50 clients beside searches.
"""

import argparse
import itertools
import json
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from pinyon.inference import precision as precisions
from pinyon.inference.backend import QUERY_TOKENS
from pinyon.inference.backends.reranking.late_interaction import LateInteractionReranker
from pinyon.inference.catalog import Catalog
from pinyon.inference.steps import finished
from pinyon.settings import ModelSettings

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
HIT_CHARACTERS = 200
KINDS: dict[str, dict[str, Any]] = {
    "dense": {"retrieval": "dense"},
    "hybrid": {"retrieval": "hybrid"},
    "hybrid, reranked": {"retrieval": "hybrid", "rerank": {"model": RERANKERS[0], "rank_fields": ["chunk_text"]}},
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


def search(question: str, retrieval: str, **more: Any) -> bytes:
    """The body of a search."""
    inputs = {"text": question, "retrieval": retrieval}
    return json.dumps({"query": {"top_k": TOP_K, "inputs": inputs}, **more}).encode()


def searches(kind: str, asked: Iterator[str], count: int) -> list[bytes]:
    """Bodies of searches of this kind."""
    return [search(question, **KINDS[kind]) for question in itertools.islice(asked, count)]


def record(name: str, text: str) -> str:
    """A line of an upsert."""
    return json.dumps({"_id": name, "chunk_text": text})


model: Any = None
"""The bare model, in its process."""


class Rate(NamedTuple):
    """What was computed in a second, and how much processor time one of them took, in milliseconds."""

    per_s: float
    cpu_ms: float


def bare(models: ModelSettings, precision: precisions.Precision, kind: str, some: Sequence[str], batch: int) -> Rate:
    """Compute questions in batches with the bare model. Ten texts are compared with each if the searches rerank."""
    global model
    if model is None:
        catalog = Catalog(PROJECT / "models", threads=models.threads, token_cache_bytes=models.token_cache_bytes)
        model = catalog.bare(MODEL, precision)
        model.encode(some[:32], 256)
    stored, taken = hit_texts(), 0
    begun, cpu_begun = time.perf_counter(), time.process_time()
    for start in range(0, len(some), batch):
        asked = some[start : start + batch]
        if "rerank" not in KINDS[kind]:
            model.encode(asked, 256)
            continue
        read = model.encode_tokens(asked, "", 256, QUERY_TOKENS)
        for question, windows in zip(asked, read.windows, strict=True):
            reranker = LateInteractionReranker(model, RERANKERS[0], 512, query_windows=windows)
            finished(reranker.score(question, stored[taken : taken + TOP_K], "END"))
            taken = (taken + TOP_K) % RECORDS
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
    return Rate(len(some) / seconds, cpu_seconds / len(some) * 1e3)


def hit_texts() -> list[str]:
    """The texts that are stored and found."""
    return [text[:HIT_CHARACTERS] for text in texts.abstracts()[:RECORDS]]


def measured_clients(url: str, bodies: list[bytes], clients: int) -> tuple[Rate, list[float]]:
    """Searches of so many clients, with the processor time of the clients; and seconds of each search."""
    cpu_begun = time.process_time()
    seconds, each = load.closed_loop(url, SEARCH, bodies, clients)
    return Rate(len(bodies) / seconds, (time.process_time() - cpu_begun) / len(bodies) * 1e3), each


def server_cpu_s(url: str) -> float:
    """Seconds of processor time that the server has used."""
    (line,) = re.findall(r"^process_cpu_seconds_total (\S+)", httpx.get(f"{url}/metrics", timeout=60).text, re.M)
    return float(line)


def check_kind(url: str, kind: str, question: str) -> None:
    """Raises RuntimeError if the server does not search as the kind says. It ignores options that it does not know."""
    asked = json.loads(search(question, **KINDS[kind]))
    asked["query"]["inputs"]["explain"] = True
    answer = httpx.post(f"{url}{SEARCH}", json=asked, timeout=60).raise_for_status()
    (hit, *_) = answer.json()["result"]["hits"]
    by_words = "share" in hit["fields"]["_explain"]
    if by_words != (KINDS[kind]["retrieval"] == "hybrid"):
        raise RuntimeError(f"a search of the kind {kind} was answered by other retrieval: {hit}")


def read_once(url: str) -> None:
    """Let the server read each text once, so that the cache has the token vectors of all hits, if it has room."""
    stored = hit_texts()
    for start in range(0, RECORDS, DOCUMENTS):
        documents = [{"text": text} for text in stored[start : start + DOCUMENTS]]
        body = {"model": RERANKERS[0], "query": "anything", "documents": documents}
        httpx.post(f"{url}/rerank", json=body, timeout=600).raise_for_status()


def throughput(
    url: str, models: ModelSettings, precision: precisions.Precision, rounds: int, asked: Iterator[str]
) -> None:
    """Print the table of searches."""
    print(
        "| searches | clients | bare model/s | searches/s | ratio, median | ratio, best | p50 ms | p95 ms |"
        " processor ms: bare model | server | clients | ratio |"
    )
    print("|" + "---|" * 12, flush=True)
    read_once(url)
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as alone, ProcessPoolExecutor(1, mp_context=context) as clients_of:
        for kind, (clients, batch) in itertools.product(KINDS, COMPARED.items()):
            check_kind(url, kind, next(asked))
            rows = []
            for number in range(rounds + 1):
                count = SEARCHES[clients]
                some = list(itertools.islice(asked, count))
                alone_rate = alone.submit(bare, models, precision, kind, some, batch).result()
                bodies, cpu_begun = searches(kind, asked, count), server_cpu_s(url)
                rate, each = clients_of.submit(measured_clients, url, bodies, clients).result()
                server_ms = (server_cpu_s(url) - cpu_begun) / count * 1e3
                if number:  # the first round warms up
                    times = np.percentile(each, [50, 95]) * 1e3
                    ratio, cpu_ratio = rate.per_s / alone_rate.per_s, alone_rate.cpu_ms / (server_ms + rate.cpu_ms)
                    cpu = alone_rate.cpu_ms, server_ms, rate.cpu_ms, cpu_ratio
                    rows.append((alone_rate.per_s, rate.per_s, ratio, *times, *cpu))
            bare_s, per_s, ratio, p50, p95, bare_ms, server_ms, client_ms, cpu_ratio = np.median(rows, axis=0)
            print(
                f"| {kind} | {clients} | {bare_s:.0f} | {per_s:.0f} | {ratio:.2f} | {max(row[2] for row in rows):.2f} |"
                f" {p50:.0f} | {p95:.0f} | {bare_ms:.1f} | {server_ms:.1f} | {client_ms:.2f} | {cpu_ratio:.2f} |",
                flush=True,
            )


def waits(url: str, rounds: int, asked: Iterator[str]) -> None:
    """Print how long an embed of two words takes: alone, and after a long rerank has begun."""
    words = " ".join(texts.abstracts())
    short_client, long_client = (httpx.Client(base_url=url, timeout=600) for _ in range(2))

    def rerank(reranker: str, number: int) -> None:
        starts = range(number * DOCUMENTS * 50, (number + 1) * DOCUMENTS * 50, 50)  # never read before
        documents = [{"text": words[start : start + CHARACTERS]} for start in starts]
        body = {"model": reranker, "query": next(asked), "documents": documents, "parameters": {"truncate": "END"}}
        long_client.post("/rerank", json=body).raise_for_status()

    def embed() -> float:
        text = " ".join(next(asked).split()[:2])
        body = {"model": MODEL, "inputs": [{"text": text}], "parameters": {"input_type": "passage", "truncate": "END"}}
        return timed(lambda: short_client.post("/embed", json=body).raise_for_status())

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
    parser.add_argument(
        "--token-cache-bytes", type=int, default=ModelSettings().token_cache_bytes, help="of server and bare model"
    )
    options = parser.parse_args()
    asked = questions()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(PROJECT / "models", folder / "models", ignore=shutil.ignore_patterns("weights"))
        settings = config(folder, MODEL)
        models = ModelSettings(threads=options.threads, token_cache_bytes=options.token_cache_bytes)
        changed = f"[models]\nthreads = {models.threads}\ntoken_cache_bytes = {models.token_cache_bytes}"
        settings.write_text(settings.read_text().replace("[models]", changed))
        precisions.choose(folder / "models", MODEL, precisions.Choice(options.precision))
        server = RunningServer(settings, folder / "data", "--models-dir", str(folder / "models"))
        rows = [record(f"r{n}", text) for n, text in enumerate(hit_texts())]
        for start in range(0, len(rows), 96):
            lines = "\n".join(rows[start : start + 96])
            httpx.post(f"{server.url}{UPSERT}", content=lines, timeout=600).raise_for_status()
        threads = f"{options.threads} thread" if options.threads == 1 else f"{options.threads or 'all'} threads"
        print(f"{texts.describe()} {MODEL}, {options.precision}, {threads}. {options.rounds} rounds in turns.")
        waits(server.url, options.rounds, asked)
        small_upserts(server.url, asked)
        print()
        throughput(server.url, models, options.precision, options.rounds, asked)
        server.stop()


if __name__ == "__main__":
    main()
