"""The `pinyon` command: settings in, server up. Imports what a subcommand needs only when it runs."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.errors import PinyonError

VERSION = "0.2.0"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status. Errors of our own family are one sentence on stderr, and status 1."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except PinyonError as error:
        print(f"pinyon: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pinyon", description="A self-hosted search service that speaks Pinecone's API."
    )
    parser.add_argument("--version", action="version", version=f"pinyon {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the server")
    serve.set_defaults(run=_serve)
    _add_settings(serve, "server", "storage", "models", "limits")
    doctor = commands.add_parser("doctor", help="what this installation has, what is missing, how to get it")
    doctor.set_defaults(run=_doctor)
    _add_settings(doctor, "storage", "models")
    ready = commands.add_parser("ready", help="whether the server of these settings can answer: status 0 or 1")
    ready.set_defaults(run=_ready)
    _add_settings(ready, "server")
    keys = commands.add_parser("keys", help="the API keys").add_subparsers(required=True, metavar="ACTION")
    for action, run, sentence in (
        ("create", _keys_create, "make a key; it is shown once"),
        ("list", _keys_list, "names of the keys, and since when they exist"),
        ("revoke", _keys_revoke, "make a key unknown, at once, also to a running server"),
    ):
        one = keys.add_parser(action, help=sentence)
        if action != "list":
            one.add_argument("name", metavar="NAME", help="what the key is for")
        one.set_defaults(run=run)
        _add_settings(one, "storage")
    certs = commands.add_parser("certs", help="make a certificate authority and a certificate for this machine")
    certs.add_argument("folder", type=Path, metavar="DIR", help="folder to write to")
    certs.add_argument("--name", action="append", default=[], help="a further host name or address; may be repeated")
    certs.set_defaults(run=_certs)
    models = commands.add_parser("models", help="the machine-learning models").add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = models.add_parser("list", help="every model, and who answers to it here")
    listing.set_defaults(run=_models_list)
    _add_settings(listing, "models")
    pull = models.add_parser("pull", help="fetch a model's weights from the Hugging Face hub")
    pull.add_argument("name", metavar="NAME", help="a model of `pinyon models list`")
    pull.set_defaults(run=_models_pull)
    _add_settings(pull, "models")
    return parser


def _add_settings(parser: argparse.ArgumentParser, *sections: str) -> None:
    from app.settings import table

    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML)")
    for row in table():
        if not row.simple or row.section not in sections:
            continue
        if row.type is bool:
            parser.add_argument(
                row.flag, dest=row.key, action=argparse.BooleanOptionalAction, default=None, help=row.sentence
            )
        else:
            help_text = f"{row.sentence} (default: {row.default})".replace("%", "%%")
            parser.add_argument(row.flag, dest=row.key, metavar=row.key.upper(), help=help_text)


def _settings(options: argparse.Namespace) -> Any:
    import os

    from app.settings import load, table

    flags = {row.key: value for row in table() if row.simple and (value := getattr(options, row.key, None)) is not None}
    # Searches run side by side on threads of their own; a product that takes every core for itself only disturbs them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Only `pinyon models pull` may use the network: said before any hub library is imported, which reads it then.
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    return load(options.config, os.environ, flags)


def _serve(options: argparse.Namespace) -> int:
    from app.serving import serve

    return asyncio.run(serve(_settings(options)))


def _doctor(options: argparse.Namespace) -> int:
    from app.doctor import examine

    print(f"settings: {options.config or 'the defaults; name your file with --config'}")
    findings = examine(_settings(options))
    for finding in findings:
        print(finding)
    return 1 if any(finding.level == "FAIL" for finding in findings) else 0


def _ready(options: argparse.Namespace) -> int:
    import http.client
    import ssl
    import urllib.error
    import urllib.request

    server = _settings(options).server
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    host = f"[{host}]" if ":" in host else host
    # Only whether it answers is asked, of this machine itself, which its certificate need not name.
    trust = ssl._create_unverified_context()
    try:
        url = f"{'https' if server.tls_cert else 'http'}://{host}:{server.port}/ready"
        urllib.request.urlopen(url, timeout=2, context=trust if server.tls_cert else None).close()
    except urllib.error.HTTPError as error:
        print(error.read().decode(), file=sys.stderr)
        return 1
    except (OSError, http.client.HTTPException) as error:
        print(f"pinyon: nobody answers at {url}: {error}", file=sys.stderr)
        return 1
    print("ready")
    return 0


def _keys_create(options: argparse.Namespace) -> int:
    from app import keys

    print(keys.create(Path(_settings(options).storage.data_dir), options.name))
    print("This is the only time that the key is shown. Clients send it as Api-Key.", file=sys.stderr)
    return 0


def _keys_list(options: argparse.Namespace) -> int:
    from app import keys

    for key in keys.stored(Path(_settings(options).storage.data_dir)):
        print(f"{key.name}  (since {key.created}, sha256 {key.sha256[:12]})")
    return 0


def _keys_revoke(options: argparse.Namespace) -> int:
    from app import keys

    keys.revoke(Path(_settings(options).storage.data_dir), options.name)
    print(f"The key {options.name} is revoked.")
    return 0


def _certs(options: argparse.Namespace) -> int:
    from app import certificates

    for path in certificates.make(options.folder, options.name):
        print(path)
    server, key = options.folder / "server.pem", options.folder / "server.key"
    print(f"Serve with: pinyon serve --tls-cert {server} --tls-key {key}", file=sys.stderr)
    print(f"Python clients: SSL_CERT_FILE={options.folder / 'bundle.pem'}; others: docs/clients.md", file=sys.stderr)
    return 0


def _models_list(options: argparse.Namespace) -> int:
    from app.errors import FailedPrecondition
    from app.inference.catalog import Catalog

    settings = _settings(options)
    catalog = Catalog(settings.models_dir, settings.models.paths, settings.models.stand_ins)
    for name, entry in catalog.entries.items():
        try:
            answer = catalog.answer(name).label
        except FailedPrecondition as error:
            answer = error.message
        print(f"{name}  ({entry.kind}, {entry.licence})\n    {answer}")
    return 0


def _models_pull(options: argparse.Namespace) -> int:
    import os

    settings = _settings(options)
    if not settings.models.offline:
        os.environ.update(HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0")
    from app.inference.pull import pull

    print(pull(options.name, settings.models_dir, settings.models.offline))
    return 0
