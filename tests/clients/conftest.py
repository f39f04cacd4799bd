"""Servers for clients: one for a whole run, and one in clear text."""

from collections.abc import Iterator

import pytest

from tests.clients.running import ClientsServer, start_server


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientsServer]:
    """A server with TLS and a key. Scripts share it: each deletes the indexes that it makes."""
    yield from _served(start_server(tmp_path_factory.mktemp("tls"), tls=True))


@pytest.fixture(scope="session")
def clear_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientsServer]:
    """The same in clear text."""
    yield from _served(start_server(tmp_path_factory.mktemp("clear"), tls=False))


def _served(server: ClientsServer) -> Iterator[ClientsServer]:
    yield server
    assert server.running.stop() == 0, server.running.text
