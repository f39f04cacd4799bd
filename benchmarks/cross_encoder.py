"""Measures a cross-encoder of 568M parameters (as bge-reranker-v2-m3) in every precision. Pairs have about 64 tokens.

Its weights are random: the times are real, but the scores mean nothing and are not compared.

    python -m benchmarks.cross_encoder
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from pinyon.inference.catalog import Catalog
from pinyon.inference.precision import PRECISIONS, computable
from pinyon.inference.steps import finished

from benchmarks import texts
from benchmarks.peer_embedding import infinity

MODELS = Path(__file__).parents[1] / "models"
NAME, MINILM = "bge-reranker-v2-m3", "all-MiniLM-L6-v2"
PAIRS = 24
QUERY = "who wrote the first book about the history of the region"


def make(folder: Path) -> None:
    """Write a model folder as the hub has it, with random weights and MiniLM's tokenizer."""
    import transformers

    config = transformers.XLMRobertaConfig(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        vocab_size=250_002,
        max_position_embeddings=514,
        type_vocab_size=1,
        num_labels=1,
        pad_token_id=0,
    )
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    base = Catalog(MODELS).folder(MINILM)
    assert base is not None
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (base / file).exists():
            shutil.copy(base / file, folder)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told |= {"model_max_length": 512, "model_input_names": ["input_ids", "attention_mask"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


def passages() -> list[str]:
    """Passages cut to 40 words."""
    return [" ".join(text.split()[:40]) for text in islice(_rows(), PAIRS)]


def _rows() -> Iterator[str]:
    if texts.has_collections():
        yield from texts.column(texts.DATA / "retrieval" / "nq-small" / "corpus.jsonl")
    else:
        yield from texts.passages()


def rate(folder: Path, precision: str) -> float:
    """Pairs/s, in a process of its own. "stock": sentence-transformers' own CrossEncoder."""
    rows = passages()
    if precision == "stock":
        from sentence_transformers import CrossEncoder

        model = CrossEncoder(str(folder), local_files_only=True)
        pairs = [(QUERY, passage) for passage in rows]
        model.predict(pairs[:4])
        begun = time.perf_counter()
        model.predict(pairs)
    else:
        own = Catalog(MODELS, {NAME: str(folder)}).bare(NAME, precision)  # type: ignore[arg-type]
        finished(own.predict(QUERY, rows, 512))  # OpenVINO prepares for each new shape
        begun = time.perf_counter()
        finished(own.predict(QUERY, rows, 512))
    return len(rows) / (time.perf_counter() - begun)


def main() -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        print(f"{texts.describe()}\n")
        print("| 568M cross-encoder | pairs/s | ratio |")
        print("|---|---|---|")
        stock = 0.0
        for precision in ("stock", *filter(computable, PRECISIONS)):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                found = process.submit(rate, folder, precision).result()
            stock = stock or found
            label = "sentence-transformers, fp32" if precision == "stock" else f"Pinyon, {precision}"
            print(f"| {label} | {found:.1f} | {found / stock:.2f} |", flush=True)
        peer = infinity(folder, passages(), QUERY)
        cells = f"{peer} | " if isinstance(peer, str) else f"{peer:.1f} | {peer / stock:.2f}"
        print(f"| infinity-emb, torch | {cells} |", flush=True)


if __name__ == "__main__":
    main()
