"""What somebody sees who logs in with a key: every page, forms of records, a measurement, a new key, the log-out."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pinyon.console.pages import NAVIGATION
from pinyon.console.paths import BROWSE, JUDGE, KEYS, LOGIN, RECORD, ROOT

from tests.browser.conftest import KEY
from tests.browser.content import LIBRARY, SCRIPT
from tests.browser.pages import Page, address
from tests.browser.visit import VIEWS, Visitor
from tests.running import RunningServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
with_and_without_scripts = pytest.mark.parametrize("script", [True, False], ids=["script", "noscript"])


class Examiner(Visitor):
    """A visitor who looks at each page in every view, and reaches its controls with the keyboard."""

    axe: str
    pictures: Path

    def examine(self) -> None:
        """Look at the page that is open."""
        self.inspect(self.axe, self.pictures)
        if self.script:
            self.check_keyboard()

    def log_in(self) -> None:
        """Log in by the form, to which every page leads."""
        self.open(Page("log-in", ROOT, 200, 0))
        self.tab.fill("#key", KEY)
        self.send("logged-in", "main button")


@pytest.fixture
def visitor(chromium: "Browser", locked: RunningServer, axe: str, pictures: Path, script: bool) -> Examiner:
    visitor = Examiner(chromium, locked.url, VIEWS[0], script)
    visitor.axe, visitor.pictures = axe, pictures
    return visitor


@with_and_without_scripts
def test_a_log_in_shows_every_page_until_the_log_out(visitor: Examiner) -> None:
    tab = visitor.tab
    visitor.open(Page("log-in", f"{ROOT}?index=quickstart", 200, 0))
    assert LOGIN in tab.url
    visitor.examine()
    tab.fill("#key", "a key that nobody has")
    visitor.send("log-in-refused", "main button", 401)
    assert "is not known here" in tab.inner_text("[role=alert]")
    visitor.examine()
    tab.fill("#key", KEY)
    visitor.send("keyed-search-first", "main button")
    assert tab.url.endswith(f"{ROOT}?index=quickstart")
    for name, title, path in NAVIGATION:
        visitor.open(Page(f"keyed-{name}", path, 200, 0))
        assert tab.inner_text("nav [aria-current]") == title
        assert tab.is_visible("header button:has-text('Log out')")
        visitor.examine()
    visitor.open(Page("keyed-hits", address(ROOT, namespace=LIBRARY, q="apples", rerank="bm25"), 200, 0))
    visitor.examine()
    visitor.send("logged-out", "header button")
    assert LOGIN in tab.url and tab.locator("header button").count() == 0
    visitor.examine()
    visitor.open(Page("logged-out", ROOT, 200, 0))
    assert LOGIN in tab.url
    visitor.end()


@with_and_without_scripts
def test_a_record_is_added_edited_and_deleted_by_its_forms(visitor: Examiner, script: bool) -> None:
    tab, id = visitor.tab, f"by hand <{script}>"
    visitor.log_in()
    visitor.open(Page("add", address(f"{RECORD}/add", namespace=LIBRARY), 200, 0))
    tab.fill("#id", id)
    tab.fill("#text", f"A record {SCRIPT}")
    tab.fill("#fields", "{year: 1}")
    visitor.send("add-refused", "main button", 400)
    assert tab.input_value("#id") == id and "are no JSON" in tab.inner_text("[role=alert]")
    visitor.examine()
    tab.fill("#fields", '{"year": 1}')
    visitor.send("added", "main button")
    assert "was added" in tab.inner_text("[role=status]") and SCRIPT in tab.inner_text("main")
    visitor.examine()
    visitor.send("edit", "a:has-text('Edit the fields')")
    visitor.examine()
    tab.fill("#fields", "[]")
    visitor.send("edit-refused", "main button", 400)
    assert "must be a JSON object" in tab.inner_text("[role=alert]")
    visitor.examine()
    tab.fill("#fields", '{"chunk_text": "changed", "year": 2}')
    visitor.send("edited", "main button")
    assert "was saved" in tab.inner_text("[role=status]") and SCRIPT not in tab.inner_text("main")
    visitor.send("delete", "a:has-text('Delete the record')")
    visitor.examine()
    visitor.send("deleted", "main button")
    assert BROWSE in tab.url and id not in tab.inner_text("main")
    visitor.open(Page("deleted", address(RECORD, namespace=LIBRARY, id=id), 404, 0))
    visitor.end()


@with_and_without_scripts
def test_judgements_are_measured(visitor: Examiner, script: bool) -> None:
    tab, query = visitor.tab, f"fiber in apples {script}"
    visitor.log_in()
    visitor.open(Page("judging", address(ROOT, namespace=LIBRARY, q=query, show="lexical"), 200, 0))
    visitor.send("judged-good", "button[name=good]")
    visitor.send("judged-bad", ".hit:nth-child(2) button[name=bad]")
    assert tab.locator("button[aria-pressed=true]").count() == 2
    visitor.examine()
    visitor.open(Page("judge", address(JUDGE, namespace=LIBRARY), 200, 0))
    tab.select_option("#rerank", "bm25")
    visitor.name("judge-measured")
    tab.click("button:has-text('Measure by')")
    tab.wait_for_selector(".qualities")
    assert tab.locator(".qualities tbody tr").count() == 4
    visitor.examine()
    visitor.end()


@with_and_without_scripts
def test_a_key_is_shown_once_and_revoked(visitor: Examiner, script: bool) -> None:
    tab, name = visitor.tab, f"<reader> {script}"
    visitor.log_in()
    visitor.open(Page("keys", KEYS, 200, 0))
    tab.fill("#name", name)
    tab.fill("#rate", "fast")
    visitor.send("keys-refused", "main button", 400)
    assert "must be a number" in tab.inner_text("[role=alert]")
    visitor.examine()
    tab.fill("#name", name)
    visitor.send("key-made", "main button")
    made = re.findall(r"pinyon_[\w-]+", tab.inner_text("main code"))
    assert len(made) == 1
    visitor.examine()
    visitor.send("keys-listed", "a:has-text('All keys')")
    assert name in tab.inner_text("main table") and made[0] not in tab.content()
    visitor.examine()
    visitor.send("key-revoke", f"a:has-text('Revoke {name}')")
    visitor.examine()
    visitor.send("key-revoked", "main button")
    assert name not in tab.inner_text("main")
    visitor.end()
