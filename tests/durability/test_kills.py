"""kill -9 at any moment: every write that was answered is stored; every other one is stored as a whole or not at all.

The moment is drawn at random. It is some time after the clients began, or the N-th write, sync, commit, removal or
model call since the server began to start.
"""

import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.folder.backups.folder_backup import backup

from tests.durability.workload import Client, run, stored
from tests.golden.make import seen
from tests.golden.test_golden import rounded
from tests.running import MODELS, PROJECT, RunningServer, config, environment, free_ports
from tests.storage.consistency import problems

pytestmark = pytest.mark.anyio
KILLS = int(os.environ.get("KILLS", "200"))
PLACES = ("write", "sync", "commit", "committed", "remove", "embed")
WIDE = """
[pinyon-hash-wide]
kind = "embed"
description = "Another one, to embed anew with"
provider = "Pinyon"
licence = "Apache-2.0"
source = "builtin"
dimension = 96
max_tokens = 256
pooling = "mean"
truncate = "END"
metrics = ["cosine", "dotproduct", "euclidean"]
"""


class Installation:
    """A data folder with one text index, and the server on it."""

    def __init__(self, folder: Path) -> None:
        self.data, self.config, self.ports = folder / "data", folder / "pinyon.toml", free_ports(30)
        self.config.write_text("")
        self.models = folder / "models"
        shutil.copytree(MODELS, self.models)
        with (self.models / "manifest.toml").open("a") as manifest:
            manifest.write(WIDE)
        self.server = self.start()
        with self.server.client() as http:
            embed: dict[str, Any] = {"model": "pinyon-hash-embed", "field_map": {"text": "chunk_text"}}
            embed["write_parameters"] = {"token_vectors": "stored"}
            body = {"name": "docs", "cloud": "aws", "region": "us-east-1", "embed": embed}
            host = http.post("/indexes/create-for-model", json=body).raise_for_status().json()["host"]
            self.index = host if "://" in host else f"http://{host}"

    def start(self, *fault: str) -> RunningServer:
        """A server; fault: arguments of faulty_server."""
        program = ("tests.durability.faulty_server", *fault) if fault else ("pinyon",)
        told = ("--index-ports", self.ports, "--models-dir", str(self.models))
        return RunningServer(self.config, self.data, *told, program=program)

    def start_to_be_killed(self, dice: random.Random) -> RunningServer | None:
        """A server that kills itself at a random place. Returns None if it did so before it was ready."""
        try:
            return self.start("kill", dice.choice(PLACES), str(int(dice.expovariate(0.05)) + 1))
        except AssertionError:
            return None


class Answers:
    """Counts the answers that clients get, so that other tasks can wait for more of them."""

    def __init__(self) -> None:
        self._count, self._next, self._ended = 0, asyncio.Event(), False

    def add(self) -> None:
        """Count an answer."""
        self._count += 1
        self._next.set()
        self._next = asyncio.Event()

    def end(self) -> None:
        """No more answers will come: let every task that waits go on."""
        self._ended = True
        self._next.set()

    async def more(self, number: int) -> None:
        """Wait for so many further answers, or for the end."""
        last = self._count + number
        while self._count < last and not self._ended:
            await self._next.wait()


async def embed_anew(http: httpx.AsyncClient, answers: Answers) -> None:
    """Re-embed the index with one model and the other in turn, until the server is gone."""
    models = ["pinyon-hash-wide", "pinyon-hash-embed"]
    try:
        while True:
            state = (await http.get("/indexes/docs/reembed")).raise_for_status().json()
            if not state["running"]:
                now = (await http.get("/indexes/docs")).raise_for_status().json()["embed"]["model"]
                other = next(model for model in models if model != now)
                answer = await http.post("/indexes/docs/reembed", json={"model": other})
                assert answer.status_code in (202, 400), answer.text  # 400: a record without text, for one
            await answers.more(1)
    except httpx.TransportError:
        pass


async def compact(http: httpx.AsyncClient, answers: Answers) -> None:
    """Compact the index after every few answers to clients, until the server is gone."""
    try:
        while True:
            await answers.more(10)
            (await http.post("/indexes/docs/compact")).raise_for_status()
    except httpx.TransportError:
        pass


def without_token_vectors(file: Path) -> list[str]:
    """The records whose token vectors are not stored. Pinyon has embedded all of them."""
    connection = connect(file, 0, "read only")
    sql = "SELECT id FROM records WHERE record NOT IN (SELECT record FROM token_vectors)"
    ids = [f"{id} has no token vectors" for (id,) in connection.execute(sql)]
    connection.close()
    return ids


