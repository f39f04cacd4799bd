"""Compares imports with the same rows through upserts in the same process, and with the model alone.

    python -m benchmarks.imports [--records 100000] [--texts 480] [--skip-upserts]

Vectors have 384 numbers and two fields, in one Parquet file. They are made up around centres, as near as those of real
texts. Upserts are calls of the service in this process, 1,000 vectors each. Texts have about 200 tokens, in one file of
JSON lines. Memory is that of the whole process: `own` without the pages of files that the system has in memory anyway.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import numpy as np
from pinyon.domain import Index
from pinyon.formats import files
from pinyon.formats.rows import Row
from pinyon.server import OpenParts, Service
from pinyon.services.control_plane import index_rules
from pinyon.services.control_plane.addresses import Addresses
from pinyon.services.control_plane.index_rules import IndexOptions
from pinyon.services.data_plane.vectors import RawVector
from pinyon.settings_loader import load

from benchmarks import texts
from benchmarks.vectors import MODEL, near
from tests.running import config

DIMENSION, BATCH, ROUNDS = 384, 1_000, 3
CENTRES = 2_000
PORTS = range(20_000, 20_010)


def rows(first: int, count: int) -> list[Row]:
    """Made-up vectors with two fields; the same every time."""
    random = np.random.default_rng(first + 1)
    centres = np.random.default_rng(0).standard_normal((CENTRES, DIMENSION), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = near(centres[random.integers(CENTRES, size=count)], random)
    return [
        Row(0, f"doc-{first + place:07}", vector, None, {"year": 1990 + place % 35, "category": f"c{place % 20}"})
        for place, vector in enumerate(vectors)
    ]


def write(file: Path, records: int) -> None:
    """Write the vectors to a Parquet file."""
    with file.open("wb") as stream:
        writer = files.writer(stream, "parquet", sparse=False)
        for first in range(0, records, BATCH):
            writer.write(rows(first, BATCH))
        writer.close()


@contextmanager
def peaks(most: dict[str, float]) -> Iterator[None]:
    """Note the largest memory of this process meanwhile, in MB."""
    done = threading.Event()

    def watch() -> None:
        while True:
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            for name, field in (("own", "RssAnon"), ("all", "VmRSS")):
                most[name] = max(most.get(name, 0.0), int(status[field].split()[0]) / 1024)
            if done.wait(0.1):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[tuple[Service, OpenParts]]:
    """The service in this process, which may import from the folder."""
    path = config(folder, MODEL, more=f"\n[import]\nallow = [{json.dumps(str(folder))}]\n")
    told = {"data_dir": str(folder / "data"), "precision": "fp32"}
    running = Service(load(path, {}, told), Addresses("localhost", 5081, PORTS, PORTS))
    ready = asyncio.Event()

    def failed(error: Exception) -> None:
        raise error

    async with running.running(ready.set, failed):
        await ready.wait()
        yield running, running.parts


async def new_index(parts: OpenParts, name: str) -> Index:
    spec = index_rules.plain(name, "dense", DIMENSION, "cosine", parts.indexes.max_dimension)
    return await parts.indexes.create(spec, IndexOptions())


async def imported(parts: OpenParts, index: Index, file: Path) -> float:
    """Seconds that an import of a file takes, from the request until it is completed."""
    begun = time.perf_counter()
    id = await parts.imports.start(index, str(file))
    while (job := parts.imports.describe(index, id).job).status in ("Pending", "InProgress"):
        await asyncio.sleep(0.05)
    assert job.status == "Completed", job
    return time.perf_counter() - begun


async def upserted(parts: OpenParts, index: Index, records: int) -> float:
    """Seconds that the same rows take in upserts. Making them up does not count."""
    seconds = 0.0
    for first in range(0, records, BATCH):
        raw = [RawVector(row.id, row.values, None, row.fields) for row in rows(first, BATCH)]
        begun = time.perf_counter()
        await parts.vectors.upsert(index, "", raw)
        seconds += time.perf_counter() - begun
    return seconds


async def measure_vectors(parts: OpenParts, folder: Path, records: int, upserts: bool) -> None:
    file = folder / "vectors.parquet"
    writer = multiprocessing.get_context("spawn").Process(target=write, args=(file, records))
    writer.start()  # a process of its own, whose memory does not count
    await asyncio.to_thread(writer.join)
    assert writer.exitcode == 0
    print("\n| vectors | rows/s | seconds | own memory, MB | with pages of files, MB |\n|---|---|---|---|---|")

    def line(what: str, seconds: float, memory: dict[str, float]) -> None:
        cells = f"{seconds:.1f} | {memory['own']:.0f} | {memory['all']:.0f}"
        print(f"| {what} | {records / seconds:,.0f} | {cells} |", flush=True)

    with peaks(memory := {}):
        await asyncio.sleep(1)
    print(f"| at rest | | | {memory['own']:.0f} | {memory['all']:.0f} |")
    with peaks(memory := {}):
        own = await imported(parts, await new_index(parts, "imported"), file)
    line(f"an import, {records:,}", own, memory)
    with peaks(memory := {}):
        begun = time.perf_counter()
        await parts.engine.upkeep_done()
        building = time.perf_counter() - begun
    if building >= 0.1:  # small namespaces have none
        line("its search index, built afterwards", building, memory)
    if upserts:
        with peaks(memory := {}):
            other = await upserted(parts, await new_index(parts, "upserted"), records)
        line(f"upserts in this process, {records:,}", other, memory)
        print(f"\nThe import takes {own / other:.2f} times as long as the upserts.")


async def measure_texts(running: Service, parts: OpenParts, folder: Path, count: int) -> None:
    abstracts = texts.abstracts()[:count]
    file = folder / "texts.jsonl"
    file.write_text(
        "".join(json.dumps({"_id": f"t{n}", "chunk_text": text}) + "\n" for n, text in enumerate(abstracts))
    )
    index = parts.indexes.index("quickstart")
    model = running.catalog.bare(MODEL, "fp32")
    await running.executor.run(model.encode, abstracts[:32], 256)
    ratios, cpu, own = [], [], []
    for _ in range(ROUNDS):  # in turns: this may be a machine that is quick now and slow then
        begun, used = time.perf_counter(), time.process_time()
        await running.executor.run(model.encode, abstracts, 256)
        bare, bare_cpu = time.perf_counter() - begun, time.process_time() - used
        used = time.process_time()
        own.append(await imported(parts, index, file))
        ratios.append(bare / own[-1])
        cpu.append(bare_cpu / (time.process_time() - used))
    rate = len(abstracts) / statistics.median(own)
    print("\n| texts | texts/s | against the model alone | in processor time |\n|---|---|---|---|")
    share, of_cpu = statistics.median(ratios), statistics.median(cpu)
    print(f"| an import, {len(abstracts):,} | {rate:.1f} | {share:.2f} | {of_cpu:.2f} |")


async def measure(records: int, count: int, upserts: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with service(folder) as (running, parts):
            if records:
                await measure_vectors(parts, folder, records, upserts)
            if count:
                await measure_texts(running, parts, folder, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="vectors; 0 for none")
    parser.add_argument("--texts", type=int, default=480, help="texts; 0 for none")
    parser.add_argument("--skip-upserts", action="store_true", help="measure the import alone")
    options = parser.parse_args()
    print(f"{DIMENSION} numbers, two fields. {texts.describe()} {MODEL}, fp32.")
    asyncio.run(measure(options.records, options.texts, not options.skip_upserts))


if __name__ == "__main__":
    main()
