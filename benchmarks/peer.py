"""Measures one engine: loads vectors with a field, then searches for 10, at settings from fast to thorough.

    PYTHON -m benchmarks.peer NAME FOLDER      in the engine's own environment

FOLDER has vectors.npy, questions.npy and nearest.npy (the exact 10 of each question). Prints a line of JSON once it has
loaded. For each line that it reads, it asks all questions at every setting and prints a line of JSON. Every engine runs
inside this process, as its documentation shows, one query after another. benchmarks/peers.py starts it.
"""

import asyncio
import inspect
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 1_000
MOST_S = 30
"""Seconds for the questions of one setting. A slow engine gets fewer questions."""
Search = Callable[[np.ndarray], Iterable[int] | Awaitable[Iterable[int]]]


def parts(vectors: np.ndarray) -> Iterable[tuple[range, np.ndarray]]:
    """Batches of row numbers and vectors."""
    for start in range(0, len(vectors), BATCH):
        yield range(start, min(start + BATCH, len(vectors))), vectors[start : start + BATCH]


class Pinyon:
    """Pinyon's storage engine, in an event loop, as the server uses it."""

    package, settings = "pinyon", ["", "exact"]

    def __init__(self, folder: Path) -> None:
        from pinyon.domain import IndexSpec
        from pinyon.storage.sqlite.engine import SqliteEngine

        self.loop = asyncio.new_event_loop()
        self.run = self.loop.run_until_complete
        self.engine = self.run(
            SqliteEngine.open_folder(
                folder, 2, 2**31 - 65536, cache_bytes=2**29, approximate_from=50_000, inline_read_s=0.001
            )
        )
        self.run(self.engine.create_index(IndexSpec("docs", 384, "cosine")))

    def load(self, vectors: np.ndarray) -> None:
        from pinyon.domain import Record

        for rows, part in parts(vectors):
            batch = [Record(str(row), vector, {"n": row}) for row, vector in zip(rows, part, strict=True)]
            self.run(self.engine.upsert("docs", "a", batch))

    def ready(self) -> None:
        self.run(self.engine.upkeep_done())

    def search(self, setting: str) -> Search:
        from pinyon.domain import QueryPlan

        async def search(query: np.ndarray) -> Iterable[int]:
            plan = QueryPlan(10, vector=query, exact=setting == "exact")
            answer = await self.engine.query("docs", "a", plan)
            return [int(match.id) for match in answer.matches]

        return search


class Chroma:
    """chromadb, on disk."""

    package, settings = "chromadb", [200]

    def __init__(self, folder: Path) -> None:
        import chromadb

        self.client = chromadb.PersistentClient(str(folder))
        self.docs = self.client.create_collection(
            "docs",
            configuration={"hnsw": {"space": "cosine", "ef_construction": 100, "max_neighbors": 16, "ef_search": 200}},
        )

    def load(self, vectors: np.ndarray) -> None:
        for rows, part in parts(vectors):
            self.docs.upsert(ids=[str(row) for row in rows], embeddings=part, metadatas=[{"n": row} for row in rows])

    def ready(self) -> None:
        pass

    def search(self, setting: int) -> Search:
        docs = self.docs  # changing ef_search afterwards had no effect here

        def search(query: np.ndarray) -> Iterable[int]:
            found = docs.query(query_embeddings=query[None], n_results=10, include=["metadatas", "distances"])
            return [int(id) for id in found["ids"][0]]

        return search


class Lance:
    """LanceDB, on disk, IVF_PQ as its documentation suggests for this size, refined by the vectors themselves."""

    package, settings = "lancedb", [(20, 10), (40, 10), (80, 20), (160, 20)]

    def __init__(self, folder: Path) -> None:
        import lancedb

        self.database = lancedb.connect(str(folder))

    def load(self, vectors: np.ndarray) -> None:
        import pyarrow as pa

        width = vectors.shape[1]
        kind = pa.schema([("id", pa.string()), ("n", pa.int64()), ("vector", pa.list_(pa.float32(), width))])
        self.docs = self.database.create_table("docs", schema=kind)
        for rows, part in parts(vectors):
            held = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), width)
            columns = [pa.array([str(row) for row in rows]), pa.array(list(rows)), held]
            upsert = self.docs.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            upsert.execute(pa.Table.from_arrays(columns, schema=kind))

    def ready(self) -> None:
        self.docs.create_index(metric="cosine", index_type="IVF_PQ", num_partitions=316, num_sub_vectors=96)

    def search(self, setting: tuple[int, int]) -> Search:
        probes, refine = setting

        def search(query: np.ndarray) -> Iterable[int]:
            found = self.docs.search(query).metric("cosine").nprobes(probes).refine_factor(refine).limit(10)
            return [int(id) for id in found.select(["id", "n"]).to_arrow()["id"].to_pylist()]

        return search


