"""Pinyon and other engines in one run: the same vectors, the same questions, the same recall.

    python -m benchmarks.peers [--records 100000] [--engine NAME ...]

Each engine runs with one thread in an environment of its own (.venv-bench/NAME, made when it is missing). All are
loaded one after another and then asked in turns, because the speed of the machine may change. Two settings of each
engine count: the fastest with a recall of 0.99, and the fastest with Pinyon's recall. An engine that reaches neither is
shown with its most thorough setting.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import vectors

PROJECT = Path(__file__).parents[1]
NUMPY = "numpy==2.4.6"
PACKAGES = {
    "pinyon": [],
    "chromadb": ["chromadb==1.5.9", NUMPY],
    "lancedb": ["lancedb==0.40.0", NUMPY],
    "qdrant-edge-py": ["qdrant-edge-py==0.9.0", NUMPY],
    "milvus-lite": ["milvus-lite==3.2.2", "pymilvus==3.0.2", "setuptools==80.10.2", NUMPY],
    "txtai": ["txtai==9.14.0", "faiss-cpu==1.15.1", NUMPY],
    "infinity-emb": ["infinity-emb[torch]==0.0.77", "transformers==4.57.6", "torch==2.13.0", "numpy==1.26.4"],
}
"""What each environment gets. Results name these versions; change them together with a new run."""
QUESTIONS, RECALL = 300, 0.99
EQUAL = 0.0005
"""Recalls that differ by less than this count as equal: one or two hits of 3,000."""
ROUNDS = 5
"""Turns of each engine; the medians count."""
SLOW_S = 20
"""An engine that takes longer for a turn gets no further turn."""


def python(name: str) -> str:
    """The interpreter of an engine's environment, which is made if it is missing or has other versions."""
    if name == "pinyon":
        return sys.executable
    folder = PROJECT / ".venv-bench" / name
    ready, packages = folder / "ready", "\n".join(PACKAGES[name])
    if not ready.exists() or ready.read_text() != packages:
        print(f"Installing {name} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "-q", *PACKAGES[name]], check=True)
        ready.write_text(packages)
    return str(folder / "bin" / "python")


class Peer:
    """An engine's process. Raises RuntimeError, with the last line of its errors, if it has ended."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._errors = name, folder / f"{name}.errors"
        one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "RAYON", "MKL")}
        quiet = {"ANONYMIZED_TELEMETRY": "False", "HF_HUB_OFFLINE": "1", "LANCE_CPU_THREADS": "1"}
        self._process = subprocess.Popen(
            [python(name), "-m", "benchmarks.peer", name, str(folder)],
            cwd=PROJECT,
            env={**os.environ, **one, **quiet},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors.open("w"),
            text=True,
        )
        self.told: dict[str, Any] = self._answer()
        self._turns: list[list[dict[str, Any]]] = []
        self._over = False

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._over = True
        raise RuntimeError((self._errors.read_text().strip().splitlines() or ["it ended"])[-1][:150])

    def take_turn(self) -> None:
        """Ask all questions at every setting, unless the last time took too long or was its end."""
        if self._over:
            return
        assert self._process.stdin is not None
        begun = time.perf_counter()
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._turns.append(self._answer())
        self._over = time.perf_counter() - begun > SLOW_S

    def rows(self) -> list[dict[str, Any]]:
        """Of each setting the medians of all turns."""
        return [
            {**turns[0], **{key: median(turn[key] for turn in turns) for key in ("p50", "p95", "recall")}}
            for turns in zip(*self._turns, strict=True)
        ]

    def end(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def told_if_failed(name: str) -> Iterator[None]:
    """Print a row of the table for an engine that has ended."""
    try:
        yield
    except RuntimeError as error:
        print(f"| {name} | failed: {error} |" + " |" * 10, flush=True)


def quickest(rows: list[dict[str, Any]], recall: float) -> dict[str, Any]:
    """The quickest setting that finds so many, or the most thorough one."""
    good = [row for row in rows if row["recall"] >= recall]
    return min(good, key=lambda row: row["p50"]) if good else max(rows, key=lambda row: row["recall"])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--engine", action="append", choices=list(PACKAGES))
    options = parser.parse_args()
    held, asked, real = vectors.load(options.records)
    asked = asked[:QUESTIONS]
    print(
        f"{vectors.describe(options.records, real)}; {QUESTIONS} questions for the nearest 10; one thread;"
        f" asked in {ROUNDS} turns, whose medians these are.\n"
    )
    print(
        "| engine | loaded, records/s | with its index | at 0.99: p50 ms | p95 ms | recall@10 | setting"
        " | p50 against Pinyon | at Pinyon's recall: p50 ms | recall@10 | setting | p50 against Pinyon |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    peers = list[Peer]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "vectors.npy", held)
        np.save(folder / "questions.npy", asked)
        scores = asked @ held.T
        np.save(folder / "nearest.npy", np.argsort(-scores, axis=1)[:, :10])
        del scores, held
        try:
            for engine in options.engine or [name for name in PACKAGES if name != "infinity-emb"]:
                with told_if_failed(engine):
                    peers.append(Peer(engine, folder))
            for peer in ROUNDS * peers:
                with told_if_failed(peer.name):
                    peer.take_turn()
        finally:
            for peer in peers:
                peer.end()
    own: dict[str, Any] = {}
    peers = [peer for peer in peers if peer.rows()]
    for peer in peers:
        rows, told = peer.rows(), peer.told
        row = quickest(rows, RECALL)
        own = own or row
        same = quickest(rows, own["recall"] - EQUAL)
        print(
            f"| {peer.name} {told['version']} | {told['load']:,.0f} | {told['ready']:,.0f} | {row['p50']:.2f} |"
            f" {row['p95']:.2f} | {row['recall']:.4f} | {row['setting'] or 'as it comes'} |"
            f" {row['p50'] / own['p50']:.2f} | {same['p50']:.2f} | {same['recall']:.4f} |"
            f" {same['setting'] or 'as it comes'} | {same['p50'] / own['p50']:.2f} |"
        )
    print("\nEvery setting, to compare at other recalls:\n")
    print("| engine | setting | p50 ms | recall@10 |\n|---|---|---|---|")
    for peer in peers:
        for row in peer.rows():
            print(f"| {peer.name} | {row['setting'] or 'as it comes'} | {row['p50']:.2f} | {row['recall']:.4f} |")


if __name__ == "__main__":
    main()
