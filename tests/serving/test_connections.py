"""Connections: how an answer is written, when one that rests is closed, and how they end with the server."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from hypercorn.asyncio import serve
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.events import RawData
from pinyon.patches import hypercorn as hypercorn_patches

pytestmark = pytest.mark.anyio

RESTS_S = 0.3
"""Seconds after which an idle connection is closed in these tests."""


class Server:
    """A small application, served as Pinyon is."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.asked, self.go_on, self.stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.asked.set()
        if scope["path"] == "/waits":
            await self.go_on.wait()
        body = b"" if scope["path"] == "/empty" else b"all of it"
        headers = [(b"content-length", str(len(body)).encode())]
        if scope["path"].startswith("/header/"):
            headers.append((b"x-told", scope["path"].removeprefix("/header/").encode()))
        await send({"type": "http.response.start", "status": 200 if body else 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def outlast_an_idle_connection(self) -> None:
        """Return once a connection that was opened now was closed for being idle."""
        reader, writer = await self.connect()
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@contextlib.asynccontextmanager
async def serving(rests_s: float = 75.0) -> AsyncIterator[Server]:
    hypercorn_patches.apply()
    server, config = Server(), Config()
    config.bind, config.keep_alive_timeout = [f"fd://{server.listener.detach()}"], rests_s
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 30
    task = asyncio.create_task(serve(server.app, config, shutdown_trigger=server.stop.wait))
    try:
        yield server
    finally:
        server.go_on.set()
        server.stop.set()
        await asyncio.wait_for(task, 60)


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head + await asyncio.wait_for(reader.readexactly(int(size.partition(b":")[2])), 60)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What servers write, piece by piece."""
    hypercorn_patches.apply()
    pieces: list[bytes] = []
    send = TCPServer.protocol_send

    async def noted(self: TCPServer, event: Any) -> None:
        if isinstance(event, RawData):
            pieces.append(event.data)
        await send(self, event)

    monkeypatch.setattr(TCPServer, "protocol_send", noted)
    return pieces


@pytest.mark.parametrize(
    ("path", "begins", "ends"), [("/", b"200 OK", b"all of it"), ("/empty", b"404 Not Found", b"")]
)
async def test_an_answer_is_written_in_one_piece(written: list[bytes], path: str, begins: bytes, ends: bytes) -> None:
    async with serving() as server:
        reader, writer = await server.connect()
        for _ in range(2):
            written.clear()
            writer.write(request(path))
            whole = await answer(reader)
            assert whole.startswith(b"HTTP/1.1 " + begins + b"\r\n")
            assert whole.endswith(b"\r\n\r\n" + ends)
            assert written == [whole]
        writer.close()


@pytest.mark.parametrize(
    ("value", "status"),
    [("plain", 200), ("%09a%09b", 200), ("a%0D%0Ax-evil: 1", 500), ("a%0Ax-evil: 1", 500), ("%00", 500)],
)
async def test_a_header_ends_where_its_line_does(value: str, status: int) -> None:
    async with serving() as server:
        reader, writer = await server.connect()
        writer.write(f"GET /header/{value.replace(' ', '%20')} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"x-evil" not in head
        assert (b"\r\nx-told: " in head) == (status == 200)
        writer.close()


async def test_a_connection_is_closed_once_it_is_idle_and_not_while_it_waits_for_an_answer() -> None:
    async with serving(RESTS_S) as server:
        reader, writer = await server.connect()
        for _ in range(2):
            server.asked.clear()
            server.go_on.clear()
            writer.write(request("/waits"))
            await server.asked.wait()
            await server.outlast_an_idle_connection()
            server.go_on.set()
            assert (await answer(reader)).endswith(b"all of it")
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()


async def test_a_connection_on_which_nothing_was_ever_asked_is_closed() -> None:
    async with serving(RESTS_S) as server:
        await server.outlast_an_idle_connection()


async def test_a_resting_connection_ends_with_the_server_at_once_and_one_in_use_after_its_answer() -> None:
    async with serving() as server:
        resting, one = await server.connect()
        one.write(request("/"))
        await answer(resting)
        waiting, other = await server.connect()
        server.asked.clear()
        other.write(request("/waits"))
        await server.asked.wait()
        server.stop.set()
        assert await asyncio.wait_for(resting.read(), 60) == b""
        server.go_on.set()
        assert (await answer(waiting)).endswith(b"all of it")
        assert await asyncio.wait_for(waiting.read(), 60) == b""
        one.close()
        other.close()


class Http2:
    """A connection that speaks HTTP/2 from the beginning."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._stream = reader, writer, -1
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._http.initiate_connection()

    def ask(self, path: str) -> None:
        self._stream += 2
        headers = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "localhost")]
        self._http.send_headers(self._stream, headers, end_stream=True)
        self._writer.write(self._http.data_to_send())

    async def until(self, kind: type[h2.events.Event] | None) -> bool:
        """Whether such an event came, before the end of the connection."""
        while data := await asyncio.wait_for(self._reader.read(65536), 60):
            events = self._http.receive_data(data)
            self._writer.write(self._http.data_to_send())
            if kind is not None and any(isinstance(event, kind) for event in events):
                return True
        return False


async def test_connections_of_http2_rest_and_end_likewise() -> None:
    async with serving(RESTS_S) as server:
        reader, writer = await server.connect()
        http = Http2(reader, writer)
        for _ in range(2):
            server.asked.clear()
            server.go_on.clear()
            http.ask("/waits")
            await server.asked.wait()
            await server.outlast_an_idle_connection()
            server.go_on.set()
            assert await http.until(h2.events.StreamEnded)
        assert not await http.until(h2.events.StreamEnded), "the connection ends"
        writer.close()
    async with serving() as server:
        reader, writer = await server.connect()
        http = Http2(reader, writer)
        http.ask("/waits")
        await server.asked.wait()
        resting, one = await server.connect()
        server.stop.set()
        assert await asyncio.wait_for(resting.read(), 60) == b""
        server.go_on.set()
        assert await http.until(h2.events.StreamEnded)
        assert not await http.until(None), "the connection ends"
        one.close()
        writer.close()
