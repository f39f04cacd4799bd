"""The overview: what indexes, models and jobs there are, and how fast requests were."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pinyon.auth import keys
from pinyon.console.charts import chart, in_words
from pinyon.services.overview.history import Point

from tests.console.conftest import KEY, Browser
from tests.running import RunningServer

Browse = Callable[[str], Browser]


def test_a_line_goes_from_the_first_sample_to_the_last_and_has_gaps_where_nothing_is_known() -> None:
    points = [Point(60, [1.0, None]), Point(30, [None, None]), Point(0, [2.0, None])]
    made = chart("Title", ["a", "b"], points, "s")
    assert made.lines == [("a", "2 s", "0.0,30.0 300.0,0.0"), ("b", "-", "")]
    assert (made.top, made.minutes) == ("2 s", 1)
    assert chart("Nothing", ["a"], [], "B").lines == [("a", "-", "")]


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0123, "s", "12.3 ms"),
        (2.5, "s", "2.5 s"),
        (3 * 2**20, "B", "3.0 MiB"),
        (12, "B", "12 bytes"),
        (0.987, "share", "98.7 %"),
        (1.5, "a second", "1.5 a second"),
    ],
)
def test_numbers_are_shown_with_their_units(value: float, unit: str, words: str) -> None:
    assert in_words(value, unit) == words


def test_an_index_is_shown_with_its_model_its_disk_and_its_writes(
    hash_server: RunningServer, browse: Browse, client: httpx.Client, namespace: str
) -> None:
    rows = '{"_id": "a", "chunk_text": "one"}'
    client.post(f"/records/namespaces/{namespace}/upsert", content=rows).raise_for_status()
    text = browse(hash_server.url).get("/console/overview").text
    row = re.findall(r"<tr>\s*<th scope=\"row\"><a[^>]*>quickstart</a>.*?</tr>", text, re.S)[0]
    assert "pinyon-hash-embed" in row and "ready" in row and "iB" in row
    assert "stand-in" not in row
    assert "Memory" in text


def test_stand_ins_are_marked(control_server: RunningServer, browse: Browse) -> None:
    text = browse(control_server.url).get("/console/overview").text
    assert re.search(r"stand-in: [\w.-]+", text)


def test_a_backup_is_a_job(control_server: RunningServer, browse: Browse) -> None:
    browser = browse(control_server.url)
    backup = browser.post("/indexes/quickstart/backups", json={}).raise_for_status().json()["backup_id"]
    text = browser.get("/console/overview").text
    assert re.search(r'<th scope="row">Backup</th><td>quickstart</td><td>(running|done)</td>', text)
    while browser.get(f"/backups/{backup}").json()["status"] != "Ready":
        pass
    assert browser.delete(f"/backups/{backup}").status_code == 202


@pytest.fixture
def of_another_index(
    locked: RunningServer, folder_of: Callable[[RunningServer], Path], browse: Browse
) -> Iterator[Browser]:
    """A browser of somebody whose key is for an index that is not there."""
    browser = browse(locked.url)
    folder = folder_of(locked)
    browser.submit("/console/login", key=keys.create(folder, "other", keys.Limits(indexes=("other",))))
    yield browser
    keys.revoke(folder, "other")


def test_a_key_sees_its_own_indexes_and_no_numbers_of_all(
    locked: RunningServer, browse: Browse, of_another_index: Browser
) -> None:
    master = browse(locked.url)
    master.submit("/console/login", key=KEY)
    assert ">quickstart</a>" in (whole := master.get("/console/overview").text)
    assert "How it went" in whole
    mine = of_another_index.get("/console/overview")
    assert mine.status_code == 200
    assert ">quickstart</a>" not in mine.text
    assert "How it went" not in mine.text
