"""A server on PostgreSQL is asked the questions of tests/api about vectors, namespaces and text, by REST and gRPC."""

from collections.abc import Callable, Iterator

import pytest

from tests.api.rest.test_search import *  # noqa: F403
from tests.api.test_vectors import *  # noqa: F403
from tests.conftest import INDEXES
from tests.running import RunningServer, config, on_database, plain_config


@pytest.fixture(scope="module")
def plain_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RunningServer]]:
    """As tests/conftest.py has it, on a database."""
    running: dict[str, RunningServer] = {}

    def server(kind: str) -> RunningServer:
        if kind not in running:
            data = tmp_path_factory.mktemp(kind) / "data"
            settings = plain_config(data.parent, INDEXES[kind])
            running[kind] = RunningServer(settings, data, *on_database(data))
        return running[kind]

    yield server
    for one in running.values():
        assert one.stop() == 0, one.text


@pytest.fixture(scope="module")
def hash_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """As tests/conftest.py has it, on a database."""
    data = tmp_path_factory.mktemp("hash") / "data"
    server = RunningServer(config(data.parent), data, *on_database(data))
    yield server
    assert server.stop() == 0, server.text
