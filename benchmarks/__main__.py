"""Runs the benchmarks, writes benchmarks/results.md and draws docs/growth.svg.

`make bench` runs all of them, which takes about an hour. `python -m benchmarks NAME...` runs some, and the others keep
their results. Run nothing else on the machine meanwhile.
"""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import apsw
from pinyon.inference.precision import machine

from benchmarks import growth

HERE = Path(__file__).parent
RESULTS = HERE / "results.md"
SECTIONS = {
    "nearest-10k": ("Nearest neighbours, 10,000 vectors (all compared)", "nearest --records 10000"),
    "nearest-100k": ("Nearest neighbours, 100,000 vectors", "nearest --records 100000 --changes"),
    "nearest-1m": ("Nearest neighbours, 1,000,000 vectors", "nearest --records 1000000 --changes"),
    "exact-100k": ("Nearest neighbours, 100,000 vectors, all compared", "nearest --records 100000 --exact"),
    "peers": ("Other engines, 100,000 vectors", "peers --records 100000"),
    "peers-10k": ("Other engines, 10,000 vectors", "peers --records 10000"),
    "peers-1m": (
        "Other engines, 1,000,000 vectors",
        "peers --records 1000000 --engine pinyon --engine qdrant-edge-py --engine txtai",
    ),
    "writes": ("Writes", "writes"),
    "embedding": ("Embedding and search over HTTP, OpenVINO bf16", "embedding"),
    "embedding-fp32": ("Embedding and search over HTTP, fp32", "embedding --precision fp32"),
    "many": ("Many clients at once, fp32", "many"),
    "stored-tokens": ("Reranking with stored token vectors, fp32", "stored_tokens"),
    "peer-embedding": ("Other embedding engines", "peer_embedding"),
    "cross-encoder": ("A large cross-encoder", "cross_encoder"),
    "overhead": ("A call without work", "overhead"),
    "large-bodies": ("Large upserts", "large_bodies"),
    "imports": ("Imports", "imports"),
    "startup": ("Start", "startup"),
    "lexical": ("Lexical retrieval", "lexical --records 30000"),
    "engine-relevance": ("Relevance of approximate search", "engine_relevance"),
    "packed-postings": ("Postings of PostgreSQL in blocks", "packed_postings"),
}
"""The title and the command of each benchmark, in the order of the page."""


def run(command: str) -> str:
    """The output of a benchmark. Raises CalledProcessError if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *f"benchmarks.{command}".split()], cwd=HERE.parent, stdout=subprocess.PIPE, text=True
    )
    done.check_returncode()
    return done.stdout.strip()


def sections() -> dict[str, str]:
    """The sections that the page has now, by title."""
    if not RESULTS.exists():
        return {}
    parts = RESULTS.read_text(encoding="utf-8").split("\n## ")[1:]
    return {title: body.strip() for title, _, body in (part.partition("\n") for part in parts)}


def main(names: list[str]) -> None:
    """Run these benchmarks, or all. Writes the page after each."""
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        raise SystemExit(f"There is no benchmark {unknown[0]}; there are {', '.join(SECTIONS)}")
    results = sections()
    for name in names or SECTIONS:
        title, command = SECTIONS[name]
        print(f"{name}: python -m benchmarks.{command}", file=sys.stderr, flush=True)
        when = datetime.now(UTC).date().isoformat()
        results[title] = f"`python -m benchmarks.{command}`, {when}\n\n{run(command)}"
        write(results)
        if name.startswith("nearest"):
            growth.main()


def write(results: dict[str, str]) -> None:
    """Write the page."""
    versions = ", ".join(
        f"{name} {version(name)}"
        for name in ("numpy", "faiss-cpu", "numkong", "torch", "sentence-transformers", "openvino", "sqlite-vec")
    )
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [
        "# Results",
        f"Written by `make bench` (`python -m benchmarks NAME` for one). {machine()}, {gib:.0f} GiB, Python"
        f" {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, {versions}. Compare ratios within a table;"
        " absolute times are of a shared machine. What was found and done about it: docs/notes/performance.md.",
    ]
    order = [title for title, _ in SECTIONS.values()]
    for title in sorted(results, key=lambda title: order.index(title) if title in order else len(order)):
        parts.append(f"## {title}\n\n{results[title]}")
    RESULTS.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
