"""Callers without a key that send too much, too little or nonsense cost little memory and few lines of the log."""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import h2.connection
import httpx
import pytest
from pinyon.cli import certificates

from tests.running import RunningServer, config

MANY = 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    server = RunningServer(config(tmp_path), tmp_path / "data", "--shutdown-grace-s", "1")
    yield server
    server.kill()


def connected(server: RunningServer) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=60)
    return one


def test_heads_that_do_not_end_are_refused_once_they_take_much_memory(server: RunningServer) -> None:
    part = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 900_000
    with ExitStack() as stack:
        waiting, refused = [stack.enter_context(connected(server)) for _ in range(MANY)], 0
        for one in waiting:
            with suppress(OSError):  # it was closed while this was sent
                one.sendall(part)
        while refused < MANY / 3 and (answered := select.select(waiting, [], [], 20)[0]):
            refused += len(answered)
            waiting = [one for one in waiting if one not in answered]
        assert httpx.get(f"{server.url}/health", timeout=60).status_code == 200
    assert refused >= MANY / 3, "all 54 MB are held"


@pytest.mark.parametrize("length", [b"5", b"0"])
def test_a_request_that_says_twice_where_it_ends_is_refused_and_its_connection_closed(
    hash_server: RunningServer, length: bytes
) -> None:
    with connected(hash_server) as one:
        head = b"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length
        one.sendall(
            head + b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        answer = b"".join(iter(lambda: one.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answer.lower()
    assert answer.count(b"HTTP/1.1") == 1, "what follows is no request"


def test_half_a_body_and_floods_of_streams_are_a_line_of_the_log_at_the_end(server: RunningServer) -> None:
    with ExitStack() as stack:
        for _ in range(MANY):
            one = stack.enter_context(connected(server))
            one.sendall(b"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{")
        for _ in range(10):
            one, protocol = stack.enter_context(connected(server)), h2.connection.H2Connection()
            protocol.initiate_connection()
            for _ in range(200):
                stream = protocol.get_next_available_stream_id()
                head = {":method": "POST", ":path": "/query", ":scheme": "http", ":authority": "localhost"}
                protocol.send_headers(stream, list(head.items()))
                protocol.reset_stream(stream)
            one.sendall(protocol.data_to_send())
        assert httpx.get(f"{server.url}/health", timeout=60).status_code == 200
        assert server.stop() == 0
    assert "Traceback" not in server.text
    assert server.text.count("connections ended badly") <= 3
    assert "all data is on disk" in server.text


def test_callers_that_say_nothing_where_tls_is_spoken_leave_no_tracebacks(tmp_path: Path) -> None:
    certificates.make(tmp_path / "certs", [])
    tls = ("--tls-cert", str(tmp_path / "certs/server.pem"), "--tls-key", str(tmp_path / "certs/server.key"))
    server = RunningServer(config(tmp_path), tmp_path / "data", *tls, "--shutdown-grace-s", "1")
    with ExitStack() as stack:
        for n in range(MANY):
            one = stack.enter_context(connected(server))
            if n % 2:
                one.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert httpx.get(f"{server.url}/health", verify=False, timeout=60).status_code == 200
        assert server.stop() == 0
    assert "Traceback" not in server.text


def test_heads_that_end_in_another_protocol_are_not_counted_for_good(server: RunningServer) -> None:
    padding = b"".join(b"x-%d: " % n + b"x" * 8_000 + b"\r\n" for n in range(90))
    upgrade = b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\nconnection: upgrade, http2-settings\r\n\r\n"
    for _ in range(30):  # 21 MB in all
        with connected(server) as one, suppress(OSError):
            one.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + padding)
            select.select([one], [], [], 0.05)  # it comes in parts
            one.sendall(upgrade)
            one.recv(100)
    head = b"GET /health?" + b"x" * 40_000
    with connected(server) as one:
        one.sendall(head)
        select.select([one], [], [], 0.3)
        one.sendall(b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert one.recv(100).startswith(b"HTTP/1.1 200 ")
