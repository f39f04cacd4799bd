"""A file is chosen, shown as it will be read, and imported as a job."""

import re
from collections.abc import Callable

import httpx
import pytest

from tests.console.conftest import Browser
from tests.running import RunningServer

Browse = Callable[[str], Browser]
CSV = 'number,content,year\n007,"<script>alert(1)</script>, a text",2020\n008,another text,2021\n'


def upload(browser: Browser, name: str, content: bytes, namespace: str) -> httpx.Response:
    token = re.findall(r'name="form_token" value="([^"]+)"', browser.get("/console/import?index=quickstart").text)[0]
    return browser.post(
        "/console/import?index=quickstart",
        data={"form_token": token, "namespace": namespace},
        files={"file": (name, content)},
    )


def stored(browser: Browser, namespace: str) -> list[str]:
    """The ids of the namespace once no import runs."""
    while re.search(r"<td>(waiting|running)</td>", browser.get("/console/import?index=quickstart").text):
        pass
    return [each["id"] for each in browser.get("/vectors/list", params={"namespace": namespace}).json()["vectors"]]


def test_a_table_is_shown_its_columns_are_mapped_and_it_is_imported(
    hash_server: RunningServer, browse: Browse, namespace: str
) -> None:
    browser = browse(hash_server.url)
    page = upload(browser, "a table.csv", CSV.encode(), namespace).headers["location"]
    text = browser.get(page).text
    assert "007" in text and "another text" in text and "<script>alert" not in text
    assert re.search(r'name="column:content" value="chunk_text"', text)
    fields = {"id_column": "number", "column:content": "chunk_text", "column:year": "written"}
    assert browser.submit(page, **fields).status_code == 303
    assert stored(browser, namespace) == ["007", "008"]
    found = browser.get("/vectors/fetch", params={"namespace": namespace, "ids": "008"}).json()["vectors"]["008"]
    assert found["metadata"] == {"chunk_text": "another text", "written": 2021}
    assert "upload://" in browser.get("/console/overview").text
    again = browser.submit(page, **fields)
    assert again.status_code == 400 and "already" in again.text
    done = browser.get("/bulk/imports").json()["data"][-1]["id"]
    stopped = browser.submit(f"/console/import/cancel?index=quickstart&id={done}", page="/console/import")
    assert (stopped.status_code, stopped.headers["location"]) == (303, "/console/import?index=quickstart")
    assert browser.get(f"/bulk/imports/{done}").json()["status"] == "Completed", "what has ended stays as it is"
    assert browser.submit("/console/import/cancel?index=quickstart&id=none", page="/console/import").status_code == 404


def test_a_table_with_more_columns_than_a_page_can_show_is_refused(hash_server: RunningServer, browse: Browse) -> None:
    browser = browse(hash_server.url)
    names = ["_id", *("&" * 90 + str(number) for number in range(150))]
    file = ",".join(names) + "\n" + ",".join("&" * 250 for _ in names) + "\n"
    refused = browser.get(upload(browser, "wide.csv", file.encode(), "").headers["location"])
    assert refused.status_code == 400 and "150 columns, for which a page has no room" in refused.text
    few = ",".join(names[:21]) + "\n" + f"{','.join('&' * 2_000 for _ in names[:21])}\n" * 50
    shown = browser.get(upload(browser, "narrow.csv", few.encode(), "").headers["location"])
    assert (shown.status_code, len(shown.content) < 130_000) == (200, True)


def test_a_document_becomes_chunks(hash_server: RunningServer, browse: Browse, namespace: str) -> None:
    pytest.importorskip("markdown_it", reason="the extra documents is not installed")
    browser = browse(hash_server.url)
    page = upload(browser, "notes.md", b"# One\n\nA text.\n\n# Two\n\nAnother one.\n", namespace).headers["location"]
    text = browser.get(page).text
    assert "becomes 2 records" in text and "Another one." in text
    assert browser.submit(page).status_code == 303
    assert stored(browser, namespace) == ["notes.md#0000", "notes.md#0001"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("x.exe", b"MZ", "Nothing here reads"), ("../../x", b"y", "Nothing here reads"), ("empty.csv", b"", "not empty")],
)
def test_what_nothing_reads_is_refused(
    hash_server: RunningServer, browse: Browse, namespace: str, name: str, content: bytes, words: str
) -> None:
    answer = upload(browse(hash_server.url), name, content, namespace)
    assert (answer.status_code, words in answer.text) == (400, True)


def test_a_wrong_row_or_mapping_imports_nothing(hash_server: RunningServer, browse: Browse, namespace: str) -> None:
    browser = browse(hash_server.url)
    page = upload(browser, "rows.jsonl", b'{"id": "a", "chunk_text": "one"}\n{"id": ""}\n', namespace).headers[
        "location"
    ]
    answer = browser.submit(page, **{"id_column": "id", "column:chunk_text": "chunk_text"})
    assert answer.status_code == 400 and "row 2" in answer.text
    assert browser.submit(page, id_column="none").status_code == 400
    for id in ("..", "0" * 32, "%2e%2e"):
        assert browser.get(f"/console/import/file?index=quickstart&id={id}").status_code == 404


def test_the_api_takes_no_address_of_an_upload(hash_server: RunningServer, browse: Browse, namespace: str) -> None:
    browser = browse(hash_server.url)
    id = upload(browser, "t.csv", CSV.encode(), namespace).headers["location"].rpartition("id=")[2]
    answer = browser.post("/bulk/imports", json={"uri": f"upload://{id}/t.csv"})
    assert answer.status_code == 400
