"""The report of `pinyon eval`: measures pipelines on collections, caches the results, and compares them with dense."""

import hashlib
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from pinyon import decoding
from pinyon.errors import InvalidArgument
from pinyon.evaluation import pipelines
from pinyon.evaluation.asking import Pipeline
from pinyon.evaluation.collection import Collection, read
from pinyon.evaluation.measures import MEASURES, compared
from pinyon.evaluation.pipelines import Outcome
from pinyon.inference.catalog import Catalog
from pinyon.settings import Settings
from pinyon.shipped import shipped_model

BASELINE = "dense"
"""The pipeline that others are compared with."""


class Evaluated(msgspec.Struct, frozen=True):
    """One collection with the outcome of each pipeline."""

    collection: str
    documents: int
    queries: int
    outcomes: list[Outcome]


async def evaluate(
    settings: Settings, folders: Sequence[Path], wanted: Sequence[Pipeline], cache: Path | None
) -> list[Evaluated]:
    """Measure every pipeline on every collection. Outcomes in the cache folder are not measured again.

    The name of a cache file is a hash of what its outcome depends on: the collection's content, the program, the
    settings and the models.
    """
    collections = [read(folder) for folder in folders]
    program = _program(settings)
    evaluated = []
    for collection in collections:
        known: dict[str, Outcome] = {}
        files = {pipeline.name: _file(cache, program, collection, pipeline) for pipeline in wanted if cache is not None}
        for name, file in files.items():
            if (cached := _read(file)) is not None:
                known[name] = cached
        missing = [pipeline for pipeline in wanted if pipeline.name not in known]
        if missing:
            for outcome in await pipelines.run(settings, collection, missing):
                known[outcome.pipeline] = outcome
                if outcome.pipeline in files:
                    _write(files[outcome.pipeline], msgspec.json.encode(outcome))
        outcomes = [known[pipeline.name] for pipeline in wanted if pipeline.name in known]
        evaluated.append(Evaluated(collection.name, len(collection.documents), len(collection.queries), outcomes))
    return evaluated


