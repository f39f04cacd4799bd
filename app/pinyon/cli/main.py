"""The `pinyon` command. What a subcommand needs is imported only when it runs, so that --help is fast."""

import argparse
import contextlib
import difflib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pinyon.cli import ephemeral, evaluate, keys, mcp, models, tune
from pinyon.cli.common import (
    add_settings,
    local_tls,
    prepare_environment,
    quickstart_unless_named,
    server_url,
    settings_of,
)
from pinyon.cli.ingest import command as ingest
from pinyon.cli.maintenance import backup, check, compact, reembed
from pinyon.cli.transfer.copies import command as copies
from pinyon.cli.transfer.exports import command as exports
from pinyon.cli.transfer.imports import command as imports
from pinyon.errors import PinyonError

VERSION = "0.2.0"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit status: 1 after a PinyonError, whose message goes to stderr."""
    prepare_environment()
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        if sys.stdout is not None:  # it is None if the command was started without one
            sys.stdout.flush()
    except PinyonError as error:
        print(f"pinyon: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output wanted no more of it, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it at its end
        return 141
    return status


class Parser(argparse.ArgumentParser):
    """Suggests a known option or command for an unknown one."""

    def error(self, message: str) -> NoReturn:
        """Print the error with the suggestion and exit with status 2."""
        known = _names(self)
        said = message.partition(" (choose")[0].rpartition(": ")[2]  # "unrecognized arguments: --prot 1"
        unknown = [word for word in re.findall(r"-?-?[A-Za-z][\w-]+", said) if word not in known]
        close = [meant for word in unknown for meant in difflib.get_close_matches(word, known, 1)]
        super().error(f"{message}; did you mean {close[0]}?" if close else message)


def _names(parser: argparse.ArgumentParser) -> list[str]:
    """All options and commands that a parser knows, including those of its commands."""
    names: list[str] = []
    for action in parser._actions:  # argparse has no public way to list them
        names += action.option_strings
        if isinstance(action.choices, dict):
            for name, inner in action.choices.items():
                names += [name, *_names(inner)]
        else:
            names += [choice for choice in action.choices or () if isinstance(choice, str)]
    return names


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="pinyon", description="A self-hosted search service that speaks Pinecone's API.")
    parser.add_argument("--version", action="version", version=f"pinyon {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the server")
    serve.set_defaults(run=_serve)
    ephemeral.add(serve)
    add_settings(serve, "server", "storage", "models", "limits")
    doctor = commands.add_parser("doctor", help="report what this installation has, what is missing, and how to get it")
    doctor.set_defaults(run=_doctor)
    add_settings(doctor, "storage", "models")
    ready = commands.add_parser("ready", help="tell whether the server of these settings can answer: status 0 or 1")
    ready.set_defaults(run=_ready)
    add_settings(ready, "server", "storage")
    keys.add(commands)
    certs = commands.add_parser("certs", help="make a certificate authority and a certificate for this machine")
    certs.add_argument("folder", type=Path, metavar="DIR", help="folder to write to")
    certs.add_argument("--name", action="append", default=[], help="a further host name or address; may be repeated")
    certs.set_defaults(run=_certs)
    models.add(commands)
    evaluate.add(commands)
    reembed.add(commands)
    tune.add(commands)
    compact.add(commands)
    backup.add(commands)
    exports.add(commands)
    imports.add(commands)
    ingest.add(commands)
    copies.add(commands)
    mcp.add(commands)
    check.add(commands)
    return parser


def _serve(options: argparse.Namespace) -> int:
    import uvloop

    from pinyon.serving.lifecycle import serve

    if options.until_stdin_ends:
        ephemeral.stop_when_stdin_ends()
    with ephemeral.temporary_data(options) if options.ephemeral else contextlib.nullcontext():
        settings = settings_of(options)
        if not settings.storage.read_only:  # the quick start may have to make its index
            quickstart_unless_named(options)
            settings = settings_of(options)
        return uvloop.run(serve(settings))


def _doctor(options: argparse.Namespace) -> int:
    from pinyon.cli.maintenance.doctor import examine

    quickstart_unless_named(options)  # as `pinyon serve` does
    findings = examine(settings_of(options))
    for finding in findings:
        print(finding)
    return 1 if any(finding.level == "FAIL" for finding in findings) else 0


def _ready(options: argparse.Namespace) -> int:
    import http.client
    import urllib.error
    import urllib.request

    settings = settings_of(options)
    try:
        url = server_url(settings) + "/ready"
        urllib.request.urlopen(url, timeout=2, context=local_tls() if url.startswith("https:") else None).close()
    except urllib.error.HTTPError as error:
        print(error.read().decode(), file=sys.stderr)
        return 1
    except (OSError, http.client.HTTPException) as error:
        print(f"pinyon: nobody answers at {url}: {error}", file=sys.stderr)
        return 1
    print("ready")
    return 0


def _certs(options: argparse.Namespace) -> int:
    from pinyon.cli import certificates

    for path in certificates.make(options.folder, options.name):
        print(path)
    server, key = options.folder / "server.pem", options.folder / "server.key"
    print(f"Serve with: pinyon serve --tls-cert {server} --tls-key {key}", file=sys.stderr)
    print(f"Python clients: SSL_CERT_FILE={options.folder / 'bundle.pem'}; others: docs/clients.md", file=sys.stderr)
    return 0
