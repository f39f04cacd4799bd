"""Fits what a score means, and writes models/calibration.json.

    .venv/bin/python -m training.calibration PATH/TO/retrieval CACHE models/calibration.json \\
        --model all-MiniLM-L6-v2 --model multilingual-e5-small --rerank all-MiniLM-L6-v2

The collections are in BEIR layout. Vectors and scores go into the folder CACHE, and are read from there next time.
Prints the expected calibration error of each pipeline on each collection, by curves that were fitted on the others.
"""

import argparse
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from pinyon.domain import Centroid, Curve, TermStatistics
from pinyon.evaluation import collection
from pinyon.inference.answer import LATE_INTERACTION
from pinyon.inference.backend import Retrieved
from pinyon.inference.backends.reranking.fused_reranker import FusedReranker
from pinyon.inference.backends.reranking.late_interaction import LateInteractionReranker
from pinyon.inference.catalog import Catalog
from pinyon.inference.steps import finished
from pinyon.search import fusion
from pinyon.search.calibration import CurvesFile, PipelineCurve, calibration_error, isotonic, probability
from pinyon.search.ranking import IN_MIX, bm25, idf
from pinyon.search.text.analysis import QueryTerm, analysed, query_terms
from pinyon.search.unrelated import UNRELATED
from pinyon.shipped import SHIPPED

DEVELOPMENT = ("adi", "med", "cranfield", "cisi", "cacm", "nl2bash", "nq-small", "xquad/en")
EVALUATION = ("short-questions",)
"""Never used to fit a curve that is shipped."""
DOCUMENTS, QUERIES, RERANKED_QUERIES = 3_500, 400, 60
"""The largest samples of a collection."""
DEPTH = 50
"""Hits of each query that a curve is fitted on."""
CANDIDATES = 100

LEXICAL = "lexical"