def _program(settings: Settings) -> str:
    """A hash of everything that an outcome depends on, except the collection."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    digest.update(shipped_model(settings.models_dir, "manifest.toml").read_bytes())
    catalog = Catalog.of(settings)
    digest.update(
        repr({name: (version, catalog.precision(name)) for name, version in catalog.versions().items()}).encode()
    )
    answering = settings.index, settings.models.stand_ins, settings.models.quick
    digest.update(repr((answering, sorted(catalog.entries.items()))).encode())
    return digest.hexdigest()


def _file(cache: Path, program: str, collection: Collection, pipeline: Pipeline) -> Path:
    key = hashlib.sha256(repr((program, collection.digest, pipeline)).encode()).hexdigest()
    return cache / f"{collection.name}-{key[:32]}.json"


def _read(file: Path) -> Outcome | None:
    """A cached outcome, or None if there is none or it cannot be read."""
    try:
        return decoding.decode(file.read_bytes(), Outcome)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_bytes(content)
        part.replace(file)
    except OSError as error:
        print(f"pinyon: the outcome cannot be cached in {file.parent}: {error.strerror}", file=sys.stderr)


def as_json(evaluated: Sequence[Evaluated]) -> dict[str, Any]:
    """The whole report as JSON values. `pooled` compares pipelines over the queries of all collections."""
    return {
        "collections": [
            {
                "collection": one.collection,
                "documents": one.documents,
                "queries": one.queries,
                "pipelines": {outcome.pipeline: _row(outcome, _outcome(one, BASELINE)) for outcome in one.outcomes},
            }
            for one in evaluated
        ],
        "pooled": _pooled(evaluated),
    }


def _outcome(one: Evaluated, pipeline: str) -> Outcome | None:
    return next((outcome for outcome in one.outcomes if outcome.pipeline == pipeline), None)


def _row(outcome: Outcome, against: Outcome | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        name: round(statistics.fmean(outcome.values[name]), 4)
        for name in MEASURES
        # A reranked list is no longer than what was reranked.
        if name != "recall@100" or "+" not in outcome.pipeline
    }
    row |= outcome.times
    row["computed_by"] = outcome.computed_by
    if against is not None and against is not outcome:
        row["against_dense"] = msgspec.to_builtins(compared(outcome.values["nDCG@10"], against.values["nDCG@10"]))
    return row


def _pooled(evaluated: Sequence[Evaluated]) -> dict[str, Any]:
    """For each pipeline that ran on all collections: the comparison over all queries, the mean gain, the worst gain."""
    pooled: dict[str, Any] = {}
    names = [outcome.pipeline for outcome in evaluated[0].outcomes if outcome.pipeline != BASELINE] if evaluated else []
    for name in names:
        pairs = [(_outcome(one, name), _outcome(one, BASELINE)) for one in evaluated]
        both = [(a.values["nDCG@10"], b.values["nDCG@10"]) for a, b in pairs if a is not None and b is not None]
        if len(both) < len(evaluated) or any(statistics.fmean(b) == 0 for _, b in both):
            continue
        gains = [statistics.fmean(a) / statistics.fmean(b) - 1 for a, b in both]
        verdict = compared([x for a, _ in both for x in a], [x for _, b in both for x in b])
        pooled[name] = {
            "queries": sum(len(a) for a, _ in both),
            "mean_gain": round(statistics.fmean(gains), 4),
            "worst_gain": round(min(gains), 4),
            "against_dense": msgspec.to_builtins(verdict),
        }
    return pooled


def as_table(told: dict[str, Any]) -> str:
    """The report as a table for people."""
    lines = []
    for one in told["collections"]:
        lines.append(f"{one['collection']}: {one['documents']} documents, {one['queries']} queries")
        rows = one["pipelines"]
        width = max(len(name) for name in rows)
        lines.append(f"  {'':{width}}  nDCG@10  recall@100  MRR@10   p50 ms   p95 ms  nDCG@10 against dense")
        for name, row in rows.items():
            recall = f"{row['recall@100']:10.4f}" if "recall@100" in row else f"{'-':>10}"
            lines.append(
                f"  {name:{width}}  {row['nDCG@10']:7.4f}  {recall}  {row['MRR@10']:6.4f}  {row['p50_ms']:7.1f}  "
                f"{row['p95_ms']:7.1f}  {_verdict(row.get('against_dense'))}"
            )
    if len(told["collections"]) > 1:
        lines.append("all queries pooled, nDCG@10 against dense")
        for name, row in told["pooled"].items():
            lines.append(
                f"  {name}: {_verdict(row['against_dense'])} over {row['queries']} queries; mean gain "
                f"{row['mean_gain']:+.1%}, worst {row['worst_gain']:+.1%}"
            )
    by = {label for one in told["collections"] for row in one["pipelines"].values() for label in row["computed_by"]}
    lines.append("computed by " + ", ".join(sorted(by)))
    return "\n".join(lines)


def _verdict(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return ""
    return f"{verdict['word']} {verdict['difference']:+.4f} ({verdict['low']:+.4f} to {verdict['high']:+.4f})"


def floors(asked: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """Parse --fail-under: the least nDCG@10 by pipeline. A bare number is for all pipelines. Raises InvalidArgument."""
    wanted: dict[str, float] = {}
    for text in asked:
        name, _, number = text.rpartition("=")
        try:
            floor = float(number)
        except ValueError:
            floor = -1.0
        if not 0 <= floor <= 1:
            raise InvalidArgument(f"--fail-under takes a number from 0 to 1, or PIPELINE=NUMBER, not {text!r}")
        if name and name not in names:
            raise InvalidArgument(f"--fail-under names the pipeline {name!r}; measured are {', '.join(names)}")
        wanted |= {name: floor} if name else {each: max(floor, wanted.get(each, 0.0)) for each in names}
    return wanted


def below(told: dict[str, Any], floors: dict[str, float]) -> list[str]:
    """A sentence for each collection and pipeline whose nDCG@10 is below its floor."""
    return [
        f"{one['collection']}, {name}: nDCG@10 {row['nDCG@10']:.4f} is under {floors[name]:g}"
        for one in told["collections"]
        for name, row in one["pipelines"].items()
        if name in floors and row["nDCG@10"] < floors[name]
    ]
