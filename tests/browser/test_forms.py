"""Forms of the console in a browser, filled in with attacks, with and without scripts."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.content import HOSTILE, SCRIPT
from tests.browser.pages import Page, address
from tests.browser.visit import DESK, PHONE, View, Visitor
from tests.running import RunningServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
CSV = f'_id,chunk_text,"<img src=x onerror=alert(1)>"\nrow-1,"{SCRIPT}","{SCRIPT}"\n'


@pytest.mark.parametrize("script", [True, False], ids=["script", "noscript"])
def test_attacks_in_forms_stay_text(
    chromium: "Browser", site: RunningServer, axe: str, pictures: Path, script: bool
) -> None:
    visitor = Visitor(chromium, site.url, View(*PHONE, "light"), script)
    tab = visitor.tab
    visitor.open(Page("search", address("/console", namespace=HOSTILE), 200, 0))
    tab.fill("#q", f"apples {SCRIPT}")
    tab.press("#q", "Enter")
    tab.wait_for_url("**q=apples**")
    visitor.look()
    tab.locator("button[name=good]").first.click()
    tab.wait_for_selector("button[name=none]")
    visitor.look()
    visitor.open(Page("judged-attacks", address("/console/judge", namespace=HOSTILE), 200, 0))
    assert SCRIPT in tab.inner_text("main")
    visitor.inspect(axe, pictures)
    visitor.open(Page("import", address("/console/import"), 200, 0))
    tab.set_input_files("input[type=file]", {"name": "a<b>.csv", "mimeType": "text/csv", "buffer": CSV.encode()})
    tab.click("main button")
    tab.wait_for_selector("main table")
    assert SCRIPT in tab.inner_text("main")
    visitor.name("import-preview")
    visitor.inspect(axe, pictures)
    visitor.end()


def test_an_import_is_watched_without_reloading_and_cancelled(chromium: "Browser", site: RunningServer) -> None:
    visitor = Visitor(chromium, site.url, View(*DESK, "light"))
    tab = visitor.tab
    visitor.open(Page("import", address("/console/import"), 200, 0))
    rows = "".join(f"row-{n},{'a text of many words ' * 2}{n}\n" for n in range(6_000))
    file = {"name": "many.csv", "mimeType": "text/csv", "buffer": f"_id,chunk_text\n{rows}".encode()}
    tab.set_input_files("input[type=file]", file)
    tab.fill("#namespace", "watched")
    tab.click("main form[enctype] button")
    tab.wait_for_selector("main table")
    tab.click("main form button")
    tab.wait_for_selector("#jobs[data-live]")
    visitor.look()
    first = tab.inner_text("#jobs td.number")
    tab.evaluate("window.isTheSamePage = true")
    tab.wait_for_function("first => document.querySelector('#jobs td.number').innerText !== first", arg=first)
    assert tab.evaluate("window.isTheSamePage")
    tab.click("#jobs button")
    tab.wait_for_selector("#jobs td:has-text('cancelled')")
    assert tab.locator("#jobs[data-live]").count() == 0
    visitor.end()