class Hits(msgspec.Struct):
    """The best hits of all queries of a collection, best first. scores: float64 [queries, DEPTH], NaN where there is
    none. relevant: bool [queries, DEPTH].
    """

    scores: NDArray[np.float64]
    relevant: NDArray[np.bool_]

    def best(self, most: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The scores of the first hits of each query, float64 [n], and whether they are relevant."""
        scores, relevant = self.scores[:, :most], self.relevant[:, :most]
        return scores[~np.isnan(scores)], relevant[~np.isnan(scores)]


class Sample(msgspec.Struct):
    """A part of a collection. grades: for each query, the relevant documents."""

    name: str
    ids: list[str]
    documents: list[str]
    queries: list[str]
    relevant: list[set[str]]


def sample(folder: Path, name: str) -> Sample:
    """At most DOCUMENTS documents, every relevant one among them, and at most QUERIES queries."""
    whole = collection.read(folder / name)
    dice = random.Random(7)
    queries = sorted(whole.queries)
    if len(queries) > QUERIES:
        queries = sorted(dice.sample(queries, 300 if name.startswith("xquad") else QUERIES))
    documents = dict(whole.documents)
    if len(documents) > DOCUMENTS:
        wanted = {id for query in queries for id, grade in whole.grades[query].items() if grade > 0 and id in documents}
        rest = sorted(set(documents) - wanted)
        wanted |= set(dice.sample(rest, max(0, DOCUMENTS - len(wanted))))
        documents = {id: text for id, text in documents.items() if id in wanted}
    relevant = [{id for id, grade in whole.grades[query].items() if grade > 0} for query in queries]
    texts = [whole.queries[query] for query in queries]
    return Sample(name, list(documents), list(documents.values()), texts, relevant)


class Model:
    """An embedding model with its prefixes. precision: how it is computed."""

    def __init__(self, name: str, precision: str, cache: Path) -> None:
        self.name, self._cache = name, cache
        catalog = Catalog(SHIPPED / "models", token_cache_bytes=4_000_000_000)
        self._entry = catalog.entry(name, "embed")
        self.encoder: Any = catalog.bare(name, precision)  # type: ignore[arg-type]

    def file(self, of: str, is_query: bool) -> Path:
        """Where vectors() keeps its result."""
        return self._cache / f"{self.name}-{of.replace('/', '_')}-{'queries' if is_query else 'documents'}.npy"

    def vectors(self, of: str, texts: Sequence[str], is_query: bool) -> NDArray[np.float64]:
        """Unit vectors, float64 [n, dimension]. of: a name for the cache."""
        file = self.file(of, is_query)
        if not file.exists():
            prefix = (self._entry.query_prefix if is_query else self._entry.passage_prefix) or ""
            parts = [
                self.encoder.encode([prefix + text for text in texts[start : start + 32]], self._entry.max_tokens)
                for start in range(0, len(texts), 32)
            ]
            np.save(file, np.concatenate([part.vectors for part in parts]))
        exact = np.load(file).astype(np.float64)
        return np.asarray(exact / np.linalg.norm(exact, axis=1, keepdims=True))


class Words:
    """The words of a sample: BM25 and shares of all documents, and term statistics of a query."""

    def __init__(self, documents: Sequence[str]) -> None:
        self._postings: dict[str, dict[int, int]] = {}
        lengths = []
        for place, text in enumerate(analysed(documents, "english")):
            lengths.append(text.words)
            for term, count in Counter(text.terms).items():
                self._postings.setdefault(term, {})[place] = count
        self._lengths = np.array(lengths, np.float64)

    def scores(self, query: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """BM25 and share of each document, float64 [documents]."""
        scores, shares, whole = np.zeros(len(self._lengths)), np.zeros(len(self._lengths)), 0.0
        for term, repetitions in Counter(query_terms(query, "english")).items():
            counts = self._counts(term)
            weight = repetitions * term.weight * idf(len(self._lengths), len(counts))
            whole += weight
            if counts:
                places, numbers = np.array(list(counts)), np.array(list(counts.values()), np.float64)
                average = float(self._lengths.mean())
                scores[places] += weight * bm25(numbers, self._lengths[places], average)
                shares[places] += weight * IN_MIX.weights(numbers, self._lengths[places], average)
        return scores, shares / whole if whole else shares

    def statistics(self, query: str) -> TermStatistics:
        """What late interaction weighs the query's tokens by."""
        having = {term.forms: len(self._counts(term)) for term in query_terms(query, "english")}
        return TermStatistics(len(self._lengths), float(self._lengths.mean()), having, "english")

    def _counts(self, term: QueryTerm) -> dict[int, int]:
        return self._postings.get(term.forms[0], {})


def pipelines(sample: Sample, model: Model, rerank: bool) -> dict[str, Hits]:
    """The hits of each pipeline: dense, lexical, hybrid, or only hybrid reranked by late interaction."""
    documents = model.vectors(sample.name, sample.documents, False)
    queries = model.vectors(sample.name, sample.queries, True)
    centroid = Centroid(documents.mean(axis=0), len(documents))
    unrelated = model.vectors("unrelated", UNRELATED, False).mean(axis=0)
    words = Words(sample.documents)
    rows: dict[str, list[tuple[NDArray[np.float64], NDArray[np.bool_]]]] = {}

    def add(pipeline: str, places: NDArray[np.int64], scores: NDArray[np.float64], wanted: set[str]) -> None:
        order = _best(scores, DEPTH)
        padded, relevant = np.full(DEPTH, np.nan), np.zeros(DEPTH, np.bool_)
        padded[: len(order)] = scores[order]
        relevant[: len(order)] = [sample.ids[place] in wanted for place in places[order]]
        rows.setdefault(pipeline, []).append((padded, relevant))

    for number, (query, vector, wanted) in enumerate(zip(sample.queries, queries, sample.relevant, strict=True)):
        cosines = documents @ vector
        chance = fusion.background(vector.astype(np.float32), centroid, unrelated)
        similarities = fusion.corrected(cosines, chance)
        by_words, shares = words.scores(query)
        candidates = np.union1d(_best(cosines, CANDIDATES), _best(by_words, CANDIDATES))
        fused = fusion.fused(fusion.Sides(similarities, shares))[candidates]
        if not rerank:
            add("dense", np.arange(len(cosines)), cosines, wanted)
            add("hybrid", candidates, fused, wanted)
            with_words = np.flatnonzero(by_words)
            add(LEXICAL, with_words, by_words[with_words], wanted)
        elif number < RERANKED_QUERIES:
            best = candidates[_best(fused, DEPTH)]
            statistics = words.statistics(query)
            own = LateInteractionReranker(model.encoder, LATE_INTERACTION, 1024, statistics)
            retrieved = Retrieved(model.encoder, statistics, similarities[best])
            reranker = FusedReranker(own, fusion.with_late_interaction, retrieved)
            scores = finished(reranker.score(query, [sample.documents[place] for place in best], "END"))
            add(LATE_INTERACTION, best, scores.astype(np.float64), wanted)
    return {
        name: Hits(np.stack([scores for scores, _ in hits]), np.stack([relevant for _, relevant in hits]))
        for name, hits in rows.items()
    }


def _best(values: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    return np.argsort(-values, kind="stable")[:most]


def cached(sample: Sample, model: Model, rerank: bool, cache: Path) -> dict[str, Hits]:
    """pipelines(), from the cache if they are in it."""
    file = cache / f"{model.name}-{sample.name.replace('/', '_')}-{'reranked' if rerank else 'retrieved'}.npz"
    if not file.exists():
        computed = pipelines(sample, model, rerank)
        arrays = {f"{name}:{part}": getattr(hits, part) for name, hits in computed.items() for part in PARTS}
        np.savez_compressed(file, allow_pickle=False, **arrays)
    arrays = dict(np.load(file))
    return {
        name: Hits(*(arrays[f"{name}:{part}"] for part in PARTS)) for name in {key.partition(":")[0] for key in arrays}
    }


PARTS = ("scores", "relevant")


def fit(collections: Sequence[Hits]) -> Curve:
    """One curve for several collections, which count alike."""
    best = [hits.best(DEPTH) for hits in collections]
    weights = np.concatenate([np.full(len(scores), 1.0 / len(scores)) for scores, _ in best])
    return isotonic(*(np.concatenate([one[part] for one in best]) for part in (0, 1)), weights)


def left_out(by_collection: dict[str, Hits], most: int) -> dict[str, float]:
    """The calibration error of each collection, by a curve of the others, over the `most` best hits of each query.

    `together`: that of all collections as one, in which each counts alike.
    """
    errors: dict[str, float] = {}
    predicted, judged, weights = [], [], []
    for name, hits in by_collection.items():
        curve = fit([other for key, other in by_collection.items() if key != name and key in DEVELOPMENT])
        scores, relevant = hits.best(most)
        chances = probability(curve, scores)
        errors[name] = calibration_error(chances, relevant)
        predicted.append(chances)
        judged.append(relevant)
        weights.append(np.full(len(scores), 1.0 / len(scores)))
    together = calibration_error(*(np.concatenate(parts) for parts in (predicted, judged, weights)))
    return errors | {"together": together}


def as_json(file: CurvesFile) -> bytes:
    """The file, with a line for each curve."""
    curves = b",\n  ".join(map(msgspec.json.encode, file.curves))
    return b'{\n "made_by": %s,\n "curves": [\n  %s\n ]\n}\n' % (msgspec.json.encode(file.made_by), curves)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the collections")
    parser.add_argument("cache", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--rerank", action="append", default=[], help="a model that also reranks; takes long")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--only-cached", action="store_true", help="leave out collections without cached vectors")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    versions = Catalog(SHIPPED / "models").versions()
    curves: list[PipelineCurve] = []
    for name in options.model:
        model = Model(name, options.precision, options.cache)
        by_pipeline: dict[str, dict[str, Hits]] = {}
        for of in (*DEVELOPMENT, *EVALUATION):
            if options.only_cached and not model.file(of, is_query=False).exists():
                continue
            part = sample(options.data, of)
            for rerank in (False, True) if name in options.rerank else (False,):
                for pipeline, hits in cached(part, model, rerank, options.cache).items():
                    by_pipeline.setdefault(pipeline, {})[of] = hits
        for pipeline, by_collection in sorted(by_pipeline.items()):
            if pipeline == LEXICAL and any(curve.pipeline == LEXICAL for curve in curves):
                continue  # it does not depend on the model
            needs = ("", "") if pipeline == LEXICAL else (name, versions[name])
            used = [key for key in by_collection if key in DEVELOPMENT]
            curve = fit([by_collection[key] for key in used])
            curves.append(PipelineCurve(pipeline, *needs, curve, tuple(used)))
            for most in (10, DEPTH):
                errors = left_out(by_collection, most)
                told = ", ".join(f"{of} {value:.3f}" for of, value in errors.items())
                print(f"{pipeline}, {name}, {most} hits: {told}")
    made = "python -m training.calibration"
    options.out.write_bytes(as_json(CurvesFile(made, tuple(curves))))


if __name__ == "__main__":
    main()
