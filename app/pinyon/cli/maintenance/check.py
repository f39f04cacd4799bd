"""`pinyon check`: compares the data folder with what was written; --repair rebuilds what can be rebuilt."""

import argparse
from typing import Any

from pinyon.cli.common import add_settings, settings_of
from pinyon.errors import PinyonError


def add(commands: Any) -> None:
    """Make the subcommand known."""
    parser = commands.add_parser(
        "check",
        help="compare every file of a data folder with what was written",
        description="Reads everything and changes nothing; a server may run meanwhile. Runs SQLite's own check, "
        "verifies the checksums of pages, compares vectors with records, and checks filters, keywords and counts. "
        "Status 1 if something is wrong.",
    )
    parser.add_argument("index", nargs="*", metavar="INDEX", help="index to check (default: all, and the catalogue)")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="rebuild what follows from the stored values; stop the server first; the old file is kept",
    )
    parser.add_argument(
        "--accept",
        action="store_true",
        help="also accept stored values that were changed, and the loss of the last writes",
    )
    parser.set_defaults(run=_run)
    add_settings(parser, "storage")


def _run(options: argparse.Namespace) -> int:
    from pinyon.storage.engines import installation_of

    installation = installation_of(settings_of(options).storage)
    reports = installation.check(options.index)
    print(f"data folder: {installation.location}", flush=True)
    wrong = 0
    for report in reports:
        print(f"{report.name}: {'ok' if not report.problems else f'{len(report.problems)} problems'}", flush=True)
        for problem in report.problems:
            print(f"  {'DAMAGED' if problem.kind == 'stored' else 'rebuild'}  {problem.words}", flush=True)
        for note in report.notes:
            print(f"  note     {note}", flush=True)
        if not report.problems:
            continue
        if not options.repair and not options.accept:
            wrong += 1
            print(f"  advice   {_advice(report)}", flush=True)
            continue
        try:
            print(f"  repaired {installation.repair(report, options.accept)}", flush=True)
        except PinyonError as error:  # go on with the next index
            wrong += 1
            print(f"  left     {error.message}", flush=True)
    return 1 if wrong else 0


def _advice(report: Any) -> str:
    if report.name == "catalogue":
        return "start the server: it makes the catalogue whole from the files of the indexes"
    if report.repairable:
        return f"stop the server, then: pinyon check {report.name} --repair"
    return (
        f"stop the server, then put a backup in its place: pinyon restore DIR --index {report.name}; "
        f"or take what there is: pinyon check {report.name} --accept"
    )
