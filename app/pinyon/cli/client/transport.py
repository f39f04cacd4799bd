"""Sends one request to a server and returns its answer, over HTTP."""

import asyncio
import contextlib
import http.client
import ssl
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from pinyon.errors import InvalidArgument, Unavailable

VERSION = "2025-10"
"""The API version that is asked for."""
LONGEST_WAIT_S = 600.0
"""Seconds to wait for an answer. A first request may wait until a model is loaded."""
JSON, NDJSON = "application/json", "application/x-ndjson"


class Answer(msgspec.Struct, frozen=True):
    """The answer to a request. headers: by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends requests. Several may run at the same time."""

    async def send(
        self, method: str, url: str, path: str, body: bytes, content_type: str = JSON, host: str | None = None
    ) -> Answer:
        """Send a request and return the answer, whatever its status is. Raises Unavailable without an answer.

        url: scheme, host and port of the server. host: the Host header if it differs from the URL's.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class HttpTransport:
    """A Transport over HTTP/1.1 with connections that stay open.

    key: the API key; empty for none. tls: how certificates are checked; None for the authorities of this system.
    Raises InvalidArgument for a key that cannot be sent.
    """

    def __init__(self, key: str, tls: ssl.SSLContext | None = None) -> None:
        if not (key.isascii() and key.isprintable()):
            raise InvalidArgument("The API key has characters other than ASCII, or control characters; no key has such")
        self._key, self._tls = key, tls
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}
        self._closed = False

    async def send(
        self, method: str, url: str, path: str, body: bytes, content_type: str = JSON, host: str | None = None
    ) -> Answer:
        headers = {"Content-Type": content_type, "X-Pinecone-Api-Version": VERSION}
        if self._key:
            headers["Api-Key"] = self._key
        if host is not None:
            headers["Host"] = host
        return await asyncio.to_thread(self._send, method, url, path, body, headers)

    def _send(self, method: str, url: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection = self._connection(url)
        try:
            connection.request(method, path, body or None, dict(headers))
            response = connection.getresponse()
            answer = Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise Unavailable(
                    f"The certificate of {url} is not trusted: {error.verify_message}. Name a file with its authority "
                    "in the variable SSL_CERT_FILE, such as the bundle.pem of `pinyon certs`"
                ) from error
            raise Unavailable(f"Nobody answers at {url}: {error or type(error).__name__}") from error
        if not response.will_close:
            self._idle.setdefault(url, []).append(connection)
        if response.will_close or self._closed:  # looked at last, because close() may run at the same time
            connection.close()
        return answer

    def _connection(self, url: str) -> http.client.HTTPConnection:
        """An idle connection, or a new one. Raises InvalidArgument if the URL is none."""
        with contextlib.suppress(KeyError, IndexError):
            return self._idle[url].pop()
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if parts.scheme not in ("http", "https") or not host or parts.path:
            raise InvalidArgument(f"'{url}' is no address of a server; it looks like http://localhost:5080")
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=LONGEST_WAIT_S)
        tls = self._tls = self._tls or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=LONGEST_WAIT_S, context=tls)

    async def close(self) -> None:
        self._closed = True  # a request whose caller was interrupted may still run
        for connections in list(self._idle.values()):
            for connection in connections:
                connection.close()
        self._idle.clear()
