"""Measures a start: /health, /ready and --help, against loading a model with sentence-transformers alone.

    python -m benchmarks.startup [--rounds 5]

Everything runs in turns, and medians count. The server has the index of the quick start with some records.
"""

import argparse
import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pinyon.inference.catalog import Catalog

from benchmarks.vectors import MODEL
from tests.running import PROJECT, RunningServer, config, environment, free_ports

BARE = "import sys; from sentence_transformers import SentenceTransformer as S; S(sys.argv[1], local_files_only=True)"


def taken(command: list[str]) -> float:
    """Seconds that a command takes."""
    begun = time.perf_counter()
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, env=environment())
    return time.perf_counter() - begun


def until(port: int, path: str, begun: float) -> float:
    """Seconds until the path is answered with 200."""
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return time.perf_counter() - begun
        except OSError:
            pass
        time.sleep(0.005)


def start(settings: Path, data: Path) -> tuple[float, float, int]:
    """Seconds to /health and to /ready, and bytes of memory then."""
    port = int(free_ports(1).partition("-")[0])
    options = ["--config", str(settings), "--data-dir", str(data), "--port", str(port), "--index-ports", ""]
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "pinyon", "serve", *options],
        cwd=PROJECT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        alive, ready = until(port, "/health", begun), until(port, "/ready", begun)
        pages = Path(f"/proc/{process.pid}/status").read_text()
        held = next(int(line.split()[1]) for line in pages.splitlines() if line.startswith("VmRSS"))
    finally:
        process.terminate()
        process.wait()
    return alive, ready, held * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    folder = str(Catalog(PROJECT / "models").folder(MODEL))
    with tempfile.TemporaryDirectory() as name:
        settings, data = config(Path(name), MODEL), Path(name) / "data"
        server = RunningServer(settings, data)
        with server.client() as client:
            client.post("/records/namespaces/a/upsert", content='{"_id": "1", "chunk_text": "an apple"}')
        server.stop()
        starts, bare, helps = [], [], []
        for _ in range(rounds):
            starts.append(start(settings, data))
            bare.append(taken([sys.executable, "-c", BARE, folder]))
            helps.append(taken([str(Path(sys.executable).parent / "pinyon"), "--help"]))
    median: Callable[[list[float]], float] = statistics.median
    whole = median(bare)
    print("| what | seconds | against the bare import |")
    print("|---|---|---|")
    print(f"| import of sentence-transformers, and its weights | {whole:.2f} | 1.00 |")
    print(f"| `pinyon serve`, /health | {median([s[0] for s in starts]):.2f} | |")
    ready = median([s[1] for s in starts])
    print(f"| `pinyon serve`, /ready | {ready:.2f} | {ready / whole:.2f} |")
    print(f"| `pinyon --help` | {median(helps):.2f} | |")
    print(f"\nMemory at rest: {median([float(s[2]) for s in starts]) / 1e6:.0f} MB.")


if __name__ == "__main__":
    main()
