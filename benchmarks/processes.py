"""64 clients that search by text: one process on a data folder, and one and two processes on one database.

    python -m benchmarks.processes

Each process computes all-MiniLM-L6-v2 in fp32 with one thread. With two processes each gets half of the clients. The
three take turns, round by round. Prints searches per second of all clients together, and p50 and p95 of a search.
"""

import argparse
import itertools
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np

from benchmarks import load, texts
from benchmarks.many import UPSERT, questions, record, searches
from benchmarks.vectors import MODEL
from tests.postgres.server import running
from tests.running import RunningServer, config

CLIENTS, SEARCHES, RECORDS, KIND = 64, 192, 200, "hybrid"
SEARCH = "/records/namespaces/a/search"
MODELS = '[models]\nthreads = 1\nprecision = "fp32"'


def measured(urls: list[str], bodies: list[bytes]) -> tuple[float, list[float]]:
    """Searches per second of all clients, and the seconds of each search. The clients are shared among the servers."""
    shares = [bodies[place :: len(urls)] for place in range(len(urls))]

    def one(url: str, share: list[bytes]) -> tuple[float, list[float]]:
        return load.closed_loop(url, SEARCH, share, CLIENTS // len(urls))

    with ThreadPoolExecutor(len(urls)) as pool:
        results = list(pool.map(one, urls, shares))
    return len(bodies) / max(whole for whole, _ in results), [each for _, times in results for each in times]


def main(rounds: int) -> None:
    """Measure and print the table."""
    asked = questions()
    with tempfile.TemporaryDirectory() as name, running(shared_buffers="256MB") as database:
        folder = Path(name)
        settings = config(folder, MODEL)
        settings.write_text(settings.read_text().replace("[models]", MODELS))
        on_database = ("--engine", "postgres", "--dsn", database.dsn)
        sqlite = RunningServer(settings, folder / "sqlite")
        first, second = (RunningServer(settings, folder / each, *on_database) for each in ("first", "second"))
        rows = [
            record(f"r{n}", text)
            for n, text in enumerate(itertools.islice(filter(str.strip, texts.passages()), RECORDS))
        ]
        for server in (sqlite, first):
            for start in range(0, len(rows), 96):
                lines = "\n".join(rows[start : start + 96])
                answer = httpx.post(f"{server.url}{UPSERT}", content=lines, timeout=600)
                assert answer.is_success, answer.text
        kinds = {
            "a data folder, one process": [sqlite.url],
            "a database, one process": [first.url],
            "a database, two processes": [first.url, second.url],
        }
        rates: dict[str, list[float]] = {name: [] for name in kinds}
        times: dict[str, list[float]] = {name: [] for name in kinds}
        for turn in range(rounds + 1):
            for name, urls in kinds.items():
                rate, seconds = measured(urls, searches(KIND, asked, SEARCHES))
                if turn:  # the first round warms up
                    rates[name].append(rate)
                    times[name] += seconds
        print(f"{CLIENTS} clients, {KIND} searches among {RECORDS} texts, {MODEL} with one thread a process\n")
        print("| | searches/s | p50 ms | p95 ms |")
        print("|---|---|---|---|")
        for name in kinds:
            p50, p95 = np.percentile(times[name], [50, 95]) * 1e3
            print(f"| {name} | {np.median(rates[name]):.0f} | {p50:.0f} | {p95:.0f} |")
        for server in (sqlite, first, second):
            server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args().rounds)
