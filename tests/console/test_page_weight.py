"""Pages stay under 150 KB, whatever records, names, filters and judgements are in them."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from pinyon.console import paths
from pinyon.console.page_weight import ADDRESS_BYTES, first_within, shortened

from tests.console.conftest import Browser
from tests.running import RunningServer

MOST = 150_000
"""Bytes of a page, with what it loads."""
QUOTES = '"' * 512
"""A name that takes five times its length as HTML, and three times in an address."""
RECORDS: list[dict[str, Any]] = [
    {
        "_id": f"{number:03}" + '"' * 509,
        "chunk_text": "x " * 2_000 + '"' * 4_000,
        **{f"{field}{'&' * 200}": '"' * 300 for field in range(25)},
    }
    for number in range(100)
]
LONG_FILTER = msgspec.json.encode({"$or": [{"chunk_text": {"$ne": '"' * 10}} for _ in range(32)]}).decode()


@pytest.fixture(scope="module")
def browser(hash_server: RunningServer) -> Iterator[Browser]:
    with Browser(base_url=hash_server.url, timeout=60) as browser:
        address = f"/records/namespaces/{'%22' * 512}/upsert"
        for first in range(0, 100, 25):
            body = b"\n".join(map(msgspec.json.encode, RECORDS[first : first + 25]))
            stored = browser.post(address, content=body)
            assert stored.status_code == 201, stored.text[:1_000]
        yield browser


def weight(browser: Browser, path: str, status: int = 200, **values: Any) -> int:
    """The bytes of a page, with the files that it loads."""
    answer = browser.get(path, params={"index": "quickstart", **values})
    assert answer.status_code == status, answer.text[:2_000]
    files = set(re.findall(r'(?:href|src)="(/console/static/[^"]+)"', answer.text))
    assert len(files) == 3
    return len(answer.content) + sum(len(browser.get(file).content) for file in files)


@pytest.mark.parametrize(
    "values",
    [
        {"top_k": 12, "rerank": "bm25"},
        {"top_k": 48, "show": "lexical"},
        {"top_k": 12, "rerank": "bm25", "filter": LONG_FILTER},
        {"top_k": 48, "show": "dense", "filter": LONG_FILTER, "fields": "chunk_text"},
    ],
    ids=["four columns", "one column", "a long filter", "a long filter and fields"],
)
def test_a_search_with_the_longest_ids_fields_and_filters(browser: Browser, values: dict[str, Any]) -> None:
    assert weight(browser, "/console", q="x", namespace=QUOTES, **values) < MOST


def test_a_search_for_a_long_text(browser: Browser) -> None:
    assert weight(browser, "/console", q='x"' * 1_000, namespace=QUOTES, top_k=12) < MOST


def test_hits_whose_ids_are_too_long_say_so(browser: Browser) -> None:
    page = browser.get("/console", params={"q": "x", "namespace": QUOTES, "top_k": 48, "show": "lexical"}).text
    assert page.count("The id is too long for links beside so many hits") == 48
    page = browser.get("/console", params={"q": "x", "namespace": QUOTES, "top_k": 2, "show": "lexical"}).text
    assert (page.count(">Like this one<"), "too long for links" in page) == (2, False)


@pytest.mark.parametrize("path", ["/console", "/console/browse", "/console/judge"])
def test_an_address_that_is_too_long_is_refused_in_words(browser: Browser, path: str) -> None:
    long = '{"year": {"$in": [' + "1," * 5_000 + "1]}}"
    answer = browser.get(path, params={"q": "x", "filter": long})
    assert (answer.status_code, len(answer.content) < MOST) == (400, True)
    assert f"the console takes at most {ADDRESS_BYTES:,}" in answer.text
    assert "Shorten them" in browser.get("/console/check-filter", params={"filter": long}).json()["problem"]


def test_no_page_has_more_hits_than_it_can_bear(browser: Browser) -> None:
    answer = browser.get("/console", params={"q": "x", "top_k": 100, "show": "dense"})
    assert (answer.status_code, "from 1 to 48" in answer.text) == (400, True)


@pytest.mark.parametrize("values", [{}, {"filter": LONG_FILTER, "facet": "chunk_text"}], ids=["plain", "a long filter"])
def test_a_table_of_records(browser: Browser, values: dict[str, str]) -> None:
    assert weight(browser, "/console/browse", namespace=QUOTES, **values) < MOST


def test_names_of_many_namespaces(browser: Browser) -> None:
    for number in range(60):
        body = msgspec.json.encode({"_id": "a", "chunk_text": "x"})
        browser.post(f"/records/namespaces/{number:02}{'%26' * 510}/upsert", content=body).raise_for_status()
    try:
        for path in ("/console", "/console/browse", "/console/judge"):
            assert weight(browser, path) < MOST, path
    finally:
        for number in range(60):
            browser.delete(f"/namespaces/{number:02}{'%26' * 510}").raise_for_status()


def test_a_record_with_the_largest_fields_is_shown_as_far_as_there_is_room(browser: Browser) -> None:
    record = {"_id": QUOTES, "chunk_text": "x", **{f"f{number}": "&" * 3_600 for number in range(10)}}
    browser.post("/records/namespaces/large/upsert", content=msgspec.json.encode(record)).raise_for_status()
    values = {"index": "quickstart", "namespace": "large", "id": QUOTES}
    assert weight(browser, "/console/record", **values) < MOST
    assert "more, for which this page has no room" in browser.get("/console/record", params=values).text
    assert weight(browser, "/console/record/edit", 400, **values) < MOST
    assert "change them over the API" in browser.get("/console/record/edit", params=values).text


def test_judgements_of_long_queries_and_ids(browser: Browser) -> None:
    queries = [f"{number:02}" + '"' * 1_500 for number in range(6)]
    for query in queries:
        address = paths.address("/console/judge/mark", index="quickstart", namespace="judged", q=query)
        for number in range(8):
            id = f"{number}" + '"' * 511
            assert browser.submit(address, page="/console/login", good=f"0-1 {id}").status_code == 303
    seen: list[str] = []
    first = "0"
    while first:
        values = {"namespace": "judged", "first": first}
        assert weight(browser, "/console/judge", **values) < MOST
        page = browser.get("/console/judge", params=values).text
        seen += re.findall(r'<a href="[^"]+">(\d\d)&#34;', page)
        assert len(re.findall(r"<li>and \d more</li>", page)) == len(re.findall("<strong>8 good", page)) > 0
        first = next(iter(re.findall(r"first=(\d+)[^>]*>Next page", page)), "")
    assert seen == [query[:2] for query in queries]


def test_what_has_no_room_is_cut() -> None:
    assert (shortened("plain", 5), shortened('"' * 100, 60)[-1]) == ("plain", "…")
    assert first_within(["a", "bb", "c"], 3, len) == ["a", "bb"]
    assert first_within([], 3, len) == []
