"""kill -9 of one of two Pinyon processes on a database, again and again: the other one answers, and does its jobs."""

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.durability.test_kills import Answers
from tests.durability.workload import Client, run, stored
from tests.postgres.shared_server import schema_of, shared
from tests.running import GIVEN_UP_S, RunningServer, config
from tests.services.test_reembeddings import HASH_MODELS, models_with_another
from tests.storage.engines import ENGINES

pytestmark = pytest.mark.anyio
KILLS = int(os.environ.get("KILLS", "10"))
FILES, ROWS = 15, 20
REEMBED, IMPORTS = "/indexes/docs/reembed", "/bulk/imports"


class Process:
    """One of the two processes, with two clients of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.settings, self.models = folder / "pinyon.toml", folder / "models"
        self.clients = [Client(f"{name}{n}", random.Random(f"{name}{n}"), indexes=False) for n in range(2)]
        self.start()

    def start(self) -> None:
        told = ("--index-host", "{index}.localhost", "--models-dir", str(self.models))
        self.server = RunningServer(self.settings, self.settings.parent / "absent", *told)

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.server.url, headers={"Host": "docs.localhost"}, timeout=GIVEN_UP_S)


class Enough(Exception):
    """A client has done enough."""


class StoppedAnswers(Answers):
    """Answers that stop the clients, as soon as somebody wants that, each after an answer."""

    is_enough = False

    def add_or_stop(self) -> None:
        """Count an answer. Raises Enough."""
        self.add()
        if self.is_enough:
            raise Enough


def prepare(folder: Path) -> None:
    """Settings, models, and files to import."""
    models_with_another(folder / "models")
    files = folder / "import" / "imported"
    files.mkdir(parents=True)
    for number in range(FILES):
        rows = ({"_id": f"f{number}-{row}", "chunk_text": f"text {row} of file {number}"} for row in range(ROWS))
        (files / f"{number:02}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    storage = f'[storage]\nengine = "postgres"\ndsn = "{shared().dsn}"\nschema = "{schema_of(folder)}"\n'
    (folder / "pinyon.toml").write_text(f"{storage}[import]\nallow = [{json.dumps(str(folder / 'import'))}]\n")


async def get(http: httpx.AsyncClient, path: str) -> Any:
    """An answer that must be good: nobody has killed this process."""
    return (await http.get(path)).raise_for_status().json()


async def begin_jobs(http: httpx.AsyncClient, folder: Path) -> tuple[str, str]:
    """Begin an import and a re-embedding. Returns the id of the import, and the model."""
    model = (await get(http, "/indexes/docs"))["embed"]["model"]
    other = next(each for each in HASH_MODELS if each != model)
    started = await http.post(IMPORTS, json={"uri": str(folder / "import")})
    (await http.post(REEMBED, json={"model": other})).raise_for_status()
    return started.raise_for_status().json()["id"], other


async def jobs_done(http: httpx.AsyncClient, id: str, model: str) -> None:
    """Wait until the jobs that a killed process had begun are done."""
    while (job := await get(http, f"{IMPORTS}/{id}"))["status"] in ("Pending", "InProgress"):
        await asyncio.sleep(0.1)
    assert (job["status"], job["recordsImported"]) == ("Completed", FILES * ROWS), job
    while (await get(http, REEMBED))["running"]:
        await asyncio.sleep(0.1)
    assert (await get(http, "/indexes/docs"))["embed"]["model"] == model


@pytest.mark.slow
async def test_when_a_process_is_killed_the_other_loses_nothing_and_goes_on_with_its_jobs(tmp_path: Path) -> None:
    dice = random.Random(KILLS)
    prepare(tmp_path)
    processes = [Process(tmp_path, name) for name in "ab"]
    embed = {"model": HASH_MODELS[0], "field_map": {"text": "chunk_text"}}
    async with processes[0].http() as http:
        body = {"name": "docs", "cloud": "aws", "region": "us-east-1", "embed": embed}
        (await http.post("/indexes/create-for-model", json=body)).raise_for_status()
    for _ in range(KILLS):
        dice.shuffle(processes)
        victim, survivor = processes
        answers = StoppedAnswers()
        async with victim.http() as doomed, survivor.http() as http:
            begun = await begin_jobs(doomed, tmp_path)
            running = [asyncio.ensure_future(run(client, doomed, "", answers.add)) for client in victim.clients]
            beside = [asyncio.ensure_future(run(client, http, "", answers.add_or_stop)) for client in survivor.clients]
            await answers.more(dice.randint(1, 60))
            victim.server.kill()
            await asyncio.gather(*running)
            before = [client.answered for client in survivor.clients]
            for client in victim.clients:
                client.compare(await stored(http, client))
            await jobs_done(http, *begun)
            assert not any(task.done() for task in beside), "the other answers all the time"
            assert [client.answered for client in survivor.clients] > before
            answers.is_enough = True
            ends = await asyncio.gather(*beside, return_exceptions=True)
            assert all(isinstance(end, Enough) for end in ends), ends
            for client in survivor.clients:
                client.compare(await stored(http, client))
        victim.start()
    for process in processes:
        assert process.server.stop() == 0, process.server.text
        assert "Traceback" not in process.server.text
    assert ENGINES["postgres"].problems(tmp_path, "docs") == []
    print(f"{KILLS} kills, {sum(client.answered for each in processes for client in each.clients)} operations answered")


@pytest.mark.slow
async def test_a_backup_whose_process_is_killed_is_in_progress_until_the_other_finds_that_it_failed(
    tmp_path: Path,
) -> None:
    storage = f'[storage]\nengine = "postgres"\ndsn = "{shared().dsn}"\nschema = "{schema_of(tmp_path)}"\n'
    settings = config(tmp_path, more=storage)
    told = ("--index-host", "{index}.localhost")
    survivor = RunningServer(settings, tmp_path / "absent", *told)
    killed = ("tests.durability.faulty_server", "kill", "copied", "1")
    doomed = RunningServer(settings, tmp_path / "absent", *told, program=killed)
    with survivor.client() as http, doomed.client() as dies:
        with pytest.raises(httpx.TransportError):
            dies.post("/indexes/quickstart/backups", json={})
        assert doomed.ended() == -9
        (backup,) = http.get("/backups").raise_for_status().json()["data"]
        assert backup["status"] == "Initializing"
        while backup["status"] == "Initializing":  # until the lease expires
            backup = http.get(f"/backups/{backup['backup_id']}").raise_for_status().json()
        assert (backup["status"], backup["error"]) == ("Failed", "the server was stopped meanwhile")
        http.delete(f"/backups/{backup['backup_id']}").raise_for_status()
        assert http.get("/backups").json() == {"data": []}
    assert survivor.stop() == 0, survivor.text
