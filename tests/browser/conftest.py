"""A server with content, its pages, and a browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from tests.browser import content, pages
from tests.running import PROJECT, RunningServer, config

if TYPE_CHECKING:
    from playwright.sync_api import Browser

KEY = "the-key-of-the-settings"
MODELS = PROJECT / "models"
PICTURES = PROJECT / "build" / "screenshots"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The quick start's server with the library and the attacks in it."""
    folder = tmp_path_factory.mktemp("site")
    server = RunningServer(config(folder, "all-MiniLM-L6-v2"), folder / "data", "--models-dir", str(MODELS))
    with server.client() as client:
        for namespace, records in ((content.LIBRARY, content.library()), (content.HOSTILE, content.hostile())):
            lines = b"\n".join(httpx.Request("POST", "http://x", json=record).content for record in records)
            client.post(f"/records/namespaces/{quote(namespace, safe='')}/upsert", content=lines).raise_for_status()
    yield server
    assert server.stop() == 0, server.text


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that wants a key, with the library in it and a model that is quick."""
    folder = tmp_path_factory.mktemp("locked")
    server = RunningServer(config(folder), folder / "data", "--api-key", KEY)
    with server.client() as client:
        lines = b"\n".join(httpx.Request("POST", "http://x", json=record).content for record in content.library())
        path = f"/records/namespaces/{content.LIBRARY}/upsert"
        client.post(path, content=lines, headers={"Api-Key": KEY}).raise_for_status()
    yield server
    assert server.stop() == 0, server.text


@pytest.fixture(scope="session")
def every_page(site: RunningServer) -> list[pages.Page]:
    """All pages of the console."""
    with site.client() as client:
        return pages.found(client)


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    """The browser of this machine, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="`make test-browser` installs Playwright")
    program = os.environ.get("PLAYWRIGHT_CHROMIUM") or shutil.which("chromium")
    assert program, "no Chromium: install Debian's chromium, or set PLAYWRIGHT_CHROMIUM to one"
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The program of axe-core, which looks for what makes a page hard to use."""
    return (Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """A folder for pictures of the pages; those of an earlier run are gone."""
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    return PICTURES
