"""What subcommands share: options for settings, requests to a running server, and progress."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinyon.errors import FailedPrecondition, InvalidArgument, Unavailable

if TYPE_CHECKING:
    import ssl


def add_settings(parser: argparse.ArgumentParser, *sections: str) -> None:
    """Add --config, and an option for each setting of these sections that is a single value."""
    from pinyon.settings_loader import table

    group = parser.add_argument_group("settings", "the same as in the settings file; an option wins over the file")
    group.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML)")
    for row in table():
        if not row.simple or row.section not in sections:
            continue
        if row.type is bool:
            group.add_argument(
                row.flag, dest=row.key, action=argparse.BooleanOptionalAction, default=None, help=row.sentence
            )
        else:
            allowed = f"one of {', '.join(row.allowed)}; " if row.allowed else ""
            help_text = f"{row.sentence} ({allowed}default: {row.default})".replace("%", "%%")
            group.add_argument(row.flag, dest=row.key, metavar=row.key.upper(), help=help_text)


def prepare_environment() -> None:
    """Set the environment variables that libraries read when they are imported. Call it before any of them is."""
    # Searches run in parallel on threads of their own. A matrix product on every core would only disturb them. On a
    # busy machine, small products then take up to fifty times as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Only `pinyon models pull` may use the network. The hub's libraries read this when they are imported.
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")


def settings_of(options: argparse.Namespace) -> Any:
    """The settings."""
    from pinyon.settings_loader import load, table

    flags = {row.key: value for row in table() if row.simple and (value := getattr(options, row.key, None)) is not None}
    return load(options.config, os.environ, flags)


def quickstart_unless_named(options: argparse.Namespace) -> None:
    """Use the settings of the quick start if no settings file is named, and say so."""
    from pinyon.shipped import QUICKSTART

    if options.config is None:
        options.config = QUICKSTART
        print(f"Settings: the quick start's, {QUICKSTART}; name your own file with --config", flush=True)


def with_server(parser: argparse.ArgumentParser) -> None:
    """Add the options of a subcommand that may send requests to a running server."""
    add_settings(parser, "server", "storage", "models")
    parser.add_argument("--key", metavar="KEY", help="one of the server's API keys (default: the setting api_key)")


def with_url(parser: argparse.ArgumentParser) -> None:
    """Add the options of a subcommand that works with any server, or with the data folder."""
    with_server(parser)
    parser.add_argument(
        "--url",
        metavar="URL",
        help="address of a running server, such as http://localhost:5080 (default: the server that has the data folder "
        "open; if there is none, this command opens it). Its key is --key or the variable PINYON_API_KEY",
    )


def key_variable(url: str) -> str:
    """The environment variable with the API key for an address. A key of one service is not sent to another one."""
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    return "PINECONE_API_KEY" if host == "pinecone.io" or host.endswith(".pinecone.io") else "PINYON_API_KEY"


def data_folder(settings: Any) -> Path:
    """The data folder. Raises FailedPrecondition if it does not exist; commands do not create it."""
    from pinyon.storage.engines import installation_of

    installation_of(settings.storage).require()
    return Path(settings.storage.data_dir).resolve()


def say_where(settings: Any) -> None:
    """Say on stderr whether a server or this process did the work, and in which data folder."""
    import sys

    from pinyon.storage.engines import installation_of

    installation = installation_of(settings.storage)
    by = f" by the server on {server_url(settings)}" if installation.holder() is not None else ""
    print(f"Done{by} in {where(settings)}", file=sys.stderr)


def where(settings: Any) -> str:
    """Where the data are, in words: the data folder, or the database without its password."""
    from pinyon.storage.engines import installation_of

    installation = installation_of(settings.storage)
    return installation.location if installation.is_shared else f"the data folder {installation.location}"


def counted(number: int, word: str) -> str:
    """A number with what it counts: 1 row, 2 rows."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


PROGRESS_EVERY_S = 10.0
"""Seconds between two lines about progress if there is no terminal."""


class Progress:
    """Shows progress: a bar in a terminal, otherwise a line now and then. A context manager."""

    def __init__(self, name: str, unit: str) -> None:
        import sys
        import time

        from tqdm import tqdm

        self._name, self._unit, self._begun = name, unit, time.monotonic()
        self._last, self._first = self._begun, -1
        self._bar = tqdm(desc=name, unit=unit) if sys.stderr.isatty() else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def tell(self, done: int, total: int | None) -> None:
        """Show that `done` of `total` are done, how fast it goes, and how long it still takes. total: None: not known.

        What is done already at the first call was done by an earlier run.
        """
        import sys
        import time

        if self._first < 0:
            self._first = done
            if self._bar is not None:
                self._bar.initial = done
        if self._bar is not None:
            self._bar.total, self._bar.n = total, done
            self._bar.refresh()
        elif time.monotonic() - self._last >= PROGRESS_EVERY_S:
            self._last = time.monotonic()
            rate = (done - self._first) / (self._last - self._begun)
            of = "" if total is None else f" of {total}"
            left = f", {(total - done) / rate:.0f} s left" if rate and total is not None else ""
            line = f"{self._name}: {done}{of} {self._unit}s, {rate:.0f} a second{left}"
            print(line, file=sys.stderr, flush=True)


def server_url(settings: Any) -> str:
    """The URL of the server that has the data folder open, or else of the server with these settings."""
    from pinyon.storage.engines import holder_of

    holder = holder_of(settings.storage)
    if holder is not None and holder.url is not None:
        return holder.url
    server = settings.server
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if server.tls_cert else 'http'}://{host}:{server.port}"


def index_path(name: str) -> str:
    """The path of an index in the API."""
    from urllib.parse import quote

    return f"/indexes/{quote(name, safe='')}"


def ask_server(
    settings: Any,
    key: str | None,
    method: str,
    path: str,
    body: Any = None,
    timeout_s: float = 60,
    port: int | None = None,
    host: str | None = None,
) -> Any:
    """Send a request to the running server. Returns its JSON answer, or None for an empty one.

    port: of an index, in place of the main one. host: the Host header, which may name an index.

    Raises FailedPrecondition with the server's message if it refuses, Unavailable if it does not answer,
    InvalidArgument for a key that cannot be sent.
    """
    import http.client
    import re
    import urllib.error
    import urllib.request

    key = key or settings.server.api_key
    if not (key.isascii() and key.isprintable()):
        raise InvalidArgument("The API key has characters other than ASCII, or control characters; no key has such")
    headers = (
        {"Content-Type": "application/json"} | ({"Api-Key": key} if key else {}) | ({"Host": host} if host else {})
    )
    url = server_url(settings)
    if port is not None:
        url = re.sub(r":\d+$", f":{port}", url)
    url += path
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
    # No proxy: the server is on this machine, and the key is not for others.
    https = urllib.request.HTTPSHandler(context=local_tls())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)
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


def local_tls() -> "ssl.SSLContext":
    """TLS without a check of the certificate: the server is on this machine, whose name it need not have."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _message(body: bytes) -> str:
    """The message in the body of an error, in either of the two shapes that Pinecone's API has."""
    try:
        told = json.loads(body)
        return str(told["error"]["message"] if "error" in told else told["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
