"""`pinyon copy`: copies the records of one index to another, of any two servers that speak Pinecone's API.

Between data folders and databases, cli/transfer/installations does the work.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinyon.cli.common import Progress, key_variable
from pinyon.errors import InvalidArgument, PinyonError

PARALLEL, MOST_PARALLEL = 4, 64
SAMPLE = 100
WAIT_S = 60.0
ONLY_INDEXES: dict[str, Any] = {
    "from_key": None,
    "to_key": None,
    "namespace": None,
    "reembed": False,
    "map": [],
    "overwrite": False,
    "parallel": PARALLEL,
    "sample": SAMPLE,
    "wait": WAIT_S,
}
"""Options of copies from index to index, with what they are if nobody gives them."""


def add(commands: Any) -> None:
    """Make the subcommand known."""
    parser = commands.add_parser(
        "copy",
        help="copy an index to another, of Pinyon or hosted; or all indexes of a data folder to a database, or back",
        description="Reads one index and writes another through the public data plane of Pinecone's API, so either may "
        "be Pinyon's or hosted. Then compares counts, sampled records and their neighbours. The target must be there, "
        "with the same dimension, or embed text itself (--reembed). If both places are data folders (./data), "
        "databases (postgresql://...) or settings files (.toml), it copies whole indexes with everything that is "
        "stored in them, makes them in the target, and compares every record; API keys, judgements and measurements "
        "come along. A server may use the source meanwhile.",
    )
    parser.add_argument(
        "--from",
        required=True,
        dest="source",
        metavar="PLACE",
        help="address of the index to read, as describe_index says its host; or a data folder, a database or a "
        "settings file",
    )
    parser.add_argument("--to", required=True, dest="target", metavar="PLACE", help="the place to write, likewise")
    parser.add_argument(
        "--index", metavar="NAME", help="between data folders and databases: copy only this index (default: all)"
    )
    parser.add_argument(
        "--without-keys",
        action="store_true",
        help="between data folders and databases: leave the API keys out",
    )
    parser.add_argument(
        "--from-key",
        metavar="KEY",
        help="API key of the source (default: PINYON_FROM_KEY, or PINECONE_API_KEY if it is at pinecone.io, or else "
        "PINYON_API_KEY)",
    )
    parser.add_argument("--to-key", metavar="KEY", help="API key of the target (default: PINYON_TO_KEY, or as above)")
    parser.add_argument("--namespace", metavar="NAME", help="copy only this namespace (default: all)")
    parser.add_argument(
        "--reembed",
        action="store_true",
        help="send the fields without the vectors, to a target that embeds text by its own model",
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="rename a field; may be repeated; only with --reembed",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="copy into namespaces that have records; replace those of equal id"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted copy")
    parser.add_argument(
        "--parallel",
        type=int,
        default=PARALLEL,
        metavar="N",
        help=f"pages of 100 records that are copied at the same time (default: {PARALLEL})",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="where it is kept how far the copy is (default: the user's state folder)",
    )
    parser.add_argument(
        "--sample", type=int, default=SAMPLE, metavar="N", help=f"records to compare at the end (default: {SAMPLE})"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=WAIT_S,
        metavar="SECONDS",
        help=f"how long the target may take until it shows the last writes (default: {WAIT_S:g})",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    import asyncio

    from pinyon.cli.transfer.copies.state import state_file
    from pinyon.cli.transfer.installations.places import both

    storage = both(options.source, options.target)
    if storage is not None:
        return _run_installations(options, *storage)
    if options.index is not None:
        raise InvalidArgument("--index is for copies between data folders and databases; the address names the index")
    if options.without_keys:
        raise InvalidArgument("--without-keys is for copies between data folders and databases; others copy no keys")
    plan = _plan(options)
    file = state_file(plan, options.state)
    try:
        return asyncio.run(_copy(options, plan, file))
    except (PinyonError, KeyboardInterrupt):
        if file.exists():
            print("The copy is not complete; the same command with --resume goes on with it.", file=sys.stderr)
        raise


def _run_installations(options: argparse.Namespace, source: Any, target: Any) -> int:
    """Copy between data folders and databases. Raises InvalidArgument for options that mean nothing there."""
    import asyncio

    from pinyon.cli.transfer.installations.command import copy

    for name, default in ONLY_INDEXES.items():
        if getattr(options, name) != default:
            flag = "--" + name.replace("_", "-")
            raise InvalidArgument(f"{flag} is for copies from index to index, not between data folders and databases")
    return asyncio.run(copy(options, source, target))


def _plan(options: argparse.Namespace) -> Any:
    """What is to be copied. Raises InvalidArgument."""
    from pinyon.cli.transfer.copies.remote_index import DEFAULT_NAMESPACE, address
    from pinyon.cli.transfer.copies.state import CopyPlan

    if not 1 <= options.parallel <= MOST_PARALLEL:
        raise InvalidArgument(f"--parallel must be from 1 to {MOST_PARALLEL}, got {options.parallel}")
    for name, value in (("--sample", options.sample), ("--wait", options.wait)):
        if not value >= 0:
            raise InvalidArgument(f"{name} must be 0 or more, got {value}")
    renamed = dict(_renaming(text) for text in options.map)
    if renamed and not options.reembed:
        raise InvalidArgument("--map is for --reembed; a copy with vectors keeps the fields as they are")
    source, target = address(options.source), address(options.target)
    if source == target:
        raise InvalidArgument(f"--from and --to are the same index: {source}")
    namespace = DEFAULT_NAMESPACE if options.namespace == "" else options.namespace
    return CopyPlan(source, target, namespace, options.reembed, renamed, options.overwrite)


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise InvalidArgument(f"--map takes OLD=NEW, such as title=chunk_text, got '{text}'")
    return old, new


def key_of(url: str, given: str | None, variable: str, environment: Mapping[str, str]) -> str:
    """The API key for an address. A key of one service is not sent to another one."""
    return given or environment.get(variable) or environment.get(key_variable(url), "")


async def _copy(options: argparse.Namespace, plan: Any, file: Any) -> int:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from pinyon.cli.transfer.copies.job import CopyJob
    from pinyon.cli.transfer.copies.remote_index import RemoteIndex
    from pinyon.cli.transfer.copies.state import CopyState, Sample, interrupted
    from pinyon.cli.transfer.copies.verification import Verifier

    # Each request takes a thread while it runs.
    threads = ThreadPoolExecutor(2 * options.parallel + 2)
    asyncio.get_running_loop().set_default_executor(threads)
    state = interrupted(file, plan) if options.resume else CopyState(plan, Sample(options.sample))
    source = RemoteIndex(plan.source, key_of(plan.source, options.from_key, "PINYON_FROM_KEY", os.environ))
    target = RemoteIndex(plan.target, key_of(plan.target, options.to_key, "PINYON_TO_KEY", os.environ))
    try:
        with Progress("copy", "record") as progress:
            await CopyJob(source, target, state, file, options.parallel, progress.tell).run()
        print(f"Copied {state.copied} records in {len(state.namespaces)} namespaces.", flush=True)
        verified = await Verifier(source, target, state).run(options.wait)
    finally:
        threads.shutdown(cancel_futures=True)  # a request that still runs gives its connection back at its end
        await source.close()
        await target.close()
    file.remove()
    print(f"Verified: {verified.records} records on both sides, {verified.sampled} sampled records are the same.")
    if verified.overlap is not None:
        word = "" if verified.same_space else " (for information: the two are searched differently)"
        print(f"Overlap of the 10 nearest records of {verified.queries} records: {verified.overlap:.2f}{word}.")
    return 0
