"""Fixtures named as nouns. Servers are real processes, shared by a whole run; each test takes a namespace of its own."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every program that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before any hub library is imported: no network, and none of the weights this machine may have.
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_CACHE="/nonexistent")
# Where tests run side by side, each process has one core. With more threads they would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests.examples import examples
from tests.running import ENGINE, RunningServer, config, free_ports, plain_config

# Each process that a test starts would compile all modules again, in 0.4 s, where the machine says not to keep them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A slow machine is no failure. The same examples every time, unless pytest gets --hypothesis-profile explore.
settings.register_profile(
    "repeated",
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
settings.register_profile("explore", settings.get_profile("repeated"), derandomize=False)
settings.load_profile("repeated")

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the gRPC half of questions marked rest_only: there is nothing to run, and so nothing to skip.

    Where servers have no data folder, leave out what is about one, too.
    """

    def has_nothing_to_run(item: pytest.Item) -> bool:
        chosen = item.callspec.params.get("protocol") if hasattr(item, "callspec") else None
        cannot_be_said = chosen == "grpc" and item.get_closest_marker("rest_only") is not None
        return cannot_be_said or (ENGINE != "sqlite" and item.get_closest_marker("data_folder") is not None)

    left_out = [item for item in items if has_nothing_to_run(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not has_nothing_to_run(item)]


@pytest.fixture(scope="session", autouse=True)
def no_certificate_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests ask servers on this machine. httpx would read every authority of the world for each client, in 25 ms."""
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("SSL_CERT_FILE", raising=False)
        patched.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("no-authorities")))
        yield


@pytest.fixture(scope="session")
def hash_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the hashing stand-alone model: quick, for everything that is not about meaning."""
    folder = tmp_path_factory.mktemp("hash")
    server = RunningServer(config(folder), folder / "data")
    yield server
    assert server.stop() == 0, server.text


@pytest.fixture(scope="session")
def minilm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The quick start's server with room for two further indexes: the real MiniLM, stand-ins on."""
    folder = tmp_path_factory.mktemp("minilm")
    server = RunningServer(config(folder, "all-MiniLM-L6-v2"), folder / "data", "--index-ports", free_ports(2))
    yield server
    assert server.stop() == 0, server.text


@pytest.fixture(scope="session")
def control_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with room for eight further indexes, stand-ins on."""
    folder = tmp_path_factory.mktemp("control")
    server = RunningServer(config(folder), folder / "data", "--index-ports", free_ports(8))
    yield server
    assert server.stop() == 0, server.text


INDEXES = {
    "cosine": 'dimension = 2\nmetric = "cosine"',
    "dotproduct": 'dimension = 2\nmetric = "dotproduct"',
    "euclidean": 'dimension = 2\nmetric = "euclidean"',
    "sparse": 'vector_type = "sparse"',
}


@pytest.fixture(scope="session")
def plain_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RunningServer]]:
    """A server with an index of plain vectors for each of INDEXES, started when it is first asked for."""
    running: dict[str, RunningServer] = {}

    def server(kind: str) -> RunningServer:
        if kind not in running:
            folder = tmp_path_factory.mktemp(kind)
            running[kind] = RunningServer(plain_config(folder, INDEXES[kind]), folder / "data")
        return running[kind]

    yield server
    for one in running.values():
        assert one.stop() == 0, one.text


@pytest.fixture
def client(hash_server: RunningServer) -> Iterator[httpx.Client]:
    with hash_server.client() as client:
        yield client


@pytest.fixture
def namespace() -> str:
    return f"ns-{uuid4().hex[:12]}"


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Folders of the real collections. They are no part of the repository, so a test is skipped where they are absent."""

    def folder(name: str) -> Path:
        path = SHARED / name
        if not path.is_dir():
            pytest.skip(f"{path} is absent; the collections are no part of the repository")
        return path

    return folder


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
