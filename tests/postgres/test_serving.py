"""`pinyon serve` on a database: two processes answer as one."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pinyon.cli.main import main

from tests.console.conftest import Browser
from tests.postgres.shared_server import schema_of, shared
from tests.running import GIVEN_UP_S, RunningServer, config

SECRET = "opensesame"


def settings_on_database(folder: Path) -> Path:
    """A settings file with a schema of its own in the shared database, and a password, which nothing may show."""
    dsn = f"{shared().dsn} password={SECRET}"
    return config(folder, more=f'[storage]\nengine = "postgres"\ndsn = "{dsn}"\nschema = "{schema_of(folder)}"\n')


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pinyon(pair: "Pair", capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command on the database of the pair. Returns its exit status, and what it wrote to stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main([*arguments, "--config", str(pair.settings)])
        out, err = capsys.readouterr()
        assert SECRET not in out + err
        return status, out, err

    return run


class Pair:
    """Two processes on one database, and their settings file. Neither has a data folder."""

    def __init__(self, folder: Path) -> None:
        self.settings = settings_on_database(folder)
        self.folders = [folder / "one", folder / "other"]
        self.servers = [RunningServer(self.settings, data, wait=False) for data in self.folders]
        for server in self.servers:
            server.wait_for("is ready on")
        self.one, self.other = (server.client() for server in self.servers)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    for server, client in zip(pair.servers, (pair.one, pair.other), strict=True):
        client.close()
        assert server.stop() == 0, server.text
        assert SECRET not in server.text
        assert "Traceback" not in server.text


def test_both_start_at_once_on_an_empty_database_and_say_where_the_data_are(pair: Pair) -> None:
    for server in pair.servers:
        assert f"data     PostgreSQL on {shared().folder}, database postgres" in server.text


def test_what_one_stores_the_other_finds(pair: Pair) -> None:
    row = {"_id": "a", "chunk_text": "apples are rich in fibre"}
    assert pair.one.post("/records/namespaces/n/upsert", json=row).status_code == 201
    body = {"query": {"inputs": {"text": "apples"}, "top_k": 3}}
    found = pair.other.post("/records/namespaces/n/search", json=body)
    assert [hit["_id"] for hit in found.json()["result"]["hits"]] == ["a"]


def test_the_metrics_and_the_pages_need_no_data_folder(pair: Pair) -> None:
    assert "pinyon_ready 1.0" in pair.one.get("/metrics").text
    for page in ("", "/overview", "/browse", "/judge", "/keys", "/import"):
        assert pair.one.get(f"/console{page}", params={"index": "quickstart"}).status_code == 200, page
    assert not pair.folders[0].exists()


def test_a_file_is_uploaded_to_one_process_and_imported_by_the_other(pair: Pair) -> None:
    path = "/console/import"
    with Browser(base_url=pair.servers[0].url, timeout=60, follow_redirects=False) as browser:
        token = re.search(r'name="form_token" value="([^"]+)"', browser.get(path, params={"index": "quickstart"}).text)
        assert token is not None
        form = {"form_token": token[1], "index": "quickstart", "namespace": "uploaded"}
        sent = browser.post(
            path,
            params={"index": "quickstart"},
            data=form,
            files={"file": ("rows.csv", b"id,chunk_text\na,apples\nb,pears\n")},
        )
        assert sent.status_code == 303, sent.text
        there = f"{pair.servers[1].url}{sent.headers['location']}"
        preview = browser.get(there)
        assert "apples" in preview.text
        columns = {"id_column": "id", "column:chunk_text": "chunk_text"}
        begun = browser.post(there, data={"form_token": token[1], **columns}, headers={"Origin": pair.servers[1].url})
        assert begun.status_code == 303, begun.text
    deadline = time.monotonic() + GIVEN_UP_S
    while pair.one.get("/vectors/list", params={"namespace": "uploaded"}).json()["vectors"] != [
        {"id": "a"},
        {"id": "b"},
    ]:
        assert time.monotonic() < deadline


def test_commands_that_are_for_a_folder_are_refused_with_what_to_do_instead(pinyon: Command) -> None:
    for command in (("check",), ("backup", "out"), ("restore", "out")):
        status, _, said = pinyon(*command)
        assert status == 1
        assert said.startswith("pinyon: PostgreSQL's own tools back up, check and restore a database (pg_dump")


def test_a_key_is_known_to_every_process_and_refused_by_every_process_once_it_is_revoked(
    pair: Pair, pinyon: Command
) -> None:
    """The last test with these servers: from now on every request needs a key."""
    _, out, said = pinyon("keys", "create", "app")
    assert said.startswith("A key for the server on PostgreSQL on")
    key = out.strip()
    wait_until(pair.one, 401)
    wait_until(pair.other, 401)
    assert status(pair.one, key) == status(pair.other, key) == 200
    with Browser(base_url=pair.servers[0].url, timeout=60) as browser:
        assert browser.submit("/console/login", key=key).status_code == 303
        there = browser.get(f"{pair.servers[1].url}/console/overview")
        assert there.status_code == 200, "who is logged in at one process is logged in at the other"
        made = browser.submit("/console/keys", name="of the console", scope="read")
        assert made.status_code == 200, made.text
    _, out, _ = pinyon("keys", "list")
    assert [line.partition("  (")[0] for line in out.splitlines()] == ["app", "of the console"]
    pinyon("keys", "revoke", "app")
    wait_until(pair.one, 401, key)
    wait_until(pair.other, 401, key)


def status(client: httpx.Client, key: str | None = None) -> int:
    return client.get("/indexes", headers={} if key is None else {"Api-Key": key}).status_code


def wait_until(client: httpx.Client, wanted: int, key: str | None = None) -> None:
    """Ask until the answer is this one: a change is told to other processes, which takes a moment."""
    deadline = time.monotonic() + GIVEN_UP_S
    while status(client, key) != wanted:
        assert time.monotonic() < deadline
