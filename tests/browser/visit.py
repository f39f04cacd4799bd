"""Looks at a page as it is shown, and says what is wrong with it."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.browser.pages import Page
from tests.running import GIVEN_UP_S

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
    """How a page is looked at. colour: light or dark."""

    width: int
    height: int
    colour: str

    def __str__(self) -> str:
        return f"{self.width}-{self.colour}"


PHONE, DESK, WALL = (360, 800), (1280, 900), (2560, 1440)
VIEWS = [View(*size, colour) for size, colour in itertools.product((PHONE, DESK, WALL), ("light", "dark"))]
"""Every page is looked at in each of them."""


class Visitor:
    """A tab of the browser. faults: what was wrong on the pages that it visited, in words."""

    def __init__(self, browser: "Browser", url: str, view: View, script: bool = True) -> None:
        """script: whether the scripts of pages run."""
        self.url, self.view, self.script = url, view, script
        self.faults: list[str] = []
        self._name, self._status = "no page", 200
        self.context: BrowserContext = browser.new_context(java_script_enabled=script)
        self.context.set_default_timeout(GIVEN_UP_S * 1000)
        self.tab: Tab = self.context.new_page()
        self._settings = self.context.new_cdp_session(self.tab)
        self._run_scripts(script)
        self._look_as(view)
        self.tab.on("console", lambda message: self._console(message.type, message.text))
        self.tab.on("pageerror", lambda error: self.fault(f"an error in a script: {error}"))
        self.tab.on("dialog", self._dialog)
        self.tab.on("request", lambda request: self._request(request.url))

    def fault(self, text: str) -> None:
        """Note that something is wrong with the page that is open."""
        self.faults.append(f"{self._name} ({self.view}, {'with' if self.script else 'without'} scripts): {text}")

    def open(self, page: Page) -> None:
        """Go to a page, and look whether it is whole and harmless."""
        self._name, self._status = page.name, page.status
        answer = self.tab.goto(self.url + page.path, wait_until="load")
        if answer is None or answer.status != page.status:
            self.fault(f"the answer is {answer and answer.status}, and was {page.status}")
        self.look()

    def name(self, name: str, status: int = 200) -> None:
        """Say what the page is called to which the next click leads. status: what its answer must be."""
        self._name, self._status = name, status

    def send(self, name: str, button: str, status: int = 200) -> None:
        """Press a button or follow a link, which leads to another page. name, status: as in name()."""
        self.name(name, status)
        with self.tab.expect_navigation() as going:
            self.tab.click(button)
        if going.value is None or going.value.status != status:
            self.fault(f"the answer is {going.value and going.value.status}, and must be {status}")
        self.look()

    def inspect(self, axe: str, pictures: Path) -> None:
        """Look at the page that is open in every view, and have axe-core look at it. Pictures are kept of it."""
        usual = self.view
        self._run_scripts(True)  # axe-core is one; those of the page had their turn when it was loaded
        self.tab.evaluate(f"() => {{ {axe} }}")
        for view in VIEWS:
            self._look_as(view)
            self.look()
            self._check_with_axe()
            if self.script:
                path = pictures / f"{self._name}-{view}.png"
                # Hiding the caret would leave attributes in the page.
                self.tab.screenshot(path=path, full_page=view.width == DESK[0], caret="initial")
        self._look_as(usual)
        self._run_scripts(self.script)

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

    def _check_with_axe(self) -> None:
        result = self.tab.evaluate(
            "async () => (await axe.run(document, {resultTypes: ['violations']})).violations",
        )
        for violation in result:
            places = [node["target"] for node in violation["nodes"]][:3]
            summary = violation["nodes"][0]["failureSummary"].splitlines()[-1].strip()
            self.fault(f"{violation['id']}: {violation['help']} at {places}: {summary}")

    def _look_as(self, view: View) -> None:
        self.view = view
        self.tab.set_viewport_size({"width": view.width, "height": view.height})
        self.tab.emulate_media(color_scheme="dark" if view.colour == "dark" else "light")

    def _run_scripts(self, do: bool) -> None:
        self._settings.send("Emulation.setScriptExecutionDisabled", {"value": not do})

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
        is_expected = self._status >= 400 and f"status of {self._status}" in text
        if kind in ("error", "warning") and not is_expected:
            self.fault(f"the browser says: {text}")

    def _dialog(self, dialog: Any) -> None:
        self.fault(f"content was executed: {dialog.message}")
        dialog.dismiss()

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "about") and f"{parts.scheme}://{parts.netloc}" != self.url.rstrip("/"):
            self.fault(f"something was asked of another host: {url}")
