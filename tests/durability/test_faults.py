"""What goes wrong around Pinyon ends in a clear answer, and in data that is whole: disks, files, memory, models."""

import asyncio
import os
import random
import shutil
from pathlib import Path

import apsw
import httpx
import pytest
from pinyon import failpoints
from pinyon.auth import keys
from pinyon.errors import FailedPrecondition
from pinyon.storage.sqlite.upkeep.folder_check import check_folder, repair

from tests.durability.disk import Disk
from tests.durability.faulty_server import ERRORS, at
from tests.durability.test_power import serving
from tests.durability.workload import Client, run, stored
from tests.running import RunningServer, config
from tests.storage.consistency import problems

pytestmark = pytest.mark.anyio
FAULTS = 60


async def some_time(clients: list[Client], http: httpx.AsyncClient, operations: int) -> None:
    """So many operations of each client; run() fails for any answer but success and 503."""
    await asyncio.gather(*(run(client, http, operations=operations) for client in clients))


async def compare(clients: list[Client], http: httpx.AsyncClient) -> None:
    for client in clients:
        client.compare(await stored(http, client))


# A disk written in Python is heard of also where SQLite, rightly, takes no notice of it: when a file is closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("place", ["write", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sync", "open"))])
async def test_a_disk_that_fails_now_and_then_or_for_long_costs_answers_and_no_data(tmp_path: Path, place: str) -> None:
    dice, share, failed = random.Random(place), 0.0, 0

    def on(what: str, name: str) -> None:
        nonlocal failed
        if what == place and dice.random() < share and not name.endswith("-shm"):
            failed += 1
            raise ERRORS["open-file" if place == "open" else place]()

    clients = [Client(name, random.Random(f"{place} {name}")) for name in "xyz"]
    with Disk(on, keep=False):
        async with serving(tmp_path, tmp_path / "data") as http:
            for _ in range(FAULTS // 4):
                await some_time(clients, http, 3)
                share = dice.choice([0.03, 0.2, 1.0])
                await some_time(clients, http, 5)
                share = 0.0
                await compare(clients, http)
    assert failed > 5 or place == "open", "nothing failed"
    assert problems(tmp_path / "data" / "indexes" / "quickstart.sqlite") == []
    async with serving(tmp_path, tmp_path / "data") as http:
        await compare(clients, http)


UPSERT, SEARCH = "/records/namespaces/a/upsert", "/records/namespaces/a/search"
QUERY = {"query": {"inputs": {"text": "apple"}, "top_k": 1000}}


def rows(count: int, first: int = 0) -> list[dict[str, object]]:
    return [{"_id": f"r{n}", "chunk_text": f"apple number {n}", "n": n} for n in range(first, first + count)]


@pytest.mark.parametrize(("kind", "status"), [("embed", 500), ("memory", 503)])
async def test_a_model_that_raises_or_has_no_memory_costs_one_answer(tmp_path: Path, kind: str, status: int) -> None:
    async with serving(tmp_path, tmp_path / "data") as http:
        assert (await http.post(UPSERT, json=rows(3))).status_code == 201
        failpoints.arm("embed", at("2-", kind, "fail"))
        try:
            # 40 texts are two calls of the model: the second fails, and nothing is stored of the first either.
            answer = await http.post(UPSERT, json=rows(40, first=100))
        finally:
            failpoints.disarm()
        assert answer.status_code == status
        assert "failed on purpose" not in answer.text, "details are for the log"
        assert "Traceback" not in answer.text
        found = await http.post(SEARCH, json=QUERY)
        assert len(found.json()["result"]["hits"]) == 3
        assert (await http.post(UPSERT, json=rows(1, first=200))).status_code == 201


async def test_an_index_whose_file_is_damaged_does_not_keep_the_others_away(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(tmp_path, data) as http:
        for name in ("fine", "broken"):
            spec = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
            body = {"name": name, "dimension": 2, "spec": spec}
            assert (await http.post("/indexes", json=body)).status_code == 201
        assert (await http.post(UPSERT, json=rows(3))).status_code == 201
    damage(data / "indexes" / "broken.sqlite", 0, 4096)
    async with serving(tmp_path, data) as http:
        ready = await http.get("/ready")
        assert ready.status_code == 200
        assert "broken.sqlite is damaged; restore it" in ready.json()["unusable"]["broken"]
        assert [index["name"] for index in (await http.get("/indexes")).json()["indexes"]] == ["fine", "quickstart"]
        told = await http.get("/indexes/broken")
        assert (told.status_code, told.json()["error"]["code"]) == (500, "DATA_LOSS")
        body = {"name": "broken", "dimension": 2, "spec": {"serverless": {"cloud": "aws", "region": "us-east-1"}}}
        assert (await http.post("/indexes", json=body)).status_code == 409
        assert (await http.delete("/indexes/broken")).status_code == 202
        (aside,) = (data / "set-aside").glob("*-broken-deleted-while-unusable")
        assert (aside / "broken.sqlite").exists(), "it may be mended, and nobody knows whether it was protected"
        assert (await http.post("/indexes", json=body)).status_code == 201
        assert "unusable" not in (await http.get("/ready")).json()
        assert len((await http.post(SEARCH, json=QUERY)).json()["result"]["hits"]) == 3
    damage(data / "indexes" / "quickstart.sqlite", 0, 4096)
    async with serving(tmp_path, data) as http:  # the index of the settings
        answer = await http.post(UPSERT, json=rows(1))
        assert (answer.status_code, answer.json()["code"]) == (500, 15)
        assert (await http.get("/indexes/fine")).status_code == 200
    keys.create(data, "app")
    async with serving(tmp_path, data) as http:
        ready = await http.get("/ready")
        assert ready.json() == {
            "status": "ready",
            "unusable_indexes": 1,
            "unusable": {},
            "set_aside_folders": 1,
            "set_aside": [],
        }, "no names without a key"


def damage(file: Path, start: int, length: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(bytes([0xA5]) * length)


async def test_a_file_found_to_be_damaged_is_not_written_any_more(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(tmp_path, data) as http:
        for first in range(0, 900, 90):
            assert (await http.post(UPSERT, json=rows(90, first))).status_code == 201
    file = data / "indexes" / "quickstart.sqlite"
    page = apsw.Connection(str(file)).execute("SELECT rootpage FROM sqlite_schema WHERE name = 'postings'").get
    damage(file, (page - 1) * 16_384, 16_384)
    before = file.read_bytes()
    async with serving(tmp_path, data) as http:
        filtered = {"query": {**QUERY["query"], "filter": {"n": {"$lt": 500}}}}
        answer = await http.post(SEARCH, json=filtered)
        assert (answer.status_code, answer.json()["code"]) == (500, 15), answer.text
        assert "restore it from a backup" in answer.json()["message"]
        answer = await http.post(UPSERT, json=rows(5, 2000))
        assert (answer.status_code, answer.json()["code"]) == (500, 15)
        assert (await http.get("/health")).status_code == 200
    assert file.read_bytes() == before


async def test_a_log_that_was_cut_off_is_said_so_and_what_is_left_can_be_accepted(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    async with serving(tmp_path, data) as http:
        for n in range(30):
            assert (await http.post(UPSERT, json=rows(2, 2 * n))).status_code == 201
        shutil.copytree(data, copy, ignore=shutil.ignore_patterns("*.lock"))
    log = copy / "indexes" / "quickstart.sqlite-wal"
    os.truncate(log, log.stat().st_size * 2 // 3)
    left = log.read_bytes()
    async with serving(tmp_path, copy) as http:
        refused = await http.post(SEARCH, json=QUERY)
        assert (refused.status_code, refused.json()["code"]) == (500, 15), "DATA_LOSS"
        assert "write 30 was acknowledged" in refused.json()["message"]
    assert log.read_bytes() == left, "nothing was changed"
    (report,) = check_folder(copy, ["quickstart"])
    assert [(problem.kind, "30 was acknowledged" in problem.words) for problem in report.problems] == [("stored", True)]
    with pytest.raises(FailedPrecondition, match="--accept takes what there is"):
        repair(copy, report, accept=False)
    assert "made again with" in repair(copy, report, accept=True)
    async with serving(tmp_path, copy) as http:
        hits = (await http.post(SEARCH, json=QUERY)).json()["result"]["hits"]
    assert 0 < len(hits) < 60
    assert {hit["_id"] for hit in hits} == {f"r{n}" for n in range(len(hits))}, "the first ones, and none in part"
    assert problems(copy / "indexes" / "quickstart.sqlite") == []
    assert list((copy / "set-aside").glob("*-quickstart-before-repair/quickstart.sqlite-wal"))


@pytest.mark.parametrize(("place", "words"), [("write", "The disk is full"), ("open-file", "cannot be opened")])
def test_a_disk_that_fails_at_the_start_is_one_sentence(tmp_path: Path, place: str, words: str) -> None:
    program = ("tests.durability.faulty_server", "fail", place, "1-")
    server = RunningServer(config(tmp_path), tmp_path / "data", wait=False, program=program)
    assert server.ended() == 1
    assert "Traceback" not in server.text
    assert words in server.text
