"""Measures infinity-emb on the texts of benchmarks/embedding.py.

python -m benchmarks.peer_embedding                    makes .venv-bench/infinity-emb if it is missing
PYTHON -m benchmarks.peer_embedding FOLDER FILE [QUERY]    in that environment: model folder, JSON list of texts
                                                       to embed, or to rerank for a query
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]


async def measure(folder: str, texts: list[str], query: str | None) -> float:
    """Texts/s embedded, or reranked for a query."""
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    told = EngineArgs(model_name_or_path=folder, engine="torch", device="cpu", bettertransformer=False, compile=False)
    engine = AsyncEmbeddingEngine.from_args(told)

    async def run(some: list[str]) -> object:
        return await (engine.embed(sentences=some) if query is None else engine.rerank(query=query, docs=some))

    async with engine:
        await run(texts[:32])
        begun = time.perf_counter()
        await run(texts)
        return len(texts) / (time.perf_counter() - begun)


def infinity(folder: Path, texts: list[str], *query: str) -> float | str:
    """Texts/s of infinity-emb in its own environment, or why it failed."""
    from benchmarks.peers import python

    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        command = [python("infinity-emb"), "-m", "benchmarks.peer_embedding", str(folder), file.name, *query]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1][:150]}"
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure stock sentence-transformers, Pinyon and infinity-emb, and print a table."""
    from pinyon.inference.catalog import Catalog

    from benchmarks.embedding import MODEL, alone, passages

    folder = Catalog(PROJECT / "models").folder(MODEL)
    assert folder is not None
    found = infinity(folder, passages())
    stock, _ = alone("stock")
    print("| embedding on two cores | texts/s | against sentence-transformers |")
    print("|---|---|---|")
    print(f"| sentence-transformers, fp32 | {stock:.1f} | 1.00 |")
    if isinstance(found, str):
        print(f"| infinity-emb | {found} | |")
    else:
        print(f"| infinity-emb, torch | {found:.1f} | {found / stock:.2f} |")
    for precision in ("fp32", "openvino-bf16"):
        own, _ = alone(precision)
        print(f"| Pinyon, {precision} | {own:.1f} | {own / stock:.2f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        query = sys.argv[3] if len(sys.argv) > 3 else None
        print(asyncio.run(measure(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), query)))
    else:
        main()
