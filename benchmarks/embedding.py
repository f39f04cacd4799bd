"""Compares embedding through the service with the model alone and with sentence-transformers, in one run.

    python -m benchmarks.embedding [--precision openvino-bf16]

Measures upserts of 96 abstracts over HTTP; searches by text on an idle server and beside upserts at full speed; and
searches with 1, 8 and 64 clients. Server and clients share two cores.
"""

import argparse
import asyncio
import http.client
import json
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pinyon.inference import precision as precisions
from pinyon.inference.catalog import Catalog

from benchmarks import texts
from benchmarks.vectors import MODEL
from tests.running import PROJECT, RunningServer, config

TEXTS, BATCH, SEARCHES, ROUNDS = 480, 96, 150, 5
HITS = "/records/namespaces/a/search"


def passages() -> list[str]:
    """Texts of about 200 tokens."""
    return texts.abstracts()[:TEXTS]


def questions() -> list[str]:
    """Cranfield's questions, then nq-small's."""
    return texts.questions(("cranfield", "nq-small"))


def bare(kind: str) -> tuple[float, float]:
    """Texts per second of a model alone, and its p50 for a question in ms. Run it in a process of its own."""
    rows, asked = passages(), questions()[:60]
    if kind == "stock":
        from sentence_transformers import SentenceTransformer

        folder = Catalog(PROJECT / "models").folder(MODEL)
        model = SentenceTransformer(str(folder), local_files_only=True)

        def encode(some: list[str]) -> object:
            return model.encode(some, show_progress_bar=False)
    else:
        own = Catalog(PROJECT / "models").bare(MODEL, kind)  # type: ignore[arg-type]

        def encode(some: list[str]) -> object:
            return own.encode(some, 256)

    encode(rows[:32])
    begun = time.perf_counter()
    encode(rows)
    rate = len(rows) / (time.perf_counter() - begun)
    times = []
    for question in asked:
        time.sleep(0.003)  # questions come with pauses, in which the cores fall asleep
        begun = time.perf_counter()
        encode([question])
        times.append(time.perf_counter() - begun)
    return rate, statistics.median(times) * 1e3


