"""`pinyon import`: sends the rows of files to an index."""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pinyon.cli.common import Progress, counted, settings_of, with_url
from pinyon.errors import InvalidArgument, PinyonError

FORMATS = ("jsonl", "csv", "tsv", "parquet")
SHOWN = 10
"""Refused rows that are shown. A dry run shows all."""
TYPES = ("text", "integer", "number", "boolean")


def add(commands: Any) -> None:
    """Make the subcommand known."""
    parser = commands.add_parser(
        "import",
        help="send the rows of files to an index",
        description="Sends the rows of JSON lines, CSV, TSV and Parquet files to an index. Rows with vectors are "
        "stored as they are; rows with text are embedded by the index. A row replaces the record with its id.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="files, or folders of files, in which a folder is a namespace; - for standard input",
    )
    parser.add_argument("--index", required=True, metavar="INDEX", help="index to import into")
    parser.add_argument(
        "--namespace", metavar="NAME", help="namespace of all rows (default: what the folders say, else __default__)"
    )
    parser.add_argument("--format", choices=FORMATS, help="format of the files (default: what their names say)")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="COLUMN=FIELD",
        help="another name for a column, such as title=chunk_text; may be repeated",
    )
    parser.add_argument("--id-column", metavar="COLUMN", help="column of the ids (default: _id or id)")
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="COLUMN=TYPE",
        help=f"type of a column of a CSV or TSV file: {', '.join(TYPES)} (default: what fits all its cells)",
    )
    parser.add_argument("--reembed", action="store_true", help="leave vectors out, and embed the texts again")
    parser.add_argument("--dry-run", action="store_true", help="store nothing; name the rows that would be refused")
    parser.add_argument("--errors", type=Path, metavar="FILE", help="write refused rows to this file, as JSON lines")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted import of the same files")
    parser.set_defaults(run=_run)
    with_url(parser)


def _run(options: argparse.Namespace) -> int:
    import asyncio

    from pinyon.cli.transfer.imports.files import STDIN, import_files
    from pinyon.cli.transfer.imports.state import StateFile

    if options.resume and (options.dry_run or STDIN in options.paths):
        raise InvalidArgument("--resume goes on with files that were being stored, not with a pipe or a dry run")
    files = import_files(options.paths, options.format, options.namespace)
    state_file = None
    if not options.dry_run and STDIN not in options.paths:
        state_file = StateFile(_identity(options, files))
    try:
        return asyncio.run(_import(options, files, state_file))
    except (PinyonError, KeyboardInterrupt):
        if state_file is not None and state_file.read() is not None:
            print("The import is not complete; --resume goes on with it.", file=sys.stderr)
        raise


def _identity(options: argparse.Namespace, files: Sequence[Any]) -> list[Any]:
    """What tells an import from others."""
    from pinyon.storage.engines import installation_of

    where = options.url or installation_of(settings_of(options).storage).location
    how = [options.map, options.type, options.id_column, options.reembed]
    return [where, options.index, *how, [(str(file.path.resolve()), file.format, file.namespace) for file in files]]


async def _import(options: argparse.Namespace, files: Sequence[Any], state_file: Any) -> int:
    from pinyon.cli.client.connection import connected
    from pinyon.cli.transfer.imports.columns import columns_of
    from pinyon.cli.transfer.imports.job import ImportJob
    from pinyon.cli.transfer.imports.refused_rows import RefusedRows
    from pinyon.cli.transfer.imports.requests import Target
    from pinyon.cli.transfer.imports.row_sender import RowChecker, RowSender, Sender

    state = _begun(options, state_file)
    imported_before, begun = state.imported, time.monotonic()
    async with connected(options) as api:
        described, address = await api.index(options.index)
        text_field = described["embed"]["field_map"]["text"] if "embed" in described else None
        target = Target(options.index, text_field, described["vector_type"] == "sparse", options.reembed)
        inputs = columns_of(files, options.map, options.type, options.id_column, target)
        sender: Sender = RowChecker(api, address) if options.dry_run else RowSender(api, address)
        most = sys.maxsize if options.dry_run else SHOWN
        refused = RefusedRows(options.errors, options.resume, most)
        with closing(refused), Progress(options.index, "row") as bar:

            def reached(share: float | None) -> None:
                done = state.imported + state.refused
                bar.tell(done, round(done / share) if share else None)
                if state_file is not None:
                    state_file.write(state)

            await ImportJob(sender, target, state, refused.add, reached).run(inputs)
    if state_file is not None:
        state_file.remove()
    seconds = time.monotonic() - begun
    rate = (state.imported - imported_before) / seconds
    shown = refused.shown()
    for line in shown:
        print(line, file=sys.stderr)
    if state.refused > len(shown):
        where = f"all are in {options.errors}" if options.errors else "--errors FILE writes all of them"
        print(f"... and {state.refused - len(shown)} more; {where}", file=sys.stderr)
    rows = counted(state.imported, "row")
    if options.dry_run:
        print(f"{rows} would be imported into index {options.index}, {state.refused} refused.")
    else:
        where, speed = f"into index {options.index}", f"in {seconds:.1f} s, {rate:.0f} a second"
        print(f"Imported {rows} {where} {speed}. {state.refused} were refused.")
    return 1 if state.refused else 0


def _begun(options: argparse.Namespace, state_file: Any) -> Any:
    """The state to begin with. One of an interrupted import is forgotten if this one does not go on with it."""
    from pinyon.cli.transfer.imports.state import ImportState

    state = state_file.read() if state_file is not None and options.resume else None
    if state is None:
        if options.resume:
            print("No import of these files was interrupted, so this one begins at their start.", file=sys.stderr)
        if state_file is not None:
            state_file.remove()
    return state or ImportState()
