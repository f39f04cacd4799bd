"""What people use instead, in the same run: the same vectors, the same questions, the same recall.

    python -m benchmarks.peers [--records 100000] [--engine NAME ...]

Each engine runs in an environment of its own (.venv-bench/NAME, made when it is missing), with one thread. Of each two
settings count: the quickest that finds 99 of 100 of the exact ten nearest, and the quickest that finds as many as
Pinyon does; or else its most thorough one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import vectors

PROJECT = Path(__file__).parents[1]
PACKAGES = {
    "pinyon": [],
    "chromadb": ["chromadb"],
    "lancedb": ["lancedb"],
    "qdrant-edge-py": ["qdrant-edge-py"],
    "milvus-lite": ["milvus-lite", "pymilvus", "setuptools<81"],
    "txtai": ["txtai", "faiss-cpu"],
    "infinity-emb": ["infinity-emb[torch]==0.0.77", "transformers<5", "torch==2.13.0"],
}
QUESTIONS, RECALL, EQUAL = 300, 0.99, 0.0005
"""EQUAL: recalls this near to each other are the same: a hit or two of 3,000."""


def python(name: str) -> str:
    """The interpreter that has the engine."""
    if name == "pinyon":
        return sys.executable
    folder = PROJECT / ".venv-bench" / name
    if not (folder / "ready").exists():
        print(f"Installing {name} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "-q", "numpy", *PACKAGES[name]], check=True)
        (folder / "ready").touch()
    return str(folder / "bin" / "python")


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
        f"{options.records:,} vectors, {real:,} of real text, {QUESTIONS} questions for the nearest 10; one thread.\n"
    )
    print(
        "| engine | loaded, records/s | with its index | at 0.99: p50 ms | p95 ms | recall@10 | setting"
        " | p50 against Pinyon | at Pinyon's recall: p50 ms | recall@10 | setting | p50 against Pinyon |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    own: dict[str, Any] = {}
    every = list[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "vectors.npy", held)
        np.save(folder / "questions.npy", asked)
        scores = asked @ held.T
        np.save(folder / "nearest.npy", np.argsort(-scores, axis=1)[:, :10])
        del scores
        one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "RAYON", "MKL")}
        quiet = {"ANONYMIZED_TELEMETRY": "False", "HF_HUB_OFFLINE": "1", "LANCE_CPU_THREADS": "1"}
        for engine in options.engine or [name for name in PACKAGES if name != "infinity-emb"]:
            done = subprocess.run(
                [python(engine), "-m", "benchmarks.peer", engine, str(folder)],
                cwd=PROJECT,
                env={**os.environ, **one, **quiet},
                capture_output=True,
                text=True,
            )
            if done.returncode:
                print(f"| {engine} | failed: {done.stderr.strip().splitlines()[-1][:150]} |" + " |" * 10, flush=True)
                continue
            told = json.loads(done.stdout.strip().splitlines()[-1])
            every += [
                f"| {engine} | {row['setting'] or 'as it comes'} | {row['p50']:.2f} | {row['recall']:.4f} |"
                for row in told["rows"]
            ]
            row = quickest(told["rows"], RECALL)
            own = own or row
            same = quickest(told["rows"], own["recall"] - EQUAL)
            print(
                f"| {engine} {told['version']} | {told['load']:,.0f} | {told['ready']:,.0f} | {row['p50']:.2f} |"
                f" {row['p95']:.2f} | {row['recall']:.4f} | {row['setting'] or 'as it comes'} |"
                f" {row['p50'] / own['p50']:.2f} | {same['p50']:.2f} | {same['recall']:.4f} |"
                f" {same['setting'] or 'as it comes'} | {same['p50'] / own['p50']:.2f} |",
                flush=True,
            )
    print("\nEvery setting, to compare at other recalls:\n")
    print("| engine | setting | p50 ms | recall@10 |\n|---|---|---|---|")
    print("\n".join(every))


if __name__ == "__main__":
    main()