def alone(kind: str) -> tuple[float, float]:
    """bare() in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(bare, kind).result()


model: Any = None
"""The model, in the process that is measured in turn with the service."""


def timed(kind: str, some: list[str]) -> float:
    """Seconds that the model takes for texts, in a process that keeps it loaded."""
    global model
    if model is None:
        model = Catalog(PROJECT / "models").bare(MODEL, kind)  # type: ignore[arg-type]
        model.encode(some[:32], 256)
    begun = time.perf_counter()
    model.encode(some, 256)
    return time.perf_counter() - begun


def overhead(url: str, kind: str) -> None:
    """Print the overhead of a search over its model: by the stages in /metrics, and in turn with the model alone."""
    asked = questions()[-2 * SEARCHES - 5 :]
    service = http.client.HTTPConnection(url.removeprefix("http://"))

    def search(question: str) -> float:
        body = json.dumps({"query": {"inputs": {"text": question}, "top_k": 10}})
        begun = time.perf_counter()
        service.request("POST", HITS, body)
        answer = service.getresponse()
        answer.read()
        assert answer.status == 200
        return time.perf_counter() - begun

    def metrics() -> str:
        service.request("GET", "/metrics")
        return service.getresponse().read().decode()

    rows = []
    for question in asked[:SEARCHES]:
        before = stages(metrics())
        time.sleep(0.003)  # as above
        whole = search(question)
        after = stages(metrics())
        told = {name: after[name] - before[name] for name in after}
        parts = told["embed_query"] + told["search"]
        rows.append(told | {"whole": whole, "inside": told["request"] - parts, "beside": whole - parts})
    told = {name: float(np.median([row[name] for row in rows])) * 1e3 for name in rows[0]}
    print(
        f"\nA search by a new text, each part's p50 of {SEARCHES}: {told['whole']:.1f} ms, of which the model takes"
        f" {told['embed_query']:.1f} and the search {told['search']:.2f}. Beside the model and the search of the same"
        f" request: {told['beside']:.2f} ms (mean {statistics.mean(row['beside'] for row in rows) * 1e3:.2f}), of which"
        f" {told['inside']:.2f} in the service, waiting for the model {told['queue']:.2f} of it, the others HTTP and"
        " the client"
    )
    searches, models = [], []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        for question in asked[SEARCHES:]:
            models.append(process.submit(timed, kind, [question]).result())
            searches.append(search(question))
    whole, model = (statistics.median(times[5:]) * 1e3 for times in (searches, models))
    print(
        f"\nIn turn with the bare model in another process, p50: {whole:.1f} ms and {model:.1f} ms, so that the service"
        f" adds {whole - model:.1f} ms, the search among them"
    )


def metric(text: str, name: str) -> dict[str, float]:
    """The values of a metric by their labels, in what /metrics tells."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(f"{name}{{")]
    return {labels.removeprefix(name): float(value) for labels, value in lines}


def stages(text: str) -> dict[str, float]:
    """Seconds of searches and their parts so far, in what /metrics tells."""
    search = '{operation="searchRecordsNamespace",protocol="rest",status="200"}'
    parts = metric(text, "pinyon_stage_seconds_sum")
    told = {name: parts.get(f'{{stage="{name}"}}', 0.0) for name in ("queue", "embed_query", "search")}
    return told | {"request": metric(text, "pinyon_request_seconds_sum").get(search, 0.0)}


def embedded(url: str) -> float:
    """Passages embedded so far."""
    return metric(httpx.get(f"{url}/metrics").text, "pinyon_batch_texts_sum")['{input_type="passage"}']


def lines(part: list[str], first: int) -> str:
    """A body of an upsert."""
    return "\n".join(json.dumps({"_id": f"r{first + n}", "chunk_text": text}) for n, text in enumerate(part))


def percentiles(seconds: list[float]) -> str:
    """p50, p95, p99 in ms, as cells of a table."""
    return " | ".join(f"{value * 1e3:.1f}" for value in np.percentile(seconds, [50, 95, 99]))


async def measure(url: str, kind: str) -> None:
    """Print the tables. kind: how the service computes."""
    rows, asked = passages(), iter(questions())
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=100)) as client:

        async def upsert(first: int) -> None:
            body = lines(rows[first : first + BATCH], first)
            answer = await client.post("/records/namespaces/a/upsert", content=body)
            assert answer.status_code == 201, answer.text

        async def search(text: str) -> float:
            begun = time.perf_counter()
            answer = await client.post(HITS, json={"query": {"inputs": {"text": text}, "top_k": 10}})
            assert answer.status_code == 200, answer.text
            return time.perf_counter() - begun

        await upsert(0)
        taken: dict[str, list[float]] = {"the model alone": [], "one after another": [], "all at once": []}
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            for _ in range(ROUNDS):  # in turns: this may be a machine that is quick now and slow then
                taken["the model alone"].append(process.submit(timed, kind, rows).result())
                begun = time.perf_counter()
                for first in range(0, len(rows), BATCH):
                    await upsert(first)
                taken["one after another"].append(time.perf_counter() - begun)
                begun = time.perf_counter()
                await asyncio.gather(*(upsert(first) for first in range(0, len(rows), BATCH)))
                taken["all at once"].append(time.perf_counter() - begun)
        print("\n| upserts of 96 texts over HTTP, medians of rounds in turn | texts/s | against the model alone |")
        print("|---|---|---|")
        for way, seconds in taken.items():
            ratios = [model / own for model, own in zip(taken["the model alone"], seconds, strict=True)]
            print(f"| {way} | {len(rows) / statistics.median(seconds):.1f} | {statistics.median(ratios):.2f} |")

        print("\n| searches by text, new ones | searches/s | p50 ms | p95 ms | p99 ms |")
        print("|---|---|---|---|---|")
        await asyncio.sleep(3)
        quiet = [await search(next(asked)) for _ in range(SEARCHES)]
        print(f"| 1 client | {1 / statistics.mean(quiet):.0f} | {percentiles(quiet)} |")
        same = next(asked)
        again = [await search(same) for _ in range(SEARCHES)]
        print(f"| 1 client, the same again | {1 / statistics.mean(again):.0f} | {percentiles(again)} |")
        for clients in (8, 64):
            times: list[float] = []

            async def asker(turns: int, times: list[float] = times) -> None:
                for _ in range(turns):
                    times.append(await search(next(asked)))

            begun = time.perf_counter()
            await asyncio.gather(*(asker(max(1, SEARCHES // clients)) for _ in range(clients)))
            rate = len(times) / (time.perf_counter() - begun)
            print(f"| {clients} clients | {rate:.0f} | {percentiles(times)} |")
        stop = False

        async def writer() -> None:
            while not stop:
                await upsert(0)

        writers = [asyncio.create_task(writer()) for _ in range(2)]
        await asyncio.sleep(1)
        begun, before = time.perf_counter(), embedded(url)
        busy = [await search(next(asked)) for _ in range(SEARCHES)]
        rate = (embedded(url) - before) / (time.perf_counter() - begun)
        stop = True
        await asyncio.gather(*writers)
        print(
            f"| 1 client, beside 2 upserting {rate:.0f} texts/s | {1 / statistics.mean(busy):.0f} |"
            f" {percentiles(busy)} |"
        )
        limit = 2 * np.percentile(quiet, 95) * 1e3 + 50
        print(
            f"\np95 beside upserts {np.percentile(busy, 95) * 1e3:.0f} ms; twice the quiet one and 50 ms is"
            f" {limit:.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="openvino-bf16", choices=precisions.PRECISIONS)
    options = parser.parse_args()
    print(f"{texts.describe()} About 200 tokens each; {MODEL}; the service computes in {options.precision}.\n")
    print("| model alone | texts/s | ratio | p50 of a question, ms |")
    print("|---|---|---|---|")
    stock, stock_ms = alone("stock")
    print(f"| sentence-transformers, fp32 | {stock:.1f} | 1.00 | {stock_ms:.1f} |", flush=True)
    raw, raw_ms = alone(options.precision)
    print(f"| Pinyon, {options.precision} | {raw:.1f} | {raw / stock:.2f} | {raw_ms:.1f} |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "models").mkdir()
        shutil.copy(PROJECT / "models" / "manifest.toml", folder / "models")
        precisions.choose(folder / "models", MODEL, precisions.Choice(options.precision))
        server = RunningServer(config(folder, MODEL), folder / "data", "--models-dir", str(folder / "models"))
        asyncio.run(measure(server.url, options.precision))
        overhead(server.url, options.precision)
        server.stop()


if __name__ == "__main__":
    main()
