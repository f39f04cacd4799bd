"""An ephemeral server in a process of its own, and indexes on it."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

from pinyon.errors import FailedPrecondition, Unavailable

Models = Literal["quick", "real"]
READY = "Pinyon is ready on "
START_S = 120.0
"""Longest time that a start may take. The real models need some seconds, more on a busy machine."""
STOP_S = 25.0
"""Longest time that a server may take to stop."""
SERVERLESS = {"serverless": {"cloud": "aws", "region": "us-east-1"}}


class PinyonIndex:
    """An index on a test server. host: what Pinecone's clients take. dimension: of its dense vectors, 0 if sparse."""

    def __init__(self, server: "PinyonServer", description: Mapping[str, Any]) -> None:
        self._server = server
        self.name: str = description["name"]
        self.host: str = description["host"]
        self.dimension = int(description.get("dimension") or 0)

    def client(self) -> Any:
        """The index of Pinecone's official client, which must be installed: `pip install pinecone`.

        It is closed when the server stops.
        """
        return self._server.closed_at_end(self._server.client().Index(host=self.host))

    def delete(self) -> None:
        """Delete the index with all its records."""
        self._server.ask("DELETE", f"/indexes/{quote(self.name)}")


class PinyonServer:
    """`pinyon serve --ephemeral`, with no index. A context manager; the server stops and its data are gone at its end.

    models: "quick": every model is answered by a stand-in that knows only words and loads in no time; it says so in
    every answer. "real": the models of this installation answer, all-MiniLM-L6-v2 among them, and its stand-ins.
    options: further ones of `pinyon serve`. Any API key is taken. If the process of the tests dies, the server stops
    too. Raises FailedPrecondition if the server does not start, with what it printed.
    """

    def __init__(self, models: Models = "quick", *options: str) -> None:
        self.models, self.api_key = models, "any"
        own = {name: value for name, value in os.environ.items() if not name.startswith("PINYON_")}
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pinyon", "serve", "--ephemeral", "--until-stdin-ends"),
                *("--config", os.devnull, "--quick" if models == "quick" else "--stand-ins"),
                *("--shutdown-grace-s", "5"),
                *options,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**own, "PYTHONUNBUFFERED": "1"},
        )
        self._clients = contextlib.ExitStack()
        self._printed: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True, name="pinyon-output")
        self._reader.start()
        try:
            self.url = self._ready()
        except BaseException:
            self.stop()
            raise

    @property
    def output(self) -> str:
        """What the server has printed so far."""
        return "".join(self._printed)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead Pinecone's clients to this server."""
        return {"PINECONE_API_KEY": self.api_key, "PINECONE_CONTROLLER_HOST": self.url}

    def client(self) -> Any:
        """Pinecone's official client for this server. It must be installed: `pip install pinecone`.

        It is closed when the server stops.
        """
        from pinecone import Pinecone

        return self.closed_at_end(Pinecone(api_key=self.api_key, host=self.url))

    def closed_at_end(self, client: Any) -> Any:
        """The client, which is closed when the server stops. Old versions of Pinecone's clients need no closing."""
        self._clients.callback(getattr(client, "close", lambda: None))
        return client

    def create_index(
        self,
        name: str = "",
        model: str = "all-MiniLM-L6-v2",
        text_field: str = "chunk_text",
        dimension: int | None = None,
        metric: str = "cosine",
    ) -> PinyonIndex:
        """Make an empty index. name: one that no other index has if it is not given.

        It embeds texts with the model; or, if `dimension` is given, it takes vectors of that length and no texts.
        Raises FailedPrecondition with the server's message if it refuses.
        """
        body: dict[str, Any] = {"name": name or f"test-{uuid4().hex[:12]}"}
        if dimension is not None:
            body |= {"dimension": dimension, "metric": metric, "spec": SERVERLESS}
            return PinyonIndex(self, self.ask("POST", "/indexes", body))
        embed = {"model": model, "metric": metric, "field_map": {"text": text_field}}
        body |= {"cloud": "aws", "region": "us-east-1", "embed": embed}
        return PinyonIndex(self, self.ask("POST", "/indexes/create-for-model", body))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to the control plane. Returns its JSON answer, or None for an empty one.

        Raises FailedPrecondition with the server's message if it refuses, Unavailable if it does not answer.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Api-Key": self.api_key, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is on this machine
        try:
            with opener.open(request, timeout=START_S) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise FailedPrecondition(f"The test server refuses: {error.read().decode()}") from error
        except OSError as error:
            raise Unavailable(f"The test server does not answer: {error}. It printed:\n{self.output}") from error
        return json.loads(content) if content else None

    def stop(self) -> None:
        """Stop the server and remove its data. Calling it again does nothing."""
        self._clients.close()
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()  # which tells it to stop
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(STOP_S)

    def __enter__(self) -> "PinyonServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._printed.append(line)
                self._lines.put(line)
        self._lines.put(None)

    def _ready(self) -> str:
        """The URL that the server prints when it can answer."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise FailedPrecondition(f"The test server did not start. It printed:\n{self.output}")
            if line.startswith(READY):
                return line.removeprefix(READY).partition(",")[0].strip()
