"""A plugin for pytest: a Pinyon for the tests of programs that use Pinecone's API.

An installed Pinyon brings it along. Nothing of it runs until a test asks for one of its fixtures.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from pinyon.testing.server import PinyonIndex, PinyonServer

OPTION = "pinyon_models"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option --pinyon-models, and the same in the settings of pytest."""
    told = "quick: stand-ins that know only words; real: the installed models, all-MiniLM-L6-v2 among them"
    group = parser.getgroup("pinyon", "a Pinyon for tests")
    group.addoption("--pinyon-models", choices=("quick", "real"), default=None, help=f"{told} (default: quick)")
    parser.addini(OPTION, f"what answers in the tests. {told}", default="quick")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "pinyon_index(model, text_field, dimension, metric): what the fixture pinyon_index makes; with a dimension, an "
        "index of vectors",
    )


@pytest.fixture(scope="session")
def pinyon_server(request: pytest.FixtureRequest) -> Iterator[PinyonServer]:
    """A server for the whole run, or for each worker of pytest-xdist."""
    models: Any = request.config.getoption("--pinyon-models") or request.config.getini(OPTION)
    if models not in ("quick", "real"):
        raise pytest.UsageError(f"{OPTION} must be quick or real, got '{models}'")
    with PinyonServer(models) as server:
        yield server


@pytest.fixture
def pinyon_index(request: pytest.FixtureRequest, pinyon_server: PinyonServer) -> Iterator[PinyonIndex]:
    """An empty index for this test alone. It is deleted afterwards."""
    marker = request.node.get_closest_marker("pinyon_index")
    index = pinyon_server.create_index(**(marker.kwargs if marker is not None else {}))
    yield index
    index.delete()


@pytest.fixture
def pinyon_environment(pinyon_server: PinyonServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Leads Pinecone's clients that the program makes by itself to the server, by the variables of the environment."""
    for name, value in pinyon_server.environment.items():
        monkeypatch.setenv(name, value)
    return pinyon_server.environment
