"""Filtered queries at 100,000 records: how much a filter costs, against the unfiltered query in the same run.

    .venv/bin/python benchmarks/filtered_queries.py [--records 100000] [--dimension 384]

Real vectors would not change the times of an exact scan, so these are random. For each selectivity: p50 of a query
through the storage engine (k = 10), its ratio to the unfiltered query, and the time of one exact pass over the kept
rows alone (numpy, float32, in memory) for comparison.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from app import filters
from app.domain import IndexSpec, QueryPlan, Record
from app.storage.sqlite_engine import SqliteEngine

SELECTIVITIES = [0.001, 0.01, 0.1, 0.5, 1.0]
ROUNDS = 15


async def main(records: int, dimension: int, cache_bytes: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((records, dimension)).astype(np.float32)
    share = rng.permutation(records) / records
    with tempfile.TemporaryDirectory() as folder:
        engine = await SqliteEngine.open_folder(Path(folder), 2, 2**31 - 65536, cache_bytes=cache_bytes)
        await engine.create_index(IndexSpec("docs", dimension, "cosine"))
        for start in range(0, records, 1000):
            rows = range(start, min(start + 1000, records))
            batch = [
                Record(
                    f"r{n}",
                    vectors[n],
                    {"share": float(share[n]), **{f"is{s}": bool(share[n] < s) for s in SELECTIVITIES}},
                )
                for n in rows
            ]
            await engine.upsert("docs", "a", batch)

        async def p50(condition: filters.Condition | None) -> float:
            times = []
            for n in range(ROUNDS):
                begun = time.perf_counter()
                await engine.query("docs", "a", QueryPlan(10, vector=vectors[n], filter=condition))
                times.append((time.perf_counter() - begun) * 1000)
            return statistics.median(times)

        plain = await p50(None)
        print(f"{records} records, {dimension} dimensions, k = 10; unfiltered p50 {plain:.1f} ms\n")
        print("| kept | range filter ms | ratio | equality ms | ratio | exact pass over kept, ms |")
        print("|---|---|---|---|---|---|")
        for selectivity in SELECTIVITIES:
            ranged = await p50(filters.parse({"share": {"$lt": selectivity}}))
            equal = await p50(filters.parse({f"is{selectivity}": True}))
            kept = np.ascontiguousarray(vectors[share < selectivity])
            begun = time.perf_counter()
            np.argpartition(-(kept @ vectors[0]), min(10, len(kept) - 1))
            bare = (time.perf_counter() - begun) * 1000
            print(
                f"| {selectivity:.1%} | {ranged:.1f} | {ranged / plain:.2f} |"
                f" {equal:.1f} | {equal / plain:.2f} | {bare:.1f} |"
            )

        async def rate(at_once: int) -> float:
            begun = time.perf_counter()
            for start in range(0, 40, at_once):
                plans = [QueryPlan(10, vector=vectors[n]) for n in range(start, start + at_once)]
                await asyncio.gather(*(engine.query("docs", "a", plan) for plan in plans))
            return 40 / (time.perf_counter() - begun)

        alone, together = await rate(1), await rate(2)
        print(
            f"\n{alone:.1f} unfiltered queries/s one after another, {together:.1f} two at once: {together / alone:.2f}x"
        )
        await engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--cache-bytes", type=int, default=2**29, help="the setting vector_cache_bytes")
    options = parser.parse_args()
    asyncio.run(main(options.records, options.dimension, options.cache_bytes))