async def check(at: Installation, clients: list[Client]) -> None:
    async with httpx.AsyncClient(base_url=at.server.url, timeout=120) as http:
        for client in clients:
            client.compare(await stored(http, client, at.index))


@pytest.mark.slow
async def test_nothing_that_was_answered_is_lost_and_nothing_is_half_there_after_kill_9(tmp_path: Path) -> None:
    dice = random.Random(KILLS)
    clients = [Client(name, random.Random(name)) for name in "wxyz"]
    at = Installation(tmp_path)
    killed: Counter[str] = Counter()
    longest = 0.6
    while killed.total() < KILLS:
        answers = Answers()
        async with httpx.AsyncClient(base_url=at.server.url, timeout=120) as http:
            running = [asyncio.ensure_future(run(client, http, at.index, answers.add)) for client in clients]
            running += [asyncio.ensure_future(embed_anew(http, answers)), asyncio.ensure_future(compact(http, answers))]
            died, _ = await asyncio.wait(running, timeout=dice.uniform(0, longest), return_when=asyncio.FIRST_COMPLETED)
            killed["at a place" if died else "at a time"] += 1
            at.server.kill()
            answers.end()
            await asyncio.gather(*running)
        for file in (at.data / "indexes").glob("*.sqlite"):
            # Others may be half made or half removed, which the start undoes or finishes.
            assert file.stem != "docs" or problems(file) + without_token_vectors(file) == []
        if dice.random() < 0.5:
            armed, longest = at.start_to_be_killed(dice), 5.0
            if armed is not None:
                at.server = armed
                try:
                    await check(at, clients)
                    continue
                except httpx.HTTPError:  # embedding anew goes on meanwhile
                    assert at.server.ended() == -9
            killed["at a place, soon after the start" if armed else "at a place, while it started"] += 1
        at.server, longest = at.start(), 0.6
        await check(at, clients)
    assert at.server.stop() == 0
    answered = sum(client.answered for client in clients)
    print(f"{dict(killed)}, {answered} operations answered")
    assert answered > 10 * KILLS, "too little was done for the kills to mean anything"


GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["commit", "committed", "sync", "write"])
def test_a_folder_of_the_first_version_survives_kills_while_it_is_brought_up_to_date(
    tmp_path: Path, place: str
) -> None:
    wanted, n, killed = json.loads((GOLDEN / "0.1.0.json").read_text()), 1, 0
    while True:
        folder = tmp_path / str(n)
        with tarfile.open(GOLDEN / "0.1.0.tar.gz") as content:
            content.extractall(folder, filter="data")
        path, data = config(folder), folder / "data"
        with contextlib.suppress(AssertionError):
            RunningServer(path, data, program=("tests.durability.faulty_server", "kill", place, str(n))).kill()
            break  # it came to be ready: there are no more such moments
        killed += 1
        server = RunningServer(path, data)
        with server.client() as client:
            assert rounded(seen(client)) == rounded(wanted)
        assert server.stop() == 0
        assert problems(data / "indexes" / "quickstart.sqlite") == []
        n += 1 if place != "write" else max(1, n // 3)
    print(f"{killed} kills at a {place}")
    assert killed > 4


@pytest.mark.slow
@pytest.mark.parametrize("command", ["backup", "restore"])
@pytest.mark.parametrize("place", ["write", "sync", "copied"])
def test_a_killed_copy_is_not_there_and_the_next_one_is_whole(tmp_path: Path, command: str, place: str) -> None:
    with tarfile.open(GOLDEN / "0.2.0.tar.gz") as content:
        content.extractall(tmp_path, filter="data")
    source, to = tmp_path / "data", tmp_path / "to"
    if command == "restore":
        backup(source, tmp_path / "copy")
        told = [str(tmp_path / "copy"), "--data-dir", str(to)]
    else:
        told = [str(to), "--data-dir", str(source)]
    for n in (1, 2, 3, 5, 9):
        program = [sys.executable, "-m", "tests.durability.faulty_server", "kill", place, str(n), command, *told]
        done = subprocess.run(program, cwd=PROJECT, env=environment(), capture_output=True, text=True)
        if done.returncode == 0:
            break
        assert done.returncode == -9, done
        assert not to.exists(), "half a copy"
    else:
        assert (
            subprocess.run([sys.executable, "-m", "pinyon", command, *told], cwd=PROJECT, env=environment()).returncode
            == 0
        )
    assert n > 1, "nothing was killed"
    assert problems(to / "indexes" / "quickstart.sqlite") == []
