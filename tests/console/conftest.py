"""A server with keys, and browsers that are logged in with them. No scripts run here: test-browser has those."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.running import RunningServer, config

KEY = "the-key-of-the-settings"


class Browser(httpx.Client):
    """Keeps cookies, and sends forms as a browser does: with what is hidden in them."""

    def submit(self, path: str, page: str | None = None, **fields: str) -> httpx.Response:
        """Send a form by POST. page: where the form is; None: at the same address."""
        token = re.search(r'name="form_token" value="([^"]+)"', self.get(page or path).text)
        assert token, "the page has no form"
        return self.post(path, data={"form_token": token.group(1), **fields})


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that wants a key."""
    folder = tmp_path_factory.mktemp("locked")
    server = RunningServer(config(folder), folder / "data", "--api-key", KEY)
    yield server
    assert server.stop() == 0, server.text


@pytest.fixture
def browse() -> Iterator[Callable[[str], Browser]]:
    """Opens a browser at a server. Nobody is logged in."""
    opened: list[Browser] = []

    def browser(url: str) -> Browser:
        opened.append(Browser(base_url=url, timeout=60))
        return opened[-1]

    yield browser
    for each in opened:
        each.close()


@pytest.fixture
def folder_of() -> Callable[[RunningServer], Path]:
    """The data folder of a server."""
    return lambda server: Path(server.text.split("data     ")[1].splitlines()[0])
