"""What subcommands share: options for settings, and the settings that follow from them."""

import argparse
import json
from pathlib import Path
from typing import Any

from pinyon.errors import FailedPrecondition, Unavailable


def add_settings(parser: argparse.ArgumentParser, *sections: str) -> None:
    """An option for every setting of these sections that fits in a word, and --config."""
    from pinyon.settings_loader import table

    group = parser.add_argument_group("settings", "as in the settings file, which they overrule")
    group.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML)")
    for row in table():
        if not row.simple or row.section not in sections:
            continue
        if row.type is bool:
            group.add_argument(
                row.flag, dest=row.key, action=argparse.BooleanOptionalAction, default=None, help=row.sentence
            )
        else:
            help_text = f"{row.sentence} (default: {row.default})".replace("%", "%%")
            group.add_argument(row.flag, dest=row.key, metavar=row.key.upper(), help=help_text)


def settings_of(options: argparse.Namespace) -> Any:
    """The settings; the environment is set for the libraries that read it when they are imported."""
    import os

    from pinyon.settings_loader import load, table

    flags = {row.key: value for row in table() if row.simple and (value := getattr(options, row.key, None)) is not None}
    # Searches run side by side on threads of their own; a product that takes every core for itself only disturbs them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Only `pinyon models pull` may use the network: said before any hub library is imported, which reads it then.
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    return load(options.config, os.environ, flags)


def quickstart_unless_named(options: argparse.Namespace) -> None:
    """Take the settings of the quick start if no settings file is named, and say so."""
    from pinyon.shipped import QUICKSTART

    if options.config is None:
        options.config = QUICKSTART
        print(f"Settings: the quick start's, {QUICKSTART}; name your own file with --config", flush=True)


def with_server(parser: argparse.ArgumentParser) -> None:
    """Options of a subcommand that may have to ask a running server."""
    add_settings(parser, "server", "storage", "models")
    parser.add_argument("--key", metavar="KEY", help="one of the server's API keys (default: the setting api_key)")


def data_folder(settings: Any) -> Path:
    """The data folder of a command. Raises FailedPrecondition if it does not exist: none is made."""
    from pinyon.storage.engines import installation_of

    installation_of(settings.storage).require()
    return Path(settings.storage.data_dir).resolve()


def say_where(settings: Any) -> None:
    """Say on stderr what a command acted on: the running server, or the data."""
    import sys

    from pinyon.storage.engines import installation_of

    installation = installation_of(settings.storage)
    by = f" by the server on {server_url(settings)}" if installation.holder() is not None else ""
    print(f"Done{by} in the data folder {installation.location}", file=sys.stderr)


TOLD_EVERY_S = 10.0
"""Seconds between two lines about progress where there is no terminal."""


class Progress:
    """How far something is: a bar in a terminal, and elsewhere a line now and then. For use with `with`."""

    def __init__(self, name: str, unit: str) -> None:
        import sys
        import time

        from tqdm import tqdm

        self._name, self._unit, self._last = name, unit, time.monotonic()
        self._bar = tqdm(desc=name, unit=unit) if sys.stderr.isatty() else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def tell(self, done: int, total: int) -> None:
        """So many are done."""
        import sys
        import time

        if self._bar is not None:
            self._bar.total, self._bar.n = total, done
            self._bar.refresh()
        elif time.monotonic() - self._last >= TOLD_EVERY_S:
            self._last = time.monotonic()
            print(f"{self._name}: {done} of {total} {self._unit}s", file=sys.stderr, flush=True)


def server_url(settings: Any) -> str:
    """Where the server that has the data folder open answers, or else the one of these settings."""
    from pinyon.storage.engines import installation_of

    holder = installation_of(settings.storage).holder()
    if holder is not None and holder.url is not None:
        return holder.url
    server = settings.server
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if server.tls_cert else 'http'}://{host}:{server.port}"


def ask_server(settings: Any, key: str | None, method: str, path: str, body: Any = None, timeout_s: float = 60) -> Any:
    """The JSON answer of the running server, or None for an empty one.

    Raises FailedPrecondition with what the server says if it refuses, Unavailable if it does not answer.
    """
    import http.client
    import ssl
    import urllib.error
    import urllib.request

    key = key or settings.server.api_key
    headers = {"Content-Type": "application/json"} | ({"Api-Key": key} if key else {})
    url = server_url(settings) + path
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
    # The server is this machine itself, which its certificate need not name.
    trust = ssl._create_unverified_context()
    # No proxy: it is not for this machine, and has no business with the key.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            content = answer.read()
    except urllib.error.HTTPError as error:
        raise FailedPrecondition(f"The server refuses: {_message(error.read())}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(
            f"Nobody answers at {url}: {error}. The data folder is in use; name that server by --host and --port, or "
            "its settings file"
        ) from error
    return json.loads(content) if content else None


def _message(body: bytes) -> str:
    """What an error's body says, whichever of the two shapes it has."""
    try:
        told = json.loads(body)
        return str(told["error"]["message"] if "error" in told else told["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
