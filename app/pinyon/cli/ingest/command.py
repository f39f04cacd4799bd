"""`pinyon ingest`: makes a folder of documents searchable, and keeps the index in step with it."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pinyon.cli.common import Progress, counted, with_url
from pinyon.errors import InvalidArgument, PinyonError

DEFAULT_NAMESPACE = "__default__"
MOST_DEFAULT_TOKENS = 512
"""The largest default of --chunk-tokens. Longer texts are found less precisely, whatever the model reads."""
ORDER = ("new", "changed", "unchanged", "deleted", "empty", "skipped")
"""Of the counts in a summary."""
TRIED_AGAIN_MS = 10_000
"""Time after which --watch tries again what failed, in milliseconds."""


def add(commands: Any) -> None:
    """Make the subcommand known."""
    parser = commands.add_parser(
        "ingest",
        help="make a folder of documents searchable, and keep it in step",
        description="Reads Markdown, HTML, text, reStructuredText, PDF, DOCX and source code, splits them into chunks "
        "that the model of the index reads whole, and stores each as a record. A further run embeds only what has "
        "changed, and deletes what is gone. Hidden files and folders of builds are left out.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--index", required=True, metavar="INDEX", help="an index with an embedding model")
    parser.add_argument("--namespace", default=DEFAULT_NAMESPACE, metavar="NAME", help="(default: %(default)s)")
    parser.add_argument(
        "--prefix",
        metavar="TEXT",
        help="what the ids of the documents begin with; only such records are changed or deleted (default: the name of "
        "the folder and a slash)",
    )
    parser.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="GLOB",
        help="only files that match, such as '*.md'; repeatable",
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB", help="no files or folders that match; repeatable"
    )
    parser.add_argument(
        "--chunk-tokens",
        type=int,
        metavar="N",
        help=f"longest chunk in tokens (default: what the model reads, at most {MOST_DEFAULT_TOKENS})",
    )
    parser.add_argument(
        "--overlap", type=int, default=0, metavar="N", help="tokens that a chunk repeats of the one before (default: 0)"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do not do it")
    parser.add_argument("--allow-empty", action="store_true", help="delete everything if the folder has no documents")
    parser.add_argument("--watch", action="store_true", help="go on, and bring the index in step after each change")
    parser.set_defaults(run=_run)
    with_url(parser)


def _run(options: argparse.Namespace) -> int:
    import asyncio

    if options.watch and options.dry_run:
        raise InvalidArgument("Say either --watch or --dry-run")
    return asyncio.run(_ingest(options))


async def _ingest(options: argparse.Namespace) -> int:
    from pinyon.cli.client.connection import connected
    from pinyon.cli.ingest.folder import Folder
    from pinyon.cli.ingest.index_model import IndexModel
    from pinyon.cli.ingest.stored_documents import StoredDocuments
    from pinyon.cli.ingest.sync import Sync

    prefix = options.prefix if options.prefix is not None else f"{options.folder.resolve().name}/"
    folder = Folder(options.folder, prefix, options.include, options.exclude)
    async with connected(options) as api:
        model = await IndexModel.described(api, options.index)
        chunk_tokens = _chunk_tokens(options, model.max_tokens)
        stored = StoredDocuments(api, model.at, options.namespace)
        sync = Sync(folder, stored, model, chunk_tokens, options.overlap, options.dry_run)
        await (_watch if options.watch else _run_once)(sync, options)
    return 0


def _chunk_tokens(options: argparse.Namespace, max_tokens: int) -> int:
    """The limit of a chunk. Raises InvalidArgument if the numbers of the options are out of range."""
    from pinyon.documents.chunking import FEWEST_TOKENS

    tokens: int = options.chunk_tokens if options.chunk_tokens is not None else min(max_tokens, MOST_DEFAULT_TOKENS)
    if not FEWEST_TOKENS <= tokens <= max_tokens:
        raise InvalidArgument(
            f"--chunk-tokens must be between {FEWEST_TOKENS} and {max_tokens}, which is what the model reads; got "
            f"{tokens}"
        )
    if not 0 <= options.overlap < tokens / 2:
        raise InvalidArgument(
            f"--overlap must be at least 0 and less than half of a chunk of {tokens} tokens; got {options.overlap}"
        )
    return tokens


async def _run_once(sync: Any, options: argparse.Namespace, before: Sequence[Any] = ()) -> list[Any]:
    """Bring the index in step, and say what was done, if it is not what was said before. Returns the outcomes."""
    with Progress(options.folder.resolve().name, "document") as progress:
        outcomes: list[Any] = await sync.run(progress.tell, options.allow_empty)
    if not before or any(outcome.what != "unchanged" and outcome not in before for outcome in outcomes):
        _say(outcomes, options)
    return outcomes


async def _watch(sync: Any, options: argparse.Namespace) -> None:
    """Bring the index in step, and again after each change, until the command is ended."""
    import asyncio

    from watchfiles import awatch

    watcher = awatch(options.folder, rust_timeout=TRIED_AGAIN_MS, yield_on_timeout=True)
    changes = asyncio.ensure_future(anext(watcher))
    await asyncio.sleep(0)  # from here on changes are noted, also those during the first run
    outcomes = await _run_once(sync, options)
    print(f"Watching {options.folder.resolve()}; Ctrl-C ends it.", flush=True)
    failed = False
    while True:
        if await changes or failed:
            try:
                outcomes = await _run_once(sync, options, outcomes)
                failed = False
            except PinyonError as error:
                failed = True
                again = f"trying again in {TRIED_AGAIN_MS // 1000} s"
                print(f"pinyon: {error.message}; {again}", file=sys.stderr, flush=True)
        changes = asyncio.ensure_future(anext(watcher))


def _say(outcomes: Any, options: argparse.Namespace) -> None:
    """Say what was done, a line for each document that was not left as it is, and a summary."""
    for outcome in outcomes:
        if outcome.what == "skipped":
            print(f"skipped    {_printable(outcome.source)}: {outcome.reason}", file=sys.stderr)
        elif outcome.what != "unchanged":
            print(f"{outcome.what:10} {_printable(outcome.source)}: {_told(outcome, options.dry_run)}")
    number = Counter(outcome.what for outcome in outcomes)
    documents = ", ".join(f"{number[what]} {what}" for what in ORDER if number[what]) or "none"
    embedded = counted(sum(outcome.embedded for outcome in outcomes), "chunk")
    print(f"{'Would embed' if options.dry_run else 'Embedded'} {embedded}. Documents: {documents}.", flush=True)


def _printable(source: str) -> str:
    """A path for a terminal, which would obey control characters."""
    return "".join(character if character.isprintable() else "?" for character in source)


def _told(outcome: Any, dry_run: bool) -> str:
    chunks = counted(outcome.chunks, "chunk")
    if outcome.what == "deleted":
        return chunks
    if outcome.what == "empty":
        return f"it has no text; {chunks} of before deleted" if outcome.chunks else "it has no text"
    return f"{outcome.embedded} of {chunks} {'to embed' if dry_run else 'embedded'}"
