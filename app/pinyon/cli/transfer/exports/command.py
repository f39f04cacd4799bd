"""`pinyon export`: writes the records of an index to files, as they are at one moment."""

import argparse
import sys
from pathlib import Path
from typing import Any

from pinyon.cli.common import Progress, counted, with_url
from pinyon.errors import InvalidArgument, PinyonError

PART = 50_000
FORMATS = ("jsonl", "parquet")


def add(commands: Any) -> None:
    """Make the subcommand known."""
    parser = commands.add_parser(
        "export",
        help="write the records of an index to files",
        description="Writes the records of an index to JSON lines or Parquet, as they are at one moment; reads and "
        "writes go on. The moment is a backup, which is deleted afterwards. `pinyon import`, and the import of "
        "Pinecone, read the files. Needs a key with read and control for the index.",
    )
    parser.add_argument(
        "out",
        type=Path,
        metavar="OUT",
        help="a file that ends in .jsonl or .parquet, for one namespace; or a folder, with a folder for each namespace",
    )
    parser.add_argument("--index", required=True, metavar="INDEX", help="index to export")
    parser.add_argument("--namespace", metavar="NAME", help="export only this namespace (default: all)")
    parser.add_argument("--filter", metavar="JSON", help="export only records that match this metadata filter")
    parser.add_argument("--format", choices=FORMATS, help="format of the files in a folder (default: jsonl)")
    parser.add_argument("--no-vectors", action="store_true", help="export ids and fields only")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted export to the same place")
    parser.add_argument(
        "--part",
        type=int,
        default=PART,
        metavar="N",
        help=f"records of a file, and of what is done again after an interruption (default: {PART})",
    )
    parser.set_defaults(run=_run)
    with_url(parser)


def _run(options: argparse.Namespace) -> int:
    import asyncio

    plan = _plan(options)
    try:
        return asyncio.run(_export(options, plan))
    except (PinyonError, KeyboardInterrupt):
        from pinyon.cli.transfer.exports.state import StateFile

        if StateFile(options.out).exists():
            print("The export is not complete; --resume goes on with it.", file=sys.stderr)
        raise


def _plan(options: argparse.Namespace) -> Any:
    """What is to be exported. Raises InvalidArgument."""
    from pinyon import filters
    from pinyon.cli.transfer.exports.state import Plan
    from pinyon.formats.rows import format_of

    if options.part < 1:
        raise InvalidArgument(f"--part must be at least 1, got {options.part}")
    by_name = format_of(options.out.name)
    if by_name not in (None, *FORMATS):
        raise InvalidArgument(
            f"{options.out} would be a file of the format {by_name}, which cannot hold vectors exactly; allowed are: "
            f"{', '.join(FORMATS)}"
        )
    if None not in (by_name, options.format) and by_name != options.format:
        raise InvalidArgument(f"{options.out} is of the format {by_name} by its name; leave --format out")
    if options.filter is not None:
        filters.parse(_decoded(options.filter))
    return Plan(
        options.index,
        options.namespace,
        options.filter,
        by_name or options.format or "jsonl",
        not options.no_vectors,
        by_name is not None,
        options.part,
    )


def _decoded(filter: str) -> Any:
    import json

    try:
        return json.loads(filter)
    except ValueError as error:
        raise InvalidArgument(f"--filter is not valid JSON: {error}; an example: '{{\"year\": 2020}}'") from None


async def _export(options: argparse.Namespace, plan: Any) -> int:
    from pinyon.cli.client.connection import connected
    from pinyon.cli.transfer.exports.backup_reader import BackupReader
    from pinyon.cli.transfer.exports.job import ExportJob, VectorColumns

    async with connected(options) as api:
        described, _ = await api.index(plan.index)
        is_sparse = described["vector_type"] == "sparse"
        columns = VectorColumns(
            plan.vectors and not is_sparse, plan.vectors and (is_sparse or described["metric"] == "dotproduct")
        )
        with Progress(plan.index, "record") as progress:
            job = ExportJob(BackupReader(api), plan, options.out, columns, progress.tell)
            state = await job.run(options.resume)
    records = counted(state.records, "record")
    namespaces = counted(len({part.namespace for part in state.parts}), "namespace")
    print(f"Exported {records} in {namespaces} of index {plan.index} to {options.out}, as they were at {state.moment}.")
    return 0
