"""Mixed load for an hour, with restarts: what memory, open files, the log on disk and the slowest answers grow to.

    python -m benchmarks.soak [--minutes 60] [--clients 32] [--connections 512]

Real MiniLM vectors would be bound by the model; the hashing model leaves the load to everything else. Every answer is a
success or a refusal; anything else is printed and ends it with status 1.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import msgspec
import numpy as np

from tests.running import RunningServer, config

FINE = (200, 201, 202, 404, 409, 429, 503)
WORDS = [f"word{n}" for n in range(2_000)]


class Seen(msgspec.Struct):
    """Ceilings, and every answer."""

    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    seconds: list[float] = msgspec.field(default_factory=list)
    wrong: list[str] = msgspec.field(default_factory=list)
    resident: int = 0
    files: int = 0
    log: int = 0
    restarts: int = 0

    def look(self, pid: int, data: Path) -> None:
        """Note what the process and its data folder take now."""
        status = Path(f"/proc/{pid}/status").read_text()
        self.resident = max(self.resident, 1024 * int(status.split("VmRSS:")[1].split()[0]))
        self.files = max(self.files, len(list(Path(f"/proc/{pid}/fd").iterdir())))
        self.log = max(self.log, *(file.stat().st_size for file in data.rglob("*-wal")), 0)


def request(dice: random.Random) -> tuple[str, str, object]:
    """Something a client asks."""
    space = f"ns-{dice.randint(0, 9)}"
    kind = dice.random()
    if kind < 0.2:
        rows = [
            {"_id": f"r{dice.randint(0, 3_000)}", "chunk_text": " ".join(dice.choices(WORDS, k=30)), "n": dice.random()}
            for _ in range(dice.choice([1, 5, 90]))
        ]
        return "POST", f"/records/namespaces/{space}/upsert", rows
    if kind < 0.8:
        query = {"inputs": {"text": " ".join(dice.choices(WORDS, k=5))}, "top_k": dice.choice([3, 10, 100])}
        if dice.random() < 0.3:
            query["filter"] = {"n": {"$lt": dice.random()}}
        body = {"query": query}
        if dice.random() < 0.2:
            body["rerank"] = {"model": "bm25", "rank_fields": ["chunk_text"], "top_n": 3}
        return "POST", f"/records/namespaces/{space}/search", body
    if kind < 0.9:
        ids = [f"r{dice.randint(0, 3_000)}" for _ in range(20)]
        return "POST", "/vectors/delete", {"namespace": space, "ids": ids}
    if kind < 0.92:
        return "DELETE", f"/namespaces/{space}", None
    return "GET", "/describe_index_stats", None


async def client(url: str, seen: Seen, until: float, dice: random.Random, pause_s: float) -> None:
    """One connection that asks one thing after another."""
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        while time.monotonic() < until:
            method, path, body = request(dice)
            begun = time.perf_counter()
            try:
                answer = await http.request(method, path, json=body)
            except httpx.HTTPError as error:
                seen.wrong.append(f"{method} {path}: {error!r}")
                continue
            seen.seconds.append(time.perf_counter() - begun)
            seen.statuses[answer.status_code] += 1
            if answer.status_code not in FINE:
                seen.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
            await asyncio.sleep(pause_s * dice.random())


async def load(server: RunningServer, data: Path, seen: Seen, clients: int, seconds: float, pause_s: float) -> None:
    """So many clients for so long."""
    until = time.monotonic() + seconds
    asking = [
        asyncio.ensure_future(client(server.url, seen, until, random.Random(n + 1000 * seen.restarts), pause_s))
        for n in range(clients)
    ]
    while time.monotonic() < until:
        seen.look(server.process.pid, data)
        await asyncio.sleep(0.5)
    await asyncio.gather(*asking)


def report(seen: Seen) -> str:
    """A table."""
    p50, p99 = np.percentile(seen.seconds, [50, 99]) * 1e3
    rows = {
        "requests": f"{len(seen.seconds):,}",
        "by status": ", ".join(f"{status}: {count:,}" for status, count in sorted(seen.statuses.items())),
        "neither answered nor refused": f"{len(seen.wrong)}",
        "p50, p99, longest, ms": f"{p50:.0f}, {p99:.0f}, {max(seen.seconds) * 1e3:.0f}",
        "most memory, MB": f"{seen.resident / 1e6:.0f}",
        "most open files": f"{seen.files}",
        "longest log, MB": f"{seen.log / 1e6:.0f}",
        "restarts": f"{seen.restarts}",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--connections", type=int, default=512, help="clients in the last minute")
    options = parser.parse_args()
    seen, parts = Seen(), max(2, round(options.minutes / 5))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in range(parts):
            server = RunningServer(config(folder), folder / "data")
            last = part == parts - 1
            seconds = 60 if last else (options.minutes * 60 - 60) / (parts - 1)
            clients, pause_s = (options.connections, 1.0) if last else (options.clients, 0.05)
            asyncio.run(load(server, folder / "data", seen, clients, seconds, pause_s))
            status = server.stop()
            if status:
                seen.wrong.append(f"the server ended with {status}")
            if "unexpected" in server.text or "Traceback" in server.text:
                seen.wrong.append(server.text[-2_000:])
            seen.restarts += 1
    print(report(seen))
    for line in seen.wrong[:20]:
        print(line, file=sys.stderr)
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
