"""Measures reranked searches by late interaction, with token vectors that are stored and with texts that are read.

    python -m benchmarks.stored_tokens [--records 20000] [--precision fp32] [--searches 60]

Searches by text over HTTP, by one client: eight words that were never asked before, hybrid, the 50 best reranked by
pinyon-late-interaction. Every text is an abstract of about 200 tokens with a number of its own; abstracts are embedded
once, and their further copies get the same token vectors and a noisy copy of the vector. So a search takes as long as
with as many abstracts, but says nothing about relevance. The server runs with a cold cache of token vectors.
"""

import argparse
import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from pinyon.domain import EmbedSpec, Fingerprint, IndexSpec, Record
from pinyon.inference import precision as precisions
from pinyon.inference.backend import STORED_TOKENS, Embedder
from pinyon.inference.catalog import Catalog
from pinyon.search import token_codes
from pinyon.storage.sqlite.engine import SqliteEngine
from tqdm import tqdm

from benchmarks import load, many, texts
from benchmarks.vectors import DIMENSION, MODEL, NOISE
from tests.running import PROJECT, RunningServer, config

BATCH, TOP_K, READ, UNREAD = 100, 50, 5, 500
"""READ: searches that read texts, each of which takes seconds. UNREAD: records of their namespace."""
INDEX = "docs"
RERANK = {"model": "pinyon-late-interaction", "rank_fields": ["chunk_text"]}


def bodies(asked: Iterator[str], count: int, rerank: bool) -> list[bytes]:
    """Searches with questions that were never asked before."""
    more = {"rerank": RERANK} if rerank else {}
    return [
        json.dumps({"query": {"top_k": TOP_K, "inputs": {"text": next(asked), "retrieval": "hybrid"}}, **more}).encode()
        for _ in range(count)
    ]


def embedded(embedder: Embedder, some: list[str]) -> Iterator[tuple[np.ndarray, bytes]]:
    """The vector and the stored token vectors of each text."""
    for start in tqdm(range(0, len(some), 16), unit="batch"):
        batch = embedder.embed(some[start : start + 16], "passage", "END", STORED_TOKENS)
        for vector, windows in zip(batch.vectors, batch.windows or [], strict=True):
            yield vector, token_codes.encode(windows)


async def fill(data: Path, records: int, distinct: int, embedder: Embedder, fingerprint: Fingerprint) -> float:
    """Make the index. Returns the bytes of its file for each record."""
    abstracts = texts.abstracts()[:distinct]
    known = list(embedded(embedder, abstracts))
    dice = np.random.default_rng(texts.SEED)
    engine = await SqliteEngine.open_folder(data, 2, 2**31 - 65536)
    embed = EmbedSpec(MODEL, "chunk_text", language="auto", token_vectors="stored")
    await engine.create_index(IndexSpec(INDEX, DIMENSION, "cosine", embed))
    for start in tqdm(range(0, records, BATCH), unit="batch"):
        batch = []
        for number in range(start, min(start + BATCH, records)):
            vector, code = known[number % len(known)]
            if number >= len(known):
                noise = dice.standard_normal(DIMENSION) * NOISE / np.sqrt(DIMENSION)
                vector = vector + noise
                vector = vector / np.linalg.norm(vector)
            text = f"{abstracts[number % len(known)]} {number}"
            batch.append(Record(f"r{number}", np.float32(vector), {"chunk_text": text}, token_codes=code))
        await engine.upsert(INDEX, "a", batch, fingerprint)
        if start < UNREAD:
            plain = [msgspec.structs.replace(record, token_codes=None) for record in batch]
            await engine.upsert(INDEX, "b", plain, fingerprint)
    await engine.upkeep_done()
    await engine.close()
    return (data / "indexes" / f"{INDEX}.sqlite").stat().st_size / records


def measure(records: int, precision: precisions.Precision, distinct: int, searches: int) -> None:
    """Make the index, search it over HTTP, print the table."""
    asked = many.questions()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(PROJECT / "models", folder / "models", ignore=shutil.ignore_patterns("weights"))
        precisions.choose(folder / "models", MODEL, precisions.Choice(precision))
        catalog = Catalog(folder / "models")
        fingerprint = catalog.fingerprint(MODEL)
        size = asyncio.run(fill(folder / "data", records, distinct, catalog.embedder(fingerprint), fingerprint))
        settings = config(folder, MODEL)
        chosen = settings.read_text().replace('name = "quickstart"', f'name = "{INDEX}"')
        settings.write_text(chosen + '\n[index.write_parameters]\ntoken_vectors = "stored"\n')
        server = RunningServer(settings, folder / "data", "--models-dir", str(folder / "models"))
        print(f"{texts.describe()} {records:,} records of {distinct:,} abstracts, {MODEL}, {precision}.")
        print(f"{size / 1e3:.1f} KB of file a record.\n")
        print("| hybrid search over HTTP, one client | p50 ms | p95 ms | ms of processor time |")
        print("|---|---|---|---|", flush=True)
        kinds = {"50 hits, not reranked": False, "50 hits reranked, token vectors stored": True}
        for title, rerank in kinds.items():
            load.closed_loop(server.url, many.SEARCH, bodies(asked, 10, rerank), 1)  # warms up
            report(title, server, bodies(asked, searches, rerank))
        report("50 hits reranked, texts read for the first time", server, bodies(asked, READ, True), "b")
        server.stop()


def report(title: str, server: RunningServer, searches: list[bytes], namespace: str = "a") -> None:
    """Make the searches one after another, and print a row of the table."""
    before = processor_s(server.process.pid)
    _, seconds = load.closed_loop(server.url, f"/records/namespaces/{namespace}/search", searches, 1)
    each = (processor_s(server.process.pid) - before) / len(searches)
    p50, p95 = np.percentile(seconds, [50, 95]) * 1e3
    print(f"| {title} | {p50:.0f} | {p95:.0f} | {each * 1e3:.0f} |", flush=True)


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has used, on Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--precision", default="fp32", choices=precisions.PRECISIONS)
    parser.add_argument("--distinct", type=int, default=1_000, help="abstracts that are embedded")
    parser.add_argument("--searches", type=int, default=60)
    options = parser.parse_args()
    measure(options.records, options.precision, options.distinct, options.searches)
