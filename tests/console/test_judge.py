"""Judging hits while searching: what is stored, what is exported, and the measurement by it."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pinyon.console import paths
from pinyon.evaluation.judgements import read_judgements
from pinyon.services.judgements import files
from pinyon.services.judgements.files import JudgedQuery

from tests.console.conftest import KEY, Browser
from tests.running import RunningServer, config

NAMESPACE = "a/judged b"
QUERY = "ripe \"fruit\" & <b>'x'</b> 🍎"
QUOTED = "it's \"quoted\" & <b>'so'</b>"
MARK = paths.address("/console/judge/mark", index="quickstart", namespace=NAMESPACE, q=QUERY)
SEARCH = paths.address("/console", index="quickstart", namespace=NAMESPACE, q=QUERY, show="lexical")
JUDGE = paths.address("/console/judge", index="quickstart", namespace=NAMESPACE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("judged")
    server = RunningServer(config(folder), folder / "data", "--api-key", KEY)
    yield server
    assert server.stop() == 0, server.text


@pytest.fixture(scope="module")
def browser(server: RunningServer) -> Iterator[Browser]:
    with Browser(base_url=server.url, timeout=60) as browser:
        records = [{"_id": QUOTED, "chunk_text": "ripe fruit"}, {"_id": "tab\tid", "chunk_text": "fruit"}]
        records += [{"_id": f"r{number}", "chunk_text": f"fruit number {number}"} for number in range(5)]
        path = f"/records/namespaces/{NAMESPACE.replace('/', '%2F')}/upsert"
        content = b"\n".join(map(msgspec.json.encode, records))
        browser.post(path, content=content, headers={"api-key": KEY}).raise_for_status()
        browser.submit("/console/login", key=KEY)
        yield browser


def card(page: str, id: str) -> str:
    """The HTML of a hit."""
    return next(part for part in page.split("<li")[1:] if f"<bdi>{id}</bdi>" in unescape(part))


def press(browser: Browser, id: str, button: str) -> httpx.Response:
    """Press a button of a hit on the search page, and follow where it leads."""
    buttons = re.findall(
        r'<button form="judge"[^>]* name="(\w+)" value="([^"]+)"[^>]*>(\w+)<', card(browser.get(SEARCH).text, id)
    )
    (name, value) = next((name, value) for name, value, label in buttons if label == button)
    answer = browser.submit(MARK, page=SEARCH, **{name: unescape(value), "next": SEARCH})
    assert answer.status_code == 303, answer.text
    return answer


def test_hits_are_marked_while_searching_and_the_marks_are_a_beir_set(
    browser: Browser, server: RunningServer, folder_of: Callable[[RunningServer], Path]
) -> None:
    answer = press(browser, QUOTED, "good")
    location, _, anchor = answer.headers["location"].partition("#")
    assert location == SEARCH and re.fullmatch(r"hit-0-\d", anchor)
    press(browser, "r1", "bad")
    page = browser.get(SEARCH).text
    assert 'aria-pressed="true">good<' in card(page, QUOTED) and 'aria-pressed="true">bad<' in card(page, "r1")
    assert 'aria-pressed="true"' not in card(page, "r2")
    folder = folder_of(server) / "judgements" / "quickstart" / "a%2Fjudged b"
    assert [(query.text, query.grades) for query in read_judgements(folder)] == [(QUERY, {QUOTED: 1})]
    assert [query.grades for query in files.read(folder).values()] == [{QUOTED: 1, "r1": 0}]

    listed = browser.get(JUDGE).text
    assert QUERY in unescape(listed) and "<b>" not in listed
    exported = browser.get(JUDGE.replace("judge?", "judge/export?"))
    assert exported.headers["content-type"] == "application/zip"
    packed = zipfile.ZipFile(io.BytesIO(exported.content))
    assert {name: packed.read(name) for name in packed.namelist()} == {
        name: (folder / name).read_bytes() for name in ("queries.jsonl", "qrels/test.tsv")
    }

    press(browser, QUOTED, "good")  # again, which takes it back
    press(browser, "r1", "bad")
    assert files.read(folder) == {} and "Judged queries (0)" in browser.get(JUDGE).text
    assert browser.get(JUDGE.replace("judge?", "judge/export?")).status_code == 404


@pytest.mark.parametrize(
    ("query", "form", "words"),
    [
        ("fruit", {"good": "0-1 tab\tid"}, "a tab or a line break"),
        ("fruit", {"good": "0-1"}, "must not be empty"),
        ("fruit", {}, "one of good, bad, none"),
        ("fruit", {"good": "0-1 a", "bad": "0-1 a"}, "one of good, bad, none"),
        (" ", {"good": "0-1 a"}, "needs the text"),
        ("x" * 10_001, {"good": "0-1 a"}, "10,001 characters"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_words(
    browser: Browser, query: str, form: dict[str, Any], words: str
) -> None:
    path = paths.address("/console/judge/mark", index="quickstart", namespace=NAMESPACE, q=query)
    answer = browser.submit(path, page=JUDGE.replace("/console/judge", "/console/login"), **form)
    assert (answer.status_code, words in unescape(answer.text)) == (400, True), answer.text


def test_searches_are_measured_by_what_was_judged(browser: Browser) -> None:
    measure = JUDGE.replace("judge?", "judge/measure?")
    refused = browser.submit(measure, page="/console/login", rerank="bm25")
    assert refused.status_code == 400 and "marked as good" in refused.text
    for name in ("r1", "r3"):
        path = paths.address(
            "/console/judge/mark", index="quickstart", namespace=NAMESPACE, q=f"number {name.removeprefix('r')}"
        )
        browser.submit(path, page="/console/login", good=f"0-1 {name}")
    assert browser.submit(measure, page="/console/login", rerank="bm25").headers["location"] == JUDGE
    page = browser.get(JUDGE)
    while page.headers.get("refresh"):  # as the browser does, which waits in between
        page = browser.get(JUDGE)
    rows = re.findall(r'<th scope="row">([\w+-]+)<br>.*?</tr>', page.text, re.DOTALL)
    assert rows == ["dense", "lexical", "hybrid", "hybrid+bm25"]
    lexical = page.text.split('<th scope="row">lexical<br>')[1].split("</tr>")[0]
    assert '<td class="number">1.000</td>' in lexical
    assert "Fewer than 20 queries say little" in page.text


def test_a_measurement_that_fails_says_why(browser: Browser) -> None:
    path = paths.address("/console/judge/mark", index="quickstart", namespace=NAMESPACE, q="number 2")
    browser.submit(path, page="/console/login", good="0-1 r2")
    browser.submit(JUDGE.replace("judge?", "judge/measure?"), page="/console/login", rerank="no-such-model")
    page = browser.get(JUDGE)
    while page.headers.get("refresh"):
        page = browser.get(JUDGE)
    assert "The measurement stopped" in page.text and "no-such-model" in page.text


def test_an_index_of_vectors_has_nothing_to_judge(plain_servers: Callable[[str], RunningServer]) -> None:
    with Browser(base_url=plain_servers("cosine").url, timeout=60) as browser:
        assert "embeds no text" in browser.get("/console/judge").text


def test_judgements_are_read_as_they_were_written(tmp_path: Path) -> None:
    text = "line\nbreak \u2028 and\ttab"
    queries = {files.query_id(text): JudgedQuery(files.query_id(text), text, {"a": 1, "b c'\"": 0})}
    files.write(tmp_path / "x", queries)
    assert files.read(tmp_path / "x") == queries
    assert files.read(tmp_path / "absent") == {}
    assert files.folder(tmp_path, "i", "%" * 200) is None