class Qdrant:
    """qdrant-edge-py: Qdrant's segments in this process."""

    package, settings = "qdrant-edge-py", [32, 64, 128, 192, 256, 512, "exact"]

    def __init__(self, folder: Path) -> None:
        import qdrant_edge as q

        folder.mkdir(exist_ok=True)
        vector = q.EdgeVectorParams(size=384, distance=q.Distance.Cosine)
        optimizers = q.EdgeOptimizersConfig(indexing_threshold=1_000)
        self.shard = q.EdgeShard.create(
            str(folder),
            q.EdgeConfig(
                vectors=vector,
                hnsw_config=q.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10_000),
                optimizers=optimizers,
            ),
        )

    def load(self, vectors: np.ndarray) -> None:
        import qdrant_edge as q

        for rows, part in parts(vectors):
            points = [q.Point(row, vector.tolist(), {"n": row}) for row, vector in zip(rows, part, strict=True)]
            self.shard.update(q.UpdateOperation.upsert_points(points))
        self.shard.flush()

    def ready(self) -> None:
        self.shard.optimize()

    def search(self, setting: int | str) -> Search:
        import qdrant_edge as q

        parameters = q.SearchParams(exact=True) if setting == "exact" else q.SearchParams(hnsw_ef=setting)

        def search(query: np.ndarray) -> Iterable[int]:
            asked = q.SearchRequest(
                query=q.Query.Nearest(query.tolist()), limit=10, params=parameters, with_payload=True
            )
            return [point.id for point in self.shard.search(asked)]

        return search


class Milvus:
    """milvus-lite."""

    package, settings = "milvus-lite", [128]

    def __init__(self, folder: Path) -> None:
        from pymilvus import MilvusClient

        folder.mkdir(exist_ok=True)
        self.client = MilvusClient(str(folder / "docs.db"))
        self.client.create_collection("docs", dimension=384, metric_type="COSINE", auto_id=False)

    def load(self, vectors: np.ndarray) -> None:
        for rows, part in parts(vectors):
            self.client.upsert(
                "docs", [{"id": row, "vector": v.tolist(), "n": row} for row, v in zip(rows, part, strict=True)]
            )

    def ready(self) -> None:
        self.client.release_collection("docs")
        self.client.drop_index("docs", "vector")
        wanted = self.client.prepare_index_params()
        wanted.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 100})
        self.client.create_index("docs", wanted)
        self.client.load_collection("docs")

    def search(self, setting: int) -> Search:
        def search(query: np.ndarray) -> Iterable[int]:
            found = self.client.search(
                "docs", [query.tolist()], limit=10, search_params={"params": {"ef": setting}}, output_fields=["n"]
            )
            return [hit["id"] for hit in found[0]]

        return search


class Txtai:
    """txtai with its default engine, Faiss, its default choice of index, and its store for fields."""

    package, settings = "txtai", [6, 16, 64, 128, 256]

    def __init__(self, folder: Path) -> None:
        from txtai import Embeddings

        def embedded(texts: Sequence[str | np.ndarray]) -> np.ndarray:
            """A text is the number of a vector; a question is its vector."""
            return np.stack([self.vectors[int(text)] if isinstance(text, str) else text for text in texts])

        self.docs = Embeddings(method="external", transform=embedded, content=True)

    def load(self, vectors: np.ndarray) -> None:
        self.vectors = vectors
        self.docs.index([(row, {"text": str(row), "n": row}, None) for row in range(len(vectors))])

    def ready(self) -> None:
        pass

    def search(self, setting: int) -> Search:
        self.docs.config.setdefault("faiss", {})["nprobe"] = setting
        asked = "select id, n, score from txtai where similar(:vector)"

        def search(query: np.ndarray) -> Iterable[int]:
            return [hit["n"] for hit in self.docs.search(asked, 10, parameters={"vector": query})]

        return search


async def measured(engine: Any, setting: Any, asked: np.ndarray, nearest: np.ndarray) -> dict[str, Any]:
    """p50 and p95 in ms, and recall, at one setting."""
    search = engine.search(setting)

    async def found(query: np.ndarray) -> list[int]:
        answer = search(query)
        return list(await answer if inspect.isawaitable(answer) else answer)

    for query in asked[-3:]:
        await found(query)
    times, recalls = [], []
    for query, wanted in zip(asked, nearest, strict=True):
        if sum(times) > MOST_S:
            break
        begun = time.perf_counter()
        rows = await found(query)
        times.append(time.perf_counter() - begun)
        recalls.append(len(set(rows) & set(wanted.tolist())) / 10)
    p50, p95 = np.percentile(times, [50, 95]) * 1e3
    return {"setting": setting, "p50": p50, "p95": p95, "recall": float(np.mean(recalls))}


ENGINES = {each.package: each for each in (Pinyon, Chroma, Lance, Qdrant, Milvus, Txtai)}


def main(name: str, folder: Path) -> None:
    """Measure, and print the results."""
    out = os.fdopen(os.dup(1), "w")  # engines print to stdout too
    os.dup2(2, 1)

    def tell(told: Any) -> None:
        print(json.dumps(told), file=out, flush=True)

    vectors, asked = np.load(folder / "vectors.npy"), np.load(folder / "questions.npy")
    nearest = np.load(folder / "nearest.npy")
    engine = ENGINES[name](folder / name)
    begun = time.perf_counter()
    engine.load(vectors)
    loaded = time.perf_counter() - begun
    engine.ready()
    ready = time.perf_counter() - begun
    tell({"version": version(name), "load": len(vectors) / loaded, "ready": len(vectors) / ready})
    loop = getattr(engine, "loop", None) or asyncio.new_event_loop()
    for _ in sys.stdin:
        tell([loop.run_until_complete(measured(engine, setting, asked, nearest)) for setting in engine.settings])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
