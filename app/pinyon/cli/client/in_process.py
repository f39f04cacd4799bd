"""Sends requests to a service in this process, without a socket."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from pinyon.cli.client.transport import JSON, VERSION, Answer


class InProcessTransport:
    """A Transport to an ASGI application on the same event loop. It sends no API key."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def send(
        self, method: str, url: str, path: str, body: bytes, content_type: str = JSON, host: str | None = None
    ) -> Answer:
        name = host or urlsplit(url).netloc
        raw_path, _, query = path.partition("?")
        headers = {"host": name, "content-type": content_type, "x-pinecone-api-version": VERSION}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw_path),
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
            "client": None,
            "server": (name, 0),
            "state": {},
        }
        requests: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
        answers: list[Mapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return requests.pop() if requests else {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            answers.append(message)

        await self._app(scope, receive, send)
        start = answers[0]
        sent = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in start["headers"]}
        return Answer(start["status"], sent, b"".join(message.get("body", b"") for message in answers[1:]))

    async def close(self) -> None:
        """Nothing is open."""
