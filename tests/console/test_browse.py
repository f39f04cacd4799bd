"""Looking at what an index holds, and adding, changing and deleting a record by hand."""

import html
import re
from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest

from tests.console.conftest import Browser
from tests.running import RunningServer

Browse = Callable[[str], Browser]
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)> \u202eevil \U0001f9ea"


@pytest.fixture
def filled(client: httpx.Client, namespace: str) -> str:
    """A namespace with thirty records."""
    rows = [
        {"_id": f"r{n:02}", "chunk_text": f"text number {n}", "year": 2000 + n % 3, "tag": ["a", "b"]}
        for n in range(29)
    ]
    rows.append({"_id": "x\"'<b>&", "chunk_text": HOSTILE, HOSTILE: HOSTILE, "long": "ab " * 10_000})
    lines = "\n".join(httpx.Request("POST", "http://x", json=row).content.decode() for row in rows)
    client.post(f"/records/namespaces/{namespace}/upsert", content=lines).raise_for_status()
    return namespace


def address(page: str, namespace: str, **more: str) -> str:
    return f"/console/{page}?" + "&".join(
        f"{name}={quote(value, safe='')}"
        for name, value in {"index": "quickstart", "namespace": namespace, **more}.items()
    )


def links(text: str, words: str) -> list[str]:
    return [html.unescape(link) for link in re.findall(rf'href="([^"]*)"[^>]*>{words}<', text)]


def test_namespaces_are_listed_with_exact_counts_and_sizes(
    hash_server: RunningServer, browse: Browse, filled: str
) -> None:
    text = browse(hash_server.url).get("/console/browse").text
    size = re.search(rf'{filled}</a></th>\s*<td class="number">30</td>\s*<td class="number">(\d+\.\d) KiB</td>', text)
    assert size and 30 * 4 * 64 < 1_024 * float(size.group(1)) < 30 * 2_000, (
        "30 vectors of 64 numbers, and their fields"
    )


def test_records_are_shown_in_pages_by_id(hash_server: RunningServer, browse: Browse, filled: str) -> None:
    browser = browse(hash_server.url)
    first = browser.get(address("browse", filled)).text
    assert "30 records" in first
    assert links(first, "r00") and not links(first, "r25")
    (following,) = links(first, "Next page")
    second = browser.get(following).text
    assert links(second, "r25") and not links(second, "r00") and not links(second, "Next page")


def test_a_filter_and_chosen_columns_are_in_the_address(
    hash_server: RunningServer, browse: Browse, filled: str
) -> None:
    text = browse(hash_server.url).get(address("browse", filled, filter='{"year": 2001}', column="year")).text
    assert links(text, "r01") and not links(text, "r00")
    assert "text number" not in text


@pytest.mark.parametrize("wrong", ["{", "[]", '{"year": {"$near": 1}}', "[" * 1_900])
def test_what_is_wrong_with_a_filter_is_said_above_the_table(
    hash_server: RunningServer, browse: Browse, filled: str, wrong: str
) -> None:
    answer = browse(hash_server.url).get(address("browse", filled, filter=wrong))
    assert answer.status_code == 400
    assert 'aria-invalid="true"' in answer.text and html.escape(wrong, quote=False)[:1] in answer.text


def test_a_counted_value_leads_to_its_records(hash_server: RunningServer, browse: Browse, filled: str) -> None:
    browser = browse(hash_server.url)
    text = browser.get(address("browse", filled, facet="year", filter='{"year": {"$gte": 2001}}')).text
    assert "2 values in 19 records" in text
    (of_2001,) = links(text, "2001")
    assert "2 values" not in (narrowed := browser.get(of_2001).text)
    assert "1 value in 10 records" in narrowed


def test_a_record_shows_its_vector_and_what_the_model_has_read(
    hash_server: RunningServer, browse: Browse, filled: str
) -> None:
    browser = browse(hash_server.url)
    text = browser.get(address("record", filled, id="r01")).text
    assert re.search(r"Norm</th><td>1</td>", text)
    read, every = re.findall(r"(\d+) of (\d+) tokens", text)[0]
    assert read == every and int(read) > 0
    assert browser.get(address("record", filled, id="nope")).status_code == 404


