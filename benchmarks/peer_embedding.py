"""infinity-emb by itself, on the texts of benchmarks/embedding.py.

python -m benchmarks.peer_embedding                    makes .venv-bench/infinity-emb when it is missing
PYTHON -m benchmarks.peer_embedding FOLDER FILE        in that environment: model folder, JSON list of texts
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]


async def measure(folder: str, texts: list[str]) -> float:
    """Texts/s."""
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    told = EngineArgs(model_name_or_path=folder, engine="torch", device="cpu", bettertransformer=False, compile=False)
    engine = AsyncEmbeddingEngine.from_args(told)
    async with engine:
        await engine.embed(sentences=texts[:32])
        begun = time.perf_counter()
        await engine.embed(sentences=texts)
        return len(texts) / (time.perf_counter() - begun)


def main() -> None:
    """Measure stock sentence-transformers, Pinyon and infinity-emb, and print a table."""
    from app.inference.catalog import Catalog
    from benchmarks.embedding import MODEL, alone, texts
    from benchmarks.peers import python

    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts(), file)
        file.flush()
        command = [python("infinity-emb"), "-m", "benchmarks.peer_embedding"]
        folder = str(Catalog(PROJECT / "models").folder(MODEL))
        done = subprocess.run([*command, folder, file.name], cwd=PROJECT, capture_output=True, text=True)
    infinity = done.stdout.strip().splitlines()[-1] if done.returncode == 0 else None
    stock, _ = alone("stock")
    print("| embedding on two cores | texts/s | against sentence-transformers |")
    print("|---|---|---|")
    print(f"| sentence-transformers, fp32 | {stock:.1f} | 1.00 |")
    if infinity is None:
        print(f"| infinity-emb | failed: {done.stderr.strip().splitlines()[-1][:150]} | |")
    else:
        print(f"| infinity-emb, torch | {float(infinity):.1f} | {float(infinity) / stock:.2f} |")
    for precision in ("fp32", "openvino-bf16"):
        own, _ = alone(precision)
        print(f"| Pinyon, {precision} | {own:.1f} | {own / stock:.2f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(asyncio.run(measure(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))))
    else:
        main()
