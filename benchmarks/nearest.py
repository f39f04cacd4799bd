"""Compares vector searches through the storage engine with an exact product by numpy on one thread, in one run.

    python -m benchmarks.nearest --records 100000 [--changes]

Vectors and questions come from benchmarks/vectors.py. A row has k, p50 and p95 of a query, the ratio to numpy (float32
product and argpartition with the same k), and recall@k. --changes repeats this after 15 % of the records were deleted
and 15 % got the vector of another record.
"""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from pinyon import filters
from pinyon.domain import IndexSpec, QueryPlan, Record, Selection
from pinyon.storage.sqlite.engine import SqliteEngine

from benchmarks import vectors

QUERIES, EXACT_QUERIES, BATCH, AT_ONCE = 200, 30, 1_000, 25
SELECTIVITIES = [0.001, 0.01, 0.1, 0.5, 1.0]


def resident() -> int:
    """Resident bytes of this process, without mapped files."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) * 1024


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """p50 and p95 in milliseconds."""
    p50, p95 = np.percentile(seconds, [50, 95]) * 1e3
    return float(p50), float(p95)


class Bench:
    """An index, and the same vectors in an array."""

    def __init__(self, engine: SqliteEngine, held: np.ndarray, asked: np.ndarray) -> None:
        self.engine, self.held, self.asked = engine, held, asked
        self.alive = np.ones(len(held), dtype=bool)
        self.share = np.random.default_rng(0).permutation(len(held)) / len(held)

    async def load(self) -> float:
        """Upsert all vectors. Returns records per second."""
        begun = time.perf_counter()
        for start in range(0, len(self.held), BATCH):
            batch = [
                Record(f"r{place}", self.held[place], {"share": float(self.share[place])})
                for place in range(start, min(start + BATCH, len(self.held)))
            ]
            await self.engine.upsert("docs", "a", batch)
        return len(self.held) / (time.perf_counter() - begun)

    def exact(self, query: np.ndarray, k: int) -> np.ndarray:
        """The k nearest rows, by the fastest way in numpy: one product, one argpartition."""
        return np.argpartition(self.held @ query, -k)[-k:]

    async def row(self, k: int, condition: filters.Condition | None = None, among: np.ndarray | None = None) -> tuple:
        """p50 and p95 in ms, numpy's p50 in ms, and recall."""
        among = self.alive if among is None else among & self.alive
        for query in self.asked[-5:]:
            await self.engine.query("docs", "a", QueryPlan(k, vector=query, filter=condition))
        times, found = [], []
        for query in self.asked[:QUERIES]:
            begun = time.perf_counter()
            answer = await self.engine.query("docs", "a", QueryPlan(k, vector=query, filter=condition))
            times.append(time.perf_counter() - begun)
            found.append({int(match.id[1:]) for match in answer.matches})
        numpy = []
        for query in self.asked[:EXACT_QUERIES]:
            begun = time.perf_counter()
            self.exact(query, k)
            numpy.append(time.perf_counter() - begun)
        recalls = []
        for start in range(0, QUERIES, AT_ONCE):
            scores = self.asked[start : min(start + AT_ONCE, QUERIES)] @ self.held.T
            scores[:, ~among] = -2
            most = min(k, int(among.sum()))
            for place, wanted in enumerate(np.argpartition(scores, -most, axis=1)[:, -most:].tolist(), start):
                recalls.append(len(found[place] & set(wanted)) / most)
        return *percentiles(times), percentiles(numpy)[0], float(np.mean(recalls))

    async def table(self, title: str, depths: tuple[int, ...] = (10, 100, 1_000)) -> None:
        """Print a row for each k."""
        print(f"\n{title}\n")
        print("| k | p50 ms | p95 ms | numpy p50 ms | ratio | recall@k |")
        print("|---|---|---|---|---|---|")
        for k in depths:
            p50, p95, numpy, recall = await self.row(k)
            print(f"| {k} | {p50:.2f} | {p95:.2f} | {numpy:.2f} | {p50 / numpy:.3f} | {recall:.4f} |", flush=True)

    async def filtered(self) -> None:
        """Print a row for each selectivity: the first use of a filter, and later uses."""
        plain = (await self.row(10))[0]
        begun = time.perf_counter()
        await self.engine.query("docs", "a", QueryPlan(10, self.asked[0], filter=filters.parse({"share": {"$gte": 0}})))
        first = time.perf_counter() - begun
        await self.engine.upkeep_done()
        print(
            f'\nFiltered, k = 10; unfiltered p50 {plain:.2f} ms. "first" is a filter that was never seen before. The'
            f" very first on the field took {first * 1e3:.1f} ms, and the field's column was there after"
            f" {time.perf_counter() - begun:.2f} s.\n"
        )
        print("| kept | first ms | p50 ms | twice unfiltered, or an exact pass over the kept | recall@10 |")
        print("|---|---|---|---|---|")
        for selectivity in SELECTIVITIES:
            among = self.share < selectivity
            firsts = []
            for turn in range(15):
                condition = filters.parse({"share": {"$lt": selectivity * (1 - turn * 1e-9)}})
                begun = time.perf_counter()
                await self.engine.query("docs", "a", QueryPlan(10, vector=self.asked[turn], filter=condition))
                firsts.append(time.perf_counter() - begun)
            kept = np.ascontiguousarray(self.held[among & self.alive])
            passes = []
            for query in self.asked[:10]:
                begun = time.perf_counter()
                np.argpartition(-(kept @ query), min(10, len(kept) - 1))
                passes.append(time.perf_counter() - begun)
            limit = max(2 * plain, percentiles(passes)[0])
            p50, _, _, recall = await self.row(10, filters.parse({"share": {"$lt": selectivity}}), among)
            print(
                f"| {selectivity:.1%} | {percentiles(firsts)[0]:.2f} | {p50:.2f} | {limit:.2f} | {recall:.4f} |",
                flush=True,
            )

    async def beside_writes(self, k: int = 100) -> None:
        """Print the times of searches when every sixth request is a write, with and without a filter."""
        print(f"\nBeside writes, k = {k}: a record is written again, then five searches, forty times\n")
        print("| | p50 ms | p95 ms | longest ms |")
        print("|---|---|---|---|")
        for name, condition in (("unfiltered", None), ("half kept", filters.parse({"share": {"$lt": 0.5}}))):
            times = []
            for turn in range(42):
                record = Record(f"r{turn}", self.held[turn], {"share": float(self.share[turn])})
                await self.engine.upsert("docs", "a", [record])
                for query in self.asked[5 * turn : 5 * turn + 5]:
                    begun = time.perf_counter()
                    await self.engine.query("docs", "a", QueryPlan(k, vector=query, filter=condition))
                    times.append(time.perf_counter() - begun)
            p50, p95 = percentiles(times[10:])
            print(f"| {name} | {p50:.2f} | {p95:.2f} | {max(times[10:]) * 1e3:.1f} |", flush=True)

    async def change(self) -> None:
        """Delete 15 % of the records, and give 15 % other vectors."""
        random = np.random.default_rng(1)
        touched = random.choice(len(self.held), int(0.3 * len(self.held)), replace=False)
        gone, moved = np.split(touched, 2)
        for start in range(0, len(gone), BATCH):
            ids = [f"r{place}" for place in gone[start : start + BATCH]]
            await self.engine.delete("docs", "a", Selection(ids=ids))
        self.alive[gone] = False
        self.held[gone] = 0
        self.held[moved] = self.held[np.roll(moved, 1)]
        for start in range(0, len(moved), BATCH):
            batch = [
                Record(f"r{p}", self.held[p], {"share": float(self.share[p])}) for p in moved[start : start + BATCH]
            ]
            await self.engine.upsert("docs", "a", batch)