def test_hostile_content_is_text_everywhere(hash_server: RunningServer, browse: Browse, filled: str) -> None:
    browser = browse(hash_server.url)
    hostile_id = "x\"'<b>&"
    pages = [
        address("browse", filled, filter='{"long": {"$exists": true}}', facet=HOSTILE),
        *(address(page, filled, id=hostile_id) for page in ("record", "record/edit", "record/delete")),
        address("record/add", HOSTILE),
        address("browse", filled, filter=HOSTILE, column=HOSTILE, facet=HOSTILE),
    ]
    for each in pages:
        text = browser.get(each).text
        assert "<script>alert" not in text and "<img src=x" not in text and "<b>" not in text
        assert len(text.encode()) < 150_000
    (link,) = links(
        browser.get(pages[0]).text,
        re.escape(html.escape(hostile_id, quote=False).replace('"', "&#34;").replace("'", "&#39;")),
    )
    assert "Record x" in browser.get(link).text


def test_a_record_is_added_by_text_or_by_vector_and_never_over_another(
    hash_server: RunningServer, browse: Browse, namespace: str
) -> None:
    browser = browse(hash_server.url)
    page = address("record/add", namespace)
    saved = browser.submit(page, namespace=namespace, id="one", text="a text", fields='{"year": 2020}')
    assert saved.status_code == 303
    shown = browser.get(saved.headers["location"]).text
    assert "The record was added." in shown and "a text" in shown and "2020" in shown
    again = browser.submit(page, namespace=namespace, id="one", text="another text")
    assert again.status_code == 400
    assert "There is a record" in again.text and "another text" in again.text
    for wrong in ({"fields": "[1]"}, {"fields": "{"}, {"vector": "[1, 2]"}, {"vector": "zero"}, {"text": " "}):
        answer = browser.submit(page, namespace=namespace, id="two", **wrong)
        assert (answer.status_code, 'role="alert"' in answer.text) == (400, True), wrong


def test_a_record_is_edited_and_a_change_of_somebody_else_is_kept(
    hash_server: RunningServer, browse: Browse, client: httpx.Client, filled: str
) -> None:
    browser = browse(hash_server.url)
    page = address("record/edit", filled, id="r00")
    before = client.get("/vectors/fetch", params={"namespace": filled, "ids": "r00"}).json()["vectors"]["r00"]

    def save(fields: str, seen: str) -> httpx.Response:
        return browser.submit(page, fields=fields, seen=seen)

    seen = re.findall(r'name="seen" value="([^"]+)"', browser.get(page).text)[0]
    assert save('{"chunk_text": "text number 0", "year": 1999, "tag": ["a", "b"]}', seen).status_code == 303
    after = client.get("/vectors/fetch", params={"namespace": filled, "ids": "r00"}).json()["vectors"]["r00"]
    assert after["metadata"]["year"] == 1999
    assert after["values"] == before["values"]
    late = save('{"chunk_text": "lost"}', seen)
    assert late.status_code == 400 and "Somebody else has changed" in late.text and "lost" in late.text
    seen = re.findall(r'name="seen" value="([^"]+)"', browser.get(page).text)[0]
    assert save('{"chunk_text": "a new text"}', seen).status_code == 303
    after = client.get("/vectors/fetch", params={"namespace": filled, "ids": "r00"}).json()["vectors"]["r00"]
    assert after["metadata"] == {"chunk_text": "a new text"}
    assert after["values"] != before["values"]


def test_a_record_is_deleted_after_a_question(
    hash_server: RunningServer, browse: Browse, client: httpx.Client, filled: str
) -> None:
    browser = browse(hash_server.url)
    page = address("record/delete", filled, id="r00")
    assert "Delete this record?" in browser.get(page).text
    assert client.get("/vectors/fetch", params={"namespace": filled, "ids": "r00"}).json()["vectors"]
    assert browser.submit(page).status_code == 303
    assert not client.get("/vectors/fetch", params={"namespace": filled, "ids": "r00"}).json()["vectors"]


def test_a_field_is_removed_from_a_record_of_vectors_without_changing_its_vector(
    plain_servers: Callable[[str], RunningServer], browse: Browse, namespace: str
) -> None:
    server = plain_servers("cosine")
    browser = browse(server.url)
    record = {"id": "r1", "values": [3, 4], "metadata": {"a": 1, "b": 2}}
    browser.post("/vectors/upsert", json={"vectors": [record], "namespace": namespace}).raise_for_status()
    page = f"/console/record/edit?index=vectors&namespace={namespace}&id=r1"
    seen = re.findall(r'name="seen" value="([^"]+)"', browser.get(page).text)[0]
    assert browser.submit(page, fields='{"a": 5}', seen=seen).status_code == 303
    after = browser.get("/vectors/fetch", params={"namespace": namespace, "ids": "r1"}).json()["vectors"]["r1"]
    assert (after["values"], after["metadata"]) == ([3, 4], {"a": 5})
    assert "Norm</th><td>5</td>" in browser.get(f"/console/record?index=vectors&namespace={namespace}&id=r1").text
