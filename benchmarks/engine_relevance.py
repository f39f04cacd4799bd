"""Compares the relevance of approximate search with that of a search that compares everything, on both engines.

    python -m benchmarks.engine_relevance

The collections are those of ../shared/data, of the large ones a sample, embedded by all-MiniLM-L6-v2. Each collection
with at least FROM documents has a namespace of its own, and one namespace holds the documents of all, with sentences
that fill it up to RECORDS. FROM is far below the line from which the engines use their search indexes
by themselves, so that every namespace has one: HNSW on PostgreSQL, an inverted file (IVF) on SQLite.

Prints the mean nDCG@10 of the search that compares everything, and what an approximate search adds to it. Stops if
PostgreSQL did not use its index, or if the two engines differ where both compare everything.
"""

import argparse
import asyncio
import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from pinyon.domain import EmbedSpec, IndexSpec, QueryPlan, Record
from pinyon.evaluation import collection, measures
from pinyon.search.unrelated import UNRELATED
from pinyon.storage.engine import Engine
from pinyon.storage.postgres.engine import PostgresEngine
from pinyon.storage.postgres.options import EngineOptions
from pinyon.storage.sqlite.engine import SqliteEngine

from benchmarks import texts, vectors
from benchmarks.engines import SERVER
from tests.postgres.server import running

COLLECTIONS = ("adi", "cacm", "cisi", "cranfield", "med", "nl2bash", "nq-small", "short-questions", "xquad/en")
TOGETHER, RECORDS = "together", 50_000
DOCUMENTS, QUERIES, TOP_K = 3_500, 400, 10
FROM, CHECKED, BATCH = 1_000, 20, 1_000
CACHE = vectors.CACHE / "relevance"
MODES = ("dense", "hybrid")
Vectors = NDArray[np.float32]


class Judged(msgspec.Struct, frozen=True):
    """A collection with its vectors, float32 [n, 384] each. The ids of documents begin with the collection's name."""

    name: str
    documents: Sequence[tuple[str, str]]
    queries: Mapping[str, str]
    grades: collection.Grades
    of_documents: Vectors
    of_queries: Vectors


class Encoder:
    """all-MiniLM-L6-v2, loaded when a file of vectors is missing."""

    _encoder: Any = None

    def vectors(self, name: str, rows: Sequence[str]) -> Vectors:
        """The vectors of texts, from the file of this name, which is written if it is not there."""
        file = CACHE / f"{name.replace('/', '_')}.npy"
        if not file.exists():
            if self._encoder is None:
                from pinyon.inference.catalog import Catalog

                self._encoder = Catalog(texts.PROJECT / "models").bare(vectors.MODEL, "fp32")
            parts = [self._encoder.encode(rows[at : at + 32], 256).vectors for at in range(0, len(rows), 32)]
            CACHE.mkdir(parents=True, exist_ok=True)
            np.save(file, np.concatenate(parts))
        found: Vectors = np.load(file)
        assert len(found) == len(rows), f"{file} has {len(found)} vectors for {len(rows)} texts; remove it"
        return found


def read(name: str, encoder: Encoder) -> Judged:
    """A collection; of a large one, a seeded sample of its questions, and of its documents with all relevant ones."""
    whole = collection.read(texts.DATA / "retrieval" / name)
    dice = random.Random(7)
    ids, documents = sorted(whole.queries), dict(whole.documents)
    if len(ids) > QUERIES:
        ids = sorted(dice.sample(ids, QUERIES))
    if len(documents) > DOCUMENTS:
        wanted = {document for id in ids for document, grade in whole.grades[id].items() if grade > 0} & set(documents)
        wanted |= set(dice.sample(sorted(set(documents) - wanted), max(0, DOCUMENTS - len(wanted))))
        documents = {id: text for id, text in documents.items() if id in wanted}
    queries = {id: whole.queries[id] for id in ids}
    return Judged(
        name,
        [(f"{name}/{id}", text) for id, text in documents.items()],
        queries,
        {id: {f"{name}/{document}": grade for document, grade in whole.grades[id].items()} for id in ids},
        encoder.vectors(f"{name}-documents", list(documents.values())),
        encoder.vectors(f"{name}-queries", list(queries.values())),
    )


def fillers(count: int) -> Vectors:
    """Vectors of sentences that are in no collection: of those in benchmarks/vectors.py, the ones of training data."""
    files = texts.DATA.glob("retrieval/*/corpus.jsonl")
    own = {part for file in files for text in texts.column(file) for part in vectors.split(text)}
    stored, _, real = vectors.load(vectors.SENTENCES)
    foreign = [at for at, sentence in enumerate(vectors.sentences(texts.DATA)[:real]) if sentence not in own]
    assert len(foreign) >= count, f"there are vectors of {len(foreign)} sentences, {count} are wanted"
    return stored[foreign[:count]]


