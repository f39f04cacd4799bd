"""`pinyon eval`: measures the quality of each search pipeline on judged collections."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from pinyon.cli.common import add_settings, settings_of


def add(commands: Any) -> None:
    """Make the subcommand known."""
    parser = commands.add_parser(
        "eval",
        help="measure the quality of search on collections with known answers",
        description="Searches for every judged query of collections in BEIR layout (corpus.jsonl, queries.jsonl, "
        "qrels.tsv or qrels/test.tsv): dense, lexical and hybrid, each with and without reranking. Says which "
        "pipelines are better than dense search alone, and which differences are chance. Does not touch the data of a "
        "server.",
    )
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET", help="folder of a collection")
    parser.add_argument(
        "--rerank",
        action="append",
        metavar="MODEL",
        help="reranking model; repeatable (default: bge-reranker-v2-m3 if its weights are here, or "
        "pinyon-late-interaction)",
    )
    parser.add_argument("--no-rerank", action="store_true", help="measure retrieval only")
    parser.add_argument("--depth", type=int, default=50, metavar="N", help="hits to rerank (default: 50)")
    parser.add_argument(
        "--pipeline",
        action="append",
        metavar="NAME",
        help="measure only this pipeline, such as hybrid or dense+MODEL; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--fail-under",
        action="append",
        default=[],
        metavar="[PIPELINE=]NDCG",
        help="status 2 if nDCG@10 is lower on any collection; repeatable",
    )
    parser.add_argument("--no-cache", action="store_true", help="ignore earlier measurements")
    parser.set_defaults(run=_run)
    add_settings(parser, "models")


def _run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    import asyncio

    from pinyon.errors import InvalidArgument
    from pinyon.evaluation import asking, report

    if not 1 <= options.depth <= asking.TOP_K:
        raise InvalidArgument(f"--depth must be between 1 and {asking.TOP_K}, got {options.depth}")
    rerankers = [] if options.no_rerank else options.rerank or [_reranker(settings)]
    wanted = asking.pipelines(rerankers, options.depth)
    names = [pipeline.name for pipeline in wanted]
    for name in options.pipeline or ():
        if name not in names:
            raise InvalidArgument(f"There is no pipeline {name!r}; with these rerankers there are {', '.join(names)}")
    if options.pipeline:
        wanted = [pipeline for pipeline in wanted if pipeline.name in options.pipeline]
    floors = report.floors(options.fail_under, [pipeline.name for pipeline in wanted])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinyon" / "eval"
    evaluated = asyncio.run(report.evaluate(settings, options.datasets, wanted, None if options.no_cache else cache))
    summary = report.as_json(evaluated)
    print(json.dumps(summary, indent=2) if options.json else report.as_table(summary))
    failures = report.below(summary, floors)
    for sentence in failures:
        print(f"pinyon: {sentence}", file=sys.stderr)
    return 2 if failures else 0


def _reranker(settings: Any) -> str:
    """The default reranker: the large one if its weights are on this machine, or the one without weights."""
    from pinyon.inference.catalog import Catalog

    catalog = Catalog.of(settings)
    return "bge-reranker-v2-m3" if catalog.present("bge-reranker-v2-m3") else "pinyon-late-interaction"