async def main(records: int, changes: bool, approximate_from: int | None) -> None:
    held, asked, real = vectors.load(records)
    print(vectors.describe(records, real))
    with tempfile.TemporaryDirectory() as folder:
        options = {"cache_bytes": 2**29, "filter_cache_bytes": 2**26, "column_bytes": 2**27, "inline_read_s": 0.001}
        engine = await SqliteEngine.open_folder(
            Path(folder), 2, 2**31 - 65536, approximate_from=approximate_from, **options
        )
        await engine.create_index(IndexSpec("docs", 384, "cosine"))
        bench = Bench(engine, held, asked)
        rate = await bench.load()
        before, begun = resident(), time.perf_counter()
        await engine.upkeep_done()
        print(
            f"loaded at {rate:,.0f} records/s, ready {time.perf_counter() - begun:.1f} s after; "
            f"memory beside the vectors above {(resident() - before) / 1e6:+.0f} MB since then"
        )
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        print(f"{size / 1e6:,.0f} MB on disk, {size / records:,.0f} bytes a record")
        await bench.table("As loaded", (10, 100, 1_000))
        await bench.filtered()
        await bench.beside_writes()
        if changes:
            await bench.change()
            begun = time.perf_counter()
            await engine.upkeep_done()
            print(f"\ncaught up {time.perf_counter() - begun:.1f} s after 15 % were deleted and 15 % changed")
            await bench.table("After the changes")
        begun = time.perf_counter()
        await engine.close()
        engine = bench.engine = await SqliteEngine.open_folder(
            Path(folder), 2, 2**31 - 65536, approximate_from=approximate_from, **options
        )
        opened = time.perf_counter() - begun
        await engine.upkeep_done()
        print(f"\nclosed and opened in {opened:.2f} s, inverted file there after {time.perf_counter() - begun:.2f} s")
        await engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--changes", action="store_true")
    parser.add_argument("--exact", action="store_true", help="never search approximately")
    options = parser.parse_args()
    asyncio.run(main(options.records, options.changes, None if options.exact else 50_000))
