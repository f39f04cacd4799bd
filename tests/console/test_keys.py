"""API keys on their page: made, shown once, revoked; and never stronger than the key that made them."""

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pinyon.auth import keys

from tests.console.conftest import KEY, Browser
from tests.running import RunningServer, config

Browse = Callable[[str], Browser]
Folder = Callable[[RunningServer], Path]


@pytest.fixture
def master(locked: RunningServer, browse: Browse) -> Browser:
    browser = browse(locked.url)
    browser.submit("/console/login", key=KEY)
    return browser


def made(text: str) -> str:
    return re.findall(r"<code>(pinyon_[\w-]+)</code>", text)[0]


def test_a_key_is_shown_once_has_its_limits_and_can_be_revoked(locked: RunningServer, master: Browser) -> None:
    answer = master.submit(
        "/console/keys", name="reader", scope="read", index="quickstart", namespaces="one\n two \n", rate="50"
    )
    key = made(answer.text)
    assert answer.headers["cache-control"] == "no-store"
    page = master.get("/console/keys").text
    assert key not in page
    assert re.search(r"reader</th>\s*<td>read</td>\s*<td>quickstart</td>\s*<td>one, two</td>\s*<td[^>]*>50<", page)
    use = {"Api-Key": key}
    assert master.get("/vectors/list?namespace=one", headers=use).status_code == 200
    assert master.get("/vectors/list?namespace=other", headers=use).status_code == 403
    assert "Revoke this key?" in master.get("/console/keys/revoke?name=reader").text
    assert master.submit("/console/keys/revoke?name=reader").status_code == 303
    assert master.get("/vectors/list?namespace=one", headers=use).status_code == 401


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "", "scope": "read"}, "1 to 80 printable"),
        ({"name": "n" * 81, "scope": "read"}, "1 to 80 printable"),
        ({"name": "none"}, "needs a scope"),
        ({"name": "all", "scope": "control", "namespaces": "one"}, "cannot control"),
        ({"name": "fast", "scope": "read", "rate": "fast"}, "must be a number"),
        ({"name": "nan", "scope": "read", "rate": "nan"}, "must be from"),
        ({"name": "zero", "scope": "read", "rate": "0"}, "must be from"),
    ],
)
def test_what_is_wrong_with_a_new_key_is_said_above_the_form(
    master: Browser, fields: dict[str, str], words: str
) -> None:
    answer = master.submit("/console/keys", **fields)
    assert (answer.status_code, words in html.unescape(answer.text)) == (400, True), answer.text


def test_a_name_is_taken_once_and_is_only_text(master: Browser) -> None:
    name = "<script>alert(1)</script>\"'"
    assert master.submit("/console/keys", name=name, scope="read").status_code == 200
    again = master.submit("/console/keys", name=name, scope="read")
    assert again.status_code == 400
    assert "<script>alert" not in again.text
    (link,) = re.findall(r'href="(/console/keys/revoke[^"]+)"', again.text)
    question = master.get(html.unescape(link)).text
    assert "<script>alert" not in question
    assert master.submit(html.unescape(link)).status_code == 303


@pytest.mark.parametrize(
    ("limits", "fields"),
    [
        (keys.Limits(("control",)), {"scope": "read"}),
        (keys.Limits(("read", "control")), {"scope": "write"}),
        (keys.Limits(per_second=500.0), {"scope": "read"}),
        (keys.Limits(per_second=500.0), {"scope": "read", "rate": "501"}),
    ],
)
def test_a_key_makes_no_stronger_key(
    locked: RunningServer, folder_of: Folder, browse: Browse, limits: keys.Limits, fields: dict[str, str]
) -> None:
    folder, browser = folder_of(locked), browse(locked.url)
    key = keys.create(folder, "weak", limits)
    try:
        browser.submit("/console/login", key=key)
        answer = browser.submit("/console/keys", name="strong", **fields)
        assert (answer.status_code, "pinyon_" in answer.text) == (403, False)
        assert [stored.name for stored in keys.stored(folder)] == ["weak"]
    finally:
        keys.revoke(folder, "weak")


def test_the_first_key_ends_the_time_without_keys(tmp_path: Path, browse: Browse) -> None:
    server = RunningServer(config(tmp_path), tmp_path / "data")
    browser = browse(server.url)
    assert "There is no API key yet" in browser.get("/console/keys").text
    key = made(browser.submit("/console/keys", name="first", scope="control").text)
    assert browser.get("/console/keys").status_code == 303
    assert browser.get("/indexes").status_code == 401
    browser.submit("/console/login", key=key)
    assert "There is no API key yet" not in browser.get("/console/keys").text
    assert server.stop() == 0
