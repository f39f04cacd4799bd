"""Relevance and latency over HTTP, as a client sees them, on collections in BEIR layout.

    .venv/bin/pinyon serve --config config/quickstart.toml &
    .venv/bin/python benchmarks/beir_http.py PATH/TO/COLLECTION [...] --url http://localhost:5080

A collection is a folder with corpus.jsonl (_id, title, text), queries.jsonl (_id, text) and qrels.tsv or
qrels/test.tsv (query-id, corpus-id, score; with a header). Documents are title, newline, text, in batches of 96;
every judged query is searched dense, lexical and hybrid, and dense and hybrid with the best hits reranked. Prints
nDCG@10 (exponential gains: Burges et al. 2005), recall@100, the times of a request in milliseconds, and whether each
pipeline is better or worse than dense by a paired bootstrap.
"""

import argparse
import json
import math
import random
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from tqdm import tqdm

BATCH = 96
Judgements = dict[str, dict[str, int]]


def ndcg_at_10(ranked: list[str], grades: dict[str, int]) -> float:
    """nDCG@10 with gains 2^grade - 1 and discounts log2(rank + 1)."""

    def gain(held: Iterable[int]) -> float:
        return sum((2**grade - 1) / math.log2(rank + 1) for rank, grade in enumerate(held, start=1))

    ideal = gain(sorted(grades.values(), reverse=True)[:10])
    return gain(grades.get(id, 0) for id in ranked[:10]) / ideal if ideal else 0.0


def lines(path: Path) -> list[str]:
    """The lines of a file; only \\n ends one."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def read(folder: Path) -> tuple[list[dict[str, str]], dict[str, str], Judgements]:
    """Documents as records, queries by id, grades by query and document."""
    documents = [json.loads(line) for line in lines(folder / "corpus.jsonl")]
    texts = [(d["_id"], f"{d.get('title', '')}\n{d.get('text', '')}".strip()) for d in documents]
    records = [{"_id": id, "chunk_text": text} for id, text in texts if text]
    queries = {q["_id"]: q["text"] for q in map(json.loads, lines(folder / "queries.jsonl"))}
    grades: Judgements = {}
    judged = folder / "qrels.tsv"
    for line in lines(judged if judged.exists() else folder / "qrels" / "test.tsv")[1:]:
        query, document, grade = line.split("\t")
        grades.setdefault(query, {})[document] = int(grade)
    return records, {id: text for id, text in queries.items() if id in grades}, grades


def measure(client: httpx.Client, folder: Path, model: str, depth: int) -> dict[str, Any]:
    """Load one collection into a namespace of its own and search all of its queries."""
    records, queries, grades = read(folder)
    path = f"/records/namespaces/{folder.name}-{uuid4().hex[:6]}"
    begun = time.perf_counter()
    for start in tqdm(range(0, len(records), BATCH), desc=f"{folder.name}: upsert", unit="batch"):
        lines = "\n".join(json.dumps(record) for record in records[start : start + BATCH])
        client.post(f"{path}/upsert", content=lines.encode()).raise_for_status()
    loaded = time.perf_counter() - begun

    rerank = {"model": model, "rank_fields": ["chunk_text"], "parameters": {"truncate": "END"}}
    pipelines: dict[str, tuple[str, int, dict[str, Any]]] = {
        "dense": ("dense", 100, {}),
        "lexical": ("lexical", 100, {}),
        "hybrid": ("hybrid", 100, {}),
    }
    if model:
        pipelines[f"{model}, depth {depth}"] = ("dense", depth, {"rerank": rerank})
        pipelines[f"hybrid, {model}, depth {depth}"] = ("hybrid", depth, {"rerank": rerank})
    scores: dict[str, list[float]] = {name: [] for name in pipelines}
    times: dict[str, list[float]] = {name: [] for name in pipelines}
    recalls: dict[str, list[float]] = {name: [] for name in pipelines}
    for id, text in tqdm(queries.items(), desc=f"{folder.name}: search", unit="query"):
        relevant = {document for document, grade in grades[id].items() if grade > 0}
        for name, (retrieval, top_k, more) in pipelines.items():
            body = {"query": {"inputs": {"text": text, "retrieval": retrieval}, "top_k": top_k}, "fields": [], **more}
            asked = time.perf_counter()
            answer = client.post(f"{path}/search", json=body)
            times[name].append((time.perf_counter() - asked) * 1000)
            answer.raise_for_status()
            hits = [hit["_id"] for hit in answer.json()["result"]["hits"]]
            scores[name].append(ndcg_at_10(hits, grades[id]))
            recalls[name].append(len(relevant & set(hits)) / max(1, len(relevant)))
    found: dict[str, Any] = {
        "collection": folder.name,
        "documents": len(records),
        "queries": len(queries),
        "records_per_s": round(len(records) / loaded, 1),
        "recall@100": round(statistics.mean(recalls["dense"]), 4),
    }
    for name in pipelines:
        found[name] = {"nDCG@10": round(statistics.mean(scores[name]), 4), **quantiles(times[name])}
        if pipelines[name][1] == 100:
            found[name]["recall@100"] = round(statistics.mean(recalls[name]), 4)
        if name != "dense":
            found[name]["against dense"] = verdict(scores[name], scores["dense"])
    return found


def verdict(one: list[float], other: list[float], rounds: int = 2000) -> str:
    """The mean difference, its 95 % interval by a paired bootstrap over the queries (Sakai 2006), what that says."""
    differences, dice = [a - b for a, b in zip(one, other, strict=True)], random.Random(0)
    means = sorted(statistics.fmean(dice.choices(differences, k=len(differences))) for _ in range(rounds))
    low, high = means[rounds // 40], means[-rounds // 40]
    word = "better" if low > 0 else "worse" if high < 0 else "no difference"
    return f"{word}: {statistics.fmean(differences):+.4f} ({low:+.4f} to {high:+.4f})"


def quantiles(milliseconds: list[float]) -> dict[str, float]:
    """p50 and p95."""
    ordered = sorted(milliseconds)
    return {f"p{q}_ms": round(ordered[min(len(ordered) - 1, len(ordered) * q // 100)], 1) for q in (50, 95)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--url", default="http://localhost:5080")
    parser.add_argument("--rerank", default="bge-reranker-v2-m3", help="rerank model; empty for none")
    parser.add_argument("--depth", type=int, default=50, help="hits to rerank")
    options = parser.parse_args()
    with httpx.Client(base_url=options.url, timeout=600) as client:
        for folder in options.folders:
            print(json.dumps(measure(client, folder, options.rerank, options.depth), indent=2))


if __name__ == "__main__":
    main()