async def load(engine: Engine, judged: Sequence[Judged], records: int) -> None:
    """Store the collections, each alone and all together."""
    await engine.create_index(IndexSpec("docs", vectors.DIMENSION, "cosine", EmbedSpec(vectors.MODEL, "text")))
    spaces: dict[str, list[Record]] = {TOGETHER: []}
    for each in judged:
        rows = zip(each.documents, each.of_documents, strict=True)
        spaces[each.name] = [Record(id, vector, {"text": text}) for (id, text), vector in rows]
        spaces[TOGETHER] += spaces[each.name]
    missing = max(0, records - len(spaces[TOGETHER]))
    spaces[TOGETHER] += [Record(f"s{at}", vector, {}) for at, vector in enumerate(fillers(missing))]
    for namespace, rows in spaces.items():
        for start in range(0, len(rows), BATCH):
            await engine.upsert("docs", namespace, rows[start : start + BATCH])
    await engine.upkeep_done()


class Comparison:
    """The same questions to both engines, exactly and approximately."""

    def __init__(self, engines: Mapping[str, Engine], unrelated: NDArray[np.float64]) -> None:
        self.engines, self.unrelated = engines, unrelated

    async def ids(self, engine: str, namespace: str, plan: QueryPlan) -> tuple[list[str], bool]:
        """The hits, best first, and whether they may miss some."""
        answer = await self.engines[engine].query("docs", namespace, plan)
        return [match.id for match in answer.matches], answer.approximate

    async def row(self, judged: Judged, namespace: str, mode: str) -> list[float]:
        """nDCG@10 when everything is compared, by HNSW, and by IVF."""
        hits: dict[str, dict[str, list[str]]] = {"exact": {}, "postgres": {}, "sqlite": {}}
        for place, ((id, text), vector) in enumerate(zip(judged.queries.items(), judged.of_queries, strict=True)):
            plan = QueryPlan(TOP_K, vector, text=text if mode == "hybrid" else None, unrelated=self.unrelated)
            exact = msgspec.structs.replace(plan, exact=True)
            hits["exact"][id] = (await self.ids("sqlite", namespace, exact))[0]
            if place < CHECKED:
                assert (await self.ids("postgres", namespace, exact))[0] == hits["exact"][id], (namespace, mode, id)
            for engine in self.engines:
                hits[engine][id], approximate = await self.ids(engine, namespace, plan)
                assert approximate or engine == "sqlite", f"{namespace} has no HNSW index"
        return [float(np.mean(measures.values(each, judged.grades)["nDCG@10"])) for each in hits.values()]

    async def table(self, title: str, judged: Sequence[Judged], together: bool) -> None:
        """Print a row for each collection."""
        print(f"\n{title}\n")
        print("| | " + " | ".join(f"{mode} | HNSW | IVF" for mode in MODES) + " |")
        print("|---" * (1 + 3 * len(MODES)) + "|")
        for each in judged:
            cells = []
            for mode in MODES:
                exact, hnsw, ivf = await self.row(each, TOGETHER if together else each.name, mode)
                cells += [f"{exact:.4f}", f"{hnsw - exact:+.4f}", f"{ivf - exact:+.4f}"]
            print(f"| {each.name} | {' | '.join(cells)} |", flush=True)


async def main(records: int) -> None:
    if not texts.has_collections():
        print(f"Not measured, because {texts.DATA} has no collections.")
        return
    encoder = Encoder()
    judged = [read(name, encoder) for name in COLLECTIONS]
    of_unrelated = encoder.vectors("unrelated", UNRELATED).astype(np.float64)
    unrelated = (of_unrelated / np.linalg.norm(of_unrelated, axis=1, keepdims=True)).mean(axis=0)
    with tempfile.TemporaryDirectory() as folder, running(**SERVER, synchronous_commit="off") as server:
        caches = {"cache_bytes": 2**29, "posting_cache_bytes": 2**26}
        options = EngineOptions(server.dsn, posting_cache_bytes=2**26, approximate_from=FROM, statement_timeout_s=600)
        engines: dict[str, Engine] = {
            "postgres": await PostgresEngine.open_database(options),
            "sqlite": await SqliteEngine.open_folder(Path(folder), 2, 2**31 - 65536, approximate_from=FROM, **caches),
        }
        try:
            for engine in engines.values():
                await load(engine, judged, records)
            comparison = Comparison(engines, unrelated)
            large = [each for each in judged if len(each.documents) >= FROM]
            print(
                "nDCG@10, all-MiniLM-L6-v2. dense, hybrid: everything is compared. HNSW, IVF: the difference if"
                " PostgreSQL uses its index, and if SQLite uses its own."
            )
            await comparison.table("Each collection alone", large, together=False)
            await comparison.table(f"All collections in one namespace of {records:,} records", judged, together=True)
        finally:
            for engine in engines.values():
                await engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=RECORDS, help="of the namespace that holds all collections")
    asyncio.run(main(parser.parse_args().records))
