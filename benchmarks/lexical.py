"""Measures the cost of lexical retrieval: upserts with and without it, and dense, lexical and hybrid searches.

    python -m benchmarks.lexical [--records 50000] [--cache 67108864]

Texts have 60 words from a vocabulary with the frequencies of a natural language (Zipf). Vectors are random, with 384
dimensions. Uses the storage engine directly. Prints records per second and milliseconds.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from pinyon.domain import EmbedSpec, IndexSpec, QueryPlan, Record
from pinyon.storage.sqlite.engine import SqliteEngine
from tqdm import tqdm

BATCH, DIMENSION, WORDS, VOCABULARY, QUERIES = 96, 384, 60, 50_000, 100


def texts(count: int, rng: np.random.Generator) -> list[str]:
    """Texts whose words have Zipf's frequencies."""
    weights = 1 / (np.arange(VOCABULARY) + 5)
    drawn = rng.choice(VOCABULARY, (count, WORDS), p=weights / weights.sum())
    return [" ".join(f"word{n}" for n in row) for row in drawn]


async def measure(records: int, cache: int) -> None:
    """Load two indexes, search the one with texts, print the results."""
    rng = np.random.default_rng(0)
    rows = texts(records, rng)
    vectors = rng.standard_normal((records, DIMENSION)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        engine = await SqliteEngine.open_folder(
            Path(folder), 2, 2**31 - 65536, cache_bytes=2**29, posting_cache_bytes=cache
        )
        await engine.create_index(IndexSpec("without", DIMENSION, "cosine"))
        await engine.create_index(IndexSpec("with", DIMENSION, "cosine", EmbedSpec("any", "text")))
        taken = {"without": 0.0, "with": 0.0}
        for start in tqdm(range(0, records, BATCH), unit="batch"):  # in turns, so that noise affects both
            part = range(start, min(start + BATCH, records))
            batch = [Record(f"r{n}", vectors[n], {"text": rows[n]}) for n in part]
            for name in taken:
                begun = time.perf_counter()
                await engine.upsert(name, "a", batch)
                taken[name] += time.perf_counter() - begun
        for name, seconds in taken.items():
            print(f"upsert {name:8} {records / seconds:8.0f} records/s")
        questions = [" ".join(text.split()[:4]) for text in texts(QUERIES, rng)]
        times: dict[str, list[float]] = {"dense": [], "lexical": [], "hybrid": []}
        for place, text in enumerate(questions):
            vector = rng.standard_normal(DIMENSION).astype(np.float32)
            plans = {
                "dense": QueryPlan(10, vector),
                "lexical": QueryPlan(10, text=text),
                "hybrid": QueryPlan(10, vector, text=text),
            }
            for name, plan in plans.items():
                begun = time.perf_counter()
                await engine.query("with", "a", plan)
                if place >= 5:
                    times[name].append((time.perf_counter() - begun) * 1000)
        for name, milliseconds in times.items():
            p50, p95 = statistics.median(milliseconds), statistics.quantiles(milliseconds, n=20)[-1]
            print(f"{name:15} p50 {p50:6.1f} ms  p95 {p95:6.1f} ms")
        await engine.close()
        for name in taken:
            size = (Path(folder) / "indexes" / f"{name}.sqlite").stat().st_size
            print(f"file {name:10} {size / records:8.0f} bytes/record")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--cache", type=int, default=2**26, help="bytes for the words of recent searches")
    options = parser.parse_args()
    asyncio.run(measure(options.records, options.cache))
