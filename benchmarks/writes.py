"""Measures writes through the storage engine: upserts of 1,000 records with five fields, and single records from 64
writers. A write counts once it is on disk.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
from pinyon.domain import IndexSpec, Record
from pinyon.storage.sqlite.engine import SqliteEngine

DIMENSION, BATCH, WRITERS, EACH = 384, 1_000, 64, 40


def record(place: int, vector: np.ndarray) -> Record:
    """A record with five fields of the kinds that filters use."""
    fields = {
        "title": f"Document number {place}",
        "category": f"category {place % 20}",
        "year": 1990 + place % 35,
        "price": place % 1000 / 10,
        "public": place % 2 == 0,
    }
    return Record(f"doc-{place:07}", vector, fields)


async def measure(records: int) -> None:
    """Measure, and print a table."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((records, DIMENSION)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        engine = await SqliteEngine.open_folder(Path(folder), 2, 2**31 - 65536, cache_bytes=2**29)
        await engine.create_index(IndexSpec("docs", DIMENSION, "cosine"))
        rates = []
        for start in range(0, records, BATCH):
            batch = [record(place, vectors[place]) for place in range(start, start + BATCH)]
            begun = time.perf_counter()
            await engine.upsert("docs", "a", batch)
            rates.append(BATCH / (time.perf_counter() - begun))
        whole = 1 / np.mean(1 / np.array(rates))

        times: list[float] = []

        async def writer(number: int) -> None:
            for turn in range(EACH):
                one = record(records + number * EACH + turn, vectors[turn])
                begun = time.perf_counter()
                await engine.upsert("docs", "a", [one])
                times.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        await asyncio.gather(*(writer(number) for number in range(WRITERS)))
        single = len(times) / (time.perf_counter() - begun)
        p50, p99 = np.percentile(times, [50, 99]) * 1e3
        await engine.close()
    batch_ms = np.median(BATCH / np.array(rates)) * 1e3
    print("| what | records/s | p50 ms | p99 ms |")
    print("|---|---|---|---|")
    print(f"| {records:,} records, {BATCH:,} at a time | {whole:,.0f} | {batch_ms:.1f} | |")
    print(f"| one at a time, {WRITERS} writers | {single:,.0f} | {p50:.1f} | {p99:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=50_000)
    asyncio.run(measure(parser.parse_args().records))
