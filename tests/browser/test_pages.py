"""Every page of the console, as people with any screen, keyboard and settings see it."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pinyon.console.pages import NAVIGATION

from tests.browser.pages import Page
from tests.browser.visit import DESK, VIEWS, View, Visitor
from tests.running import RunningServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

HEAVIEST = 150_000
"""Bytes of a page, with its stylesheet, script and pictures."""


def test_the_walk_comes_by_every_page_of_the_navigation(every_page: list[Page]) -> None:
    paths = {page.path for page in every_page}
    assert paths >= {path for _, _, path in NAVIGATION}
    assert [page.name for page in every_page if page.status >= 500] == []
    assert len(paths) > 15


def test_the_walk_comes_by_hits_and_by_attacks(site: RunningServer, every_page: list[Page]) -> None:
    with site.client() as client:
        texts = {page.name: client.get(page.path).text for page in every_page}
    assert texts["search"].count("note-03") > 4
    for name in ("hostile-search", "hostile-records", "hostile-record", "hostile-query", "hostile-filter"):
        assert "&lt;script&gt;" in texts[name], name


def test_no_page_is_heavy(every_page: list[Page]) -> None:
    assert {page.name: page.weight for page in every_page if page.weight >= HEAVIEST} == {}


@pytest.mark.parametrize("script", [True, False], ids=["script", "noscript"])
def test_pages_are_whole_and_harmless_in_every_size_and_colour(
    chromium: "Browser", site: RunningServer, every_page: list[Page], axe: str, pictures: Path, script: bool
) -> None:
    visitor = Visitor(chromium, site.url, VIEWS[0], script)
    for page in every_page:
        visitor.open(page)
        visitor.inspect(axe, pictures)
    visitor.end()


def test_the_keyboard_reaches_everything(chromium: "Browser", site: RunningServer, every_page: list[Page]) -> None:
    visitor = Visitor(chromium, site.url, View(*DESK, "light"))
    for page in every_page:
        visitor.open(page)
        visitor.check_keyboard()
    visitor.end()


@pytest.mark.parametrize(("name", "picture"), [("search", "console-search"), ("page-overview", "console-overview")])
def test_pictures_for_the_documentation_are_small(
    chromium: "Browser", site: RunningServer, every_page: list[Page], pictures: Path, name: str, picture: str
) -> None:
    """`make pictures` copies them to docs."""
    visitor = Visitor(chromium, site.url, View(1120, 780, "light"))
    visitor.open(next(page for page in every_page if page.name == name))
    path = pictures / f"{picture}.png"
    visitor.tab.screenshot(path=path)
    visitor.end()
    assert path.stat().st_size < HEAVIEST
