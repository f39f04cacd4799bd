"""Looks at a page as it is shown, and says what is wrong with it."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.browser.pages import Page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext
    from playwright.sync_api import Page as Tab

CONTROLS = """
() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')].filter(
  (each) => each.checkVisibility({visibilityProperty: true}) && !each.disabled && each.type !== 'hidden' &&
    (each.type !== 'radio' || each.checked || !document.querySelector(`input[name="${each.name}"]:checked`)))
"""
"""What the Tab key must reach, in the order of the document."""


class View(msgspec.Struct, frozen=True):
    """How a page is looked at. colour: light or dark. script: whether scripts run."""

    width: int
    height: int
    colour: str
    script: bool

    def __str__(self) -> str:
        return f"{self.width}-{self.colour}{'' if self.script else '-noscript'}"


class Visitor:
    """A tab of the browser. faults: what was wrong on the pages that it visited, in words."""

    def __init__(self, browser: "Browser", url: str, view: View) -> None:
        self.url, self.view = url, view
        self.faults: list[str] = []
        self._page: Page | None = None
        self.context: BrowserContext = browser.new_context(
            viewport={"width": view.width, "height": view.height},
            color_scheme="dark" if view.colour == "dark" else "light",
            java_script_enabled=view.script,
        )
        self.tab: Tab = self.context.new_page()
        self.tab.on("console", lambda message: self._console(message.type, message.text))
        self.tab.on("pageerror", lambda error: self.fault(f"an error in a script: {error}"))
        self.tab.on("dialog", self._dialog)
        self.tab.on("request", lambda request: self._request(request.url))

    def fault(self, text: str) -> None:
        """Note that something is wrong with the page that is open."""
        self.faults.append(f"{self._page.name if self._page else 'no page'} ({self.view}): {text}")

    def open(self, page: Page) -> None:
        """Go to a page, and look whether it is whole and harmless."""
        self._page = page
        answer = self.tab.goto(self.url + page.path, wait_until="load")
        if answer is None or answer.status != page.status:
            self.fault(f"the answer is {answer and answer.status}, and was {page.status}")
        self.look()

    def look(self) -> None:
        """Look at the page that is open."""
        if not self.tab.title().endswith(" · Pinyon"):
            self.fault(f"the title is {self.tab.title()!r}")
        seen: dict[str, Any] = self.tab.evaluate(
            """() => ({
              headings: document.querySelectorAll('h1').length,
              wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
              widest: [...document.querySelectorAll('main *')].filter((each) => !each.closest('.scroll, pre, svg')
                && each.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
                .slice(0, 3).map((each) => each.outerHTML.slice(0, 120)),
              foreign: document.querySelectorAll('main script, main iframe, main [onerror], main [style]').length,
              links: [...document.links].filter((link) => link.protocol === 'javascript:').length,
            })"""
        )
        if seen["headings"] != 1:
            self.fault(f"{seen['headings']} headings of the first level")
        if seen["wide"] > 0:
            self.fault(f"the page is {seen['wide']} pixels too wide: {seen['widest']}")
        if seen["foreign"] or seen["links"]:
            self.fault("content has become elements, or a link runs a script")

    def check_with_axe(self, program: str) -> None:
        """Run axe-core on the page. Scripts of the page's own need not run for it."""
        self.tab.evaluate(f"() => {{ {program} }}")
        result = self.tab.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        for violation in result["violations"]:
            places = [node["target"] for node in violation["nodes"]][:3]
            summary = violation["nodes"][0]["failureSummary"].splitlines()[-1].strip()
            self.fault(f"{violation['id']}: {violation['help']} at {places}: {summary}")

    def check_keyboard(self) -> None:
        """Press Tab: every control is reached, in the order of the document, and shows that it has the focus."""
        count = self.tab.evaluate(
            f"""() => {{
              document.activeElement?.blur();
              window.controls = ({CONTROLS})();
              window.reached = [];
              document.addEventListener('focusin', (event) => window.reached.push(
                [window.controls.indexOf(event.target), getComputedStyle(event.target).outlineStyle !== 'none']));
              return window.controls.length;
            }}"""
        )
        for _ in range(count + 5):
            self.tab.keyboard.press("Tab")
        reached: list[int] = []
        for number, is_visible in self.tab.evaluate("() => window.reached"):
            if number >= 0 and number not in reached:
                reached.append(number)
                if not is_visible:
                    self.fault(f"control {number} does not show that it has the focus")
        first = reached[0] if reached else 0
        if reached != [*range(first, count), *range(first)]:
            missed = self.tab.evaluate(
                "(all) => all.slice(0, 3).map((number) => window.controls[number].outerHTML.slice(0, 120))",
                sorted(set(range(count)) - set(reached)),
            )
            self.fault(f"Tab reaches {len(reached)} of {count} controls: {reached[:60]}; not {missed}")

    def end(self) -> None:
        """Close the tab. The test fails if a page had faults."""
        self.context.close()
        if self.faults:
            pytest.fail("\n".join(self.faults), pytrace=False)

    def _console(self, kind: str, text: str) -> None:
        is_expected = self._page is not None and self._page.status >= 400 and f"status of {self._page.status}" in text
        if kind in ("error", "warning") and not is_expected:
            self.fault(f"the browser says: {text}")

    def _dialog(self, dialog: Any) -> None:
        self.fault(f"content was executed: {dialog.message}")
        dialog.dismiss()

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "about") and f"{parts.scheme}://{parts.netloc}" != self.url.rstrip("/"):
            self.fault(f"something was asked of another host: {url}")
