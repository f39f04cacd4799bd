"""Logging in with a key, forms that another site sends, and what every page says to a browser."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.console.conftest import KEY, Browser
from tests.running import RunningServer, config

Browse = Callable[[str], Browser]


def test_a_browser_is_led_to_the_console_and_a_program_is_told_of_it(
    hash_server: RunningServer, browse: Browse
) -> None:
    browser = browse(hash_server.url)
    answer = browser.get("/", headers={"accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    assert "/console in a browser" in browser.get("/", headers={"accept": "*/*"}).text


def test_a_page_may_load_and_send_nothing_elsewhere(hash_server: RunningServer, browse: Browse) -> None:
    answer = browse(hash_server.url).get("/console")
    assert answer.status_code == 200
    assert answer.headers.get_list("content-security-policy") == [answer.headers["content-security-policy"]]
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {"'self'", "'none'"} == set(policy.values())
    assert answer.headers["cache-control"] == "no-store"
    assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]


def test_without_a_key_every_page_leads_to_the_log_in_and_back(locked: RunningServer, browse: Browse) -> None:
    browser = browse(locked.url)
    answer = browser.get("/console?index=quickstart")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/login?next=%2Fconsole%3Findex%3Dquickstart"
    assert "quickstart" not in browser.get("/console/login").text
    wrong = browser.submit("/console/login", key="wrong")
    assert (wrong.status_code, "is not known here" in wrong.text) == (401, True)
    assert browser.get("/console").status_code == 303
    right = browser.submit("/console/login", page=answer.headers["location"], key=KEY, next="/console?index=quickstart")
    assert (right.status_code, right.headers["location"]) == (303, "/console?index=quickstart")
    assert "HttpOnly; SameSite=Strict" in right.headers["set-cookie"]
    assert "quickstart" in browser.get("/console").text
    assert browser.submit("/console/logout", page="/console").status_code == 303
    assert browser.get("/console").status_code == 303


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/console",
        "//evil.example/console",
        "/console/../indexes",
        "/indexes",
        "\\\\evil.example",
        "/console/login",
    ],
)
def test_a_log_in_leads_nowhere_else(locked: RunningServer, browse: Browse, target: str) -> None:
    browser = browse(locked.url)
    location = browser.submit("/console/login", key=KEY, next=target).headers["location"]
    assert httpx.URL(locked.url).join(location).path.startswith("/console")
    assert httpx.URL(locked.url).join(location).host == httpx.URL(locked.url).host


def test_the_cookie_is_no_key_of_the_api(locked: RunningServer, browse: Browse) -> None:
    """Otherwise another site could use it, as far as a browser sends it."""
    browser = browse(locked.url)
    browser.submit("/console/login", key=KEY)
    cookies = {"cookie": f"pinyon_key={KEY}"}
    assert browser.get("/indexes", headers=cookies).status_code == 401
    assert browser.get("/console", headers={"cookie": "pinyon_key=wrong"}).status_code == 303
    assert browser.get("/console", headers={"cookie": 'a="; pinyon_key'}).status_code == 303


@pytest.mark.parametrize("token", [None, "", "x" * 43, "é" * 43])
def test_a_form_of_another_site_is_refused(hash_server: RunningServer, browse: Browse, token: str | None) -> None:
    browser = browse(hash_server.url)
    browser.get("/console")
    answer = browser.post("/console/logout", data={} if token is None else {"form_token": token})
    assert answer.status_code == 403
    assert "another site sent it" in answer.text


def test_what_is_wrong_is_a_page_with_the_code_of_the_api(hash_server: RunningServer, browse: Browse) -> None:
    browser = browse(hash_server.url)
    for path, status in (("/console?index=<b>no</b>", 404), ("/console/static/nope.css", 404)):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert "<b>" not in answer.text
    assert browser.get("/console/static/..%2fpages.py").status_code == 404
    assert browser.put("/console").status_code == 405


def test_the_console_can_be_switched_off(tmp_path: Path, browse: Browse) -> None:
    settings = config(tmp_path, more="\n[server]\nconsole = false\n")
    server = RunningServer(settings, tmp_path / "data")
    browser = browse(server.url)
    assert [browser.get(path).status_code for path in ("/", "/console", "/console/login")] == [404, 404, 404]
    server.stop()
