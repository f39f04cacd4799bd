"""A proxy in front of a server, which refuses what a test says."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import httpx

from tests.running import GIVEN_UP_S

Refuse = Callable[[int, str], tuple[int, dict[str, str]] | None]
"""Takes how often the same request has come, from 1, and its path. Returns status and headers of a refusal, or None."""


class Proxy:
    """url: its address. paths: of the requests that it passed on or refused, in their order. keys: their API keys."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.paths: list[str] = []
        self.keys: set[str | None] = set()


@contextmanager
def proxy(server: str, refuse: Refuse) -> Iterator[Proxy]:
    """Passes requests on to the server at this address, except for those that `refuse` refuses."""
    lock = Lock()
    seen: Counter[tuple[str, str, bytes]] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with lock:
                told.paths.append(self.path.partition("?")[0])
                told.keys.add(self.headers["api-key"])
                seen[self.command, self.path, body] += 1
                times = seen[self.command, self.path, body]
            refused = refuse(times, self.path)
            if refused is not None:
                self.reply(refused[0], b'{"code": 8, "message": "refused by the proxy", "details": []}', refused[1])
                return
            names = ("content-type", "api-key", "x-pinecone-api-version")
            headers = {name: self.headers[name] for name in names if name in self.headers}
            passed = client.request(self.command, self.path, content=body, headers=headers)
            self.reply(passed.status_code, passed.content, {})

        do_GET = do_POST = answer

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    class Listening(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that was killed is no error."""

    with httpx.Client(base_url=server, timeout=GIVEN_UP_S) as client, Listening(("127.0.0.1", 0), Handler) as listening:
        told = Proxy(f"http://127.0.0.1:{listening.server_address[1]}")
        thread = Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield told
        listening.shutdown()
        thread.join(GIVEN_UP_S)
