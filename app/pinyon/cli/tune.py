"""`pinyon tune`: fits the mix of an index, and what its scores mean, to judged queries."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinyon.cli.common import settings_of, with_server

if TYPE_CHECKING:
    from pinyon.cli.index_client import IndexClient

MOST_HITS = 50
"""Hits of each query that a calibration is fitted to, and that are reranked."""


def add(commands: Any) -> None:
    """Make the subcommand known."""
    parser = commands.add_parser(
        "tune",
        help="fit the scores of an index to judged queries",
        description="Searches the index for at least 20 queries with known answers. Fits how much meaning and words "
        "(and learned words, and a reranker's own score) count, and how many candidates each side brings; then what "
        "the scores mean, for min_score. Both are tried on queries that they were not fitted on, and stored with the "
        "index if the gain is more than chance. Status 2 if the mix stays as it is. Works in the running server, or "
        "in the data folder if none runs.",
    )
    parser.add_argument("index", metavar="INDEX")
    parser.add_argument(
        "judgements",
        nargs="?",
        type=Path,
        metavar="JUDGEMENTS",
        help='a file with a line {"query": TEXT, "relevant": [ID, ...]} for each query, or {ID: GRADE, ...} for '
        "the ids; or a folder in BEIR layout (queries.jsonl, qrels.tsv or qrels/test.tsv)",
    )
    parser.add_argument(
        "--namespace", default="__default__", metavar="NAME", help="what to search (default: the default)"
    )
    parser.add_argument(
        "--rerank",
        metavar="MODEL",
        help="also fit reranking by this model, such as pinyon-late-interaction",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the gain, store nothing")
    parser.add_argument("--reset", action="store_true", help="take back what was stored: the mix and the calibration")
    parser.set_defaults(run=_run)
    with_server(parser)


def _run(options: argparse.Namespace) -> int:
    from pinyon.errors import InvalidArgument

    if options.reset == (options.judgements is not None):
        raise InvalidArgument("Say either JUDGEMENTS, a file or a folder, or --reset")
    settings = settings_of(options)
    import asyncio

    return asyncio.run(_reset(settings, options) if options.reset else _tune(settings, options))


async def _reset(settings: Any, options: argparse.Namespace) -> int:
    from pinyon.cli.index_client import opened

    async with opened(settings, options.key, options.index) as index:
        await index.configure({"mix": None, "calibration": None})
    print(f"Index {options.index} has the mix and the calibration of every index again.")
    return 0


async def _tune(settings: Any, options: argparse.Namespace) -> int:
    from pinyon.cli.index_client import opened
    from pinyon.errors import InvalidArgument
    from pinyon.evaluation import tuning
    from pinyon.evaluation.judgements import read_judgements

    queries = read_judgements(options.judgements)
    if len(queries) < tuning.LEAST_QUERIES:
        raise InvalidArgument(
            f"{options.judgements} has {len(queries)} queries with a relevant record; at least {tuning.LEAST_QUERIES} "
            "are needed to tell a gain from chance"
        )
    async with opened(settings, options.key, options.index) as index:
        from pinyon.domain import EVEN
        from pinyon.services.control_plane import mix_rules

        stored = index.read_parameters()
        current = mix_rules.mix(stored.get("mix")) or EVEN
        if options.rerank and (by := await index.served_by(options.rerank)) != options.rerank:
            raise InvalidArgument(f"{options.rerank} is answered by {by} here; say --rerank {by}")
        reranker = options.rerank if options.rerank in tuning.RERANKER_WEIGHTS else None
        asked = [await _candidates(index, options.namespace, query, reranker) for query in queries]
        if not any(grade in candidates.ids for candidates in asked for grade in candidates.grades):
            raise InvalidArgument(
                f"No judged record is among the hits in namespace {options.namespace}; do ids and namespace fit?"
            )
        tuned = tuning.tune(asked, current)
        accepted = tuned.gain.word == "better" and tuned.mix != current
        gain = tuned.gain
        print(
            f"nDCG@10 over {len(queries)} queries: {tuned.before:.4f} now, {tuned.after:.4f} by a mix that "
            f"was fitted to other queries. Gain {gain.difference:+.4f} (95 %: {gain.low:+.4f} to {gain.high:+.4f})."
        )
        mix = tuned.mix if accepted else current
        print(f"The mix that fits all of them: {_words(tuned.mix)}.")
        if not accepted:
            print("The gain is not more than chance, so the mix stays as it is.", file=sys.stderr)
        calibration = await _calibration(index, options, queries, mix)
        if options.dry_run:
            print("Nothing was stored.")
        elif accepted or calibration:
            change: dict[str, Any] = {"mix": _as_json(mix)}
            await index.configure({**change, "calibration": calibration or None})
            parts = ["the mix"] * accepted + ["the calibration"] * bool(calibration)
            print(f"Stored with {options.index}: {' and '.join(parts)}. Take back: pinyon tune {options.index} --reset")
    return 0 if accepted else 2


async def _candidates(index: "IndexClient", namespace: str, query: Any, reranker: str | None) -> Any:
    from pinyon.evaluation import tuning

    most = MOST_HITS if reranker else tuning.MOST_CANDIDATES
    even = {"candidates": tuning.MOST_CANDIDATES}
    hits = await index.search(namespace, query.text, top_k=most, retrieval="hybrid", mix=even, rerank=reranker)
    return tuning.candidates(hits, query.grades, reranker)


async def _calibration(index: "IndexClient", options: argparse.Namespace, queries: Any, mix: Any) -> dict[str, Any]:
    """The curves of the pipelines whose scores tell relevant hits from others. Says how good they are."""
    import numpy as np

    from pinyon.evaluation import tuning

    calibration = {}
    for pipeline in ("dense", "lexical", "hybrid", *([options.rerank] if options.rerank else [])):
        rerank = pipeline if pipeline == options.rerank else None
        scores, relevant = [], []
        for query in queries:
            retrieval = "hybrid" if rerank else pipeline
            hits = await index.search(
                options.namespace, query.text, top_k=MOST_HITS, retrieval=retrieval, mix=_as_json(mix), rerank=rerank
            )
            scores.append(np.array([hit["_score"] for hit in hits], np.float64))
            relevant.append(np.array([hit["_id"] in query.grades for hit in hits], np.bool_))
        tuned = tuning.calibrate(scores, relevant)
        if tuned is None:
            print(f"{pipeline}: too few relevant hits to calibrate its scores.")
        elif tuned.told_apart.word != "better":
            print(f"{pipeline}: its scores do not tell relevant hits from others, so they are not calibrated.")
        else:
            print(f"{pipeline}: calibrated; expected calibration error {tuned.error:.3f} on queries left out.")
            calibration[pipeline] = tuned.curve
    return calibration


def _as_json(mix: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.structs.asdict(mix)


def _words(mix: Any) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in _as_json(mix).items())
