"""kill -9 of `pinyon export` and `pinyon import`: --resume goes on, and the result is the one that it would have been."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running import PROJECT, RunningServer, config, environment

pytest.importorskip("pyarrow", reason="needs pyarrow, the extra parquet")
KILLS = int(os.environ.get("KILLS", "50"))
RECORDS = {f"r{n:03}": {"chunk_text": f"text {n}", "n": n} for n in range(300)}
NAMESPACES = ("n", "m")
EVENTS = {"open": 10, "os.rename": 8, "os.remove": 2, "shutil.rmtree": 2, "http.client.send": 30}
"""Places where a command kills itself, and about how often it comes there."""
PLACES = {"write": 10, "sync": 4, "committed": 2}
"""The same for a command that opens the data folder itself; places of faulty_server."""


def command(state: Path, *arguments: object, program: Sequence[str] = ("pinyon",)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *program, *map(str, arguments)],
        cwd=PROJECT, env=environment(XDG_STATE_HOME=str(state)), capture_output=True, text=True, timeout=300,
    )  # fmt: skip


class Killer:
    """Draws where a command is killed. here: whether it opens the data folder itself."""

    def __init__(self, dice: random.Random) -> None:
        self._dice, self.killed = dice, Counter[str]()

    def program(self, here: bool) -> tuple[str, Sequence[str]]:
        """The place, and the program that is run in place of `pinyon`."""
        places = {**EVENTS, **PLACES} if here else EVENTS
        if here:
            del places["http.client.send"]
        place = self._dice.choice(sorted(places))
        number = str(int(self._dice.expovariate(1 / places[place])) + 1)
        if place in PLACES:
            return place, ("tests.durability.faulty_server", "kill", place, number)
        return place, ("tests.durability.killed_command", place, number)


def filled(http: httpx.Client) -> None:
    for namespace in NAMESPACES:
        rows = [json.dumps({"_id": id, **fields}) for id, fields in RECORDS.items()]
        for first in range(0, len(rows), 60):
            path = f"/records/namespaces/{namespace}/upsert"
            http.post(path, content="\n".join(rows[first : first + 60])).raise_for_status()


def backups(http: httpx.Client) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = http.get("/backups?limit=100").raise_for_status().json()["data"]
    return data


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("here", [False, True], ids=["with a server", "without a server"])
def test_an_export_that_was_killed_goes_on_with_its_moment_and_gives_the_same_files(tmp_path: Path, here: bool) -> None:
    killer, settings, data = Killer(random.Random(KILLS + here)), config(tmp_path), tmp_path / "data"
    server = RunningServer(settings, data)
    with server.client() as http:
        filled(http)
        at: list[object] = ["--config", settings, "--data-dir", data, "--index", "quickstart", "--part", "50"]
        for format in ("jsonl", "parquet"):
            done = command(tmp_path, "export", *at, "--format", format, tmp_path / format)
            assert done.returncode == 0, done.stderr
        if here:
            assert server.stop() == 0
        kills = 0
        while kills < KILLS // (5 if here else 1):
            format, out = random.Random(kills).choice(("jsonl", "parquet")), tmp_path / "out"
            place, program = killer.program(here)
            done = command(tmp_path, "export", *at, "--format", format, out, program=program)
            if done.returncode == -9:
                killer.killed[place] += 1
                kills += 1
                begun = (tmp_path / "out.export.json").exists()
                later = begun and not here and bool(backups(http))
                if later:
                    http.post(
                        "/records/namespaces/n/upsert", json={"_id": "later", "chunk_text": "x"}
                    ).raise_for_status()
                done = command(tmp_path, "export", *at, "--format", format, "--resume", out)
                if "is there already" in done.stderr:  # killed after everything was done
                    assert not begun
                else:
                    assert done.returncode == 0, done.stderr
                if later:
                    body = {"namespace": "n", "ids": ["later"]}
                    http.post("/vectors/delete", json=body).raise_for_status()
            else:
                assert done.returncode == 0, done.stderr
            assert content(out) == content(tmp_path / format)
            assert [path.name for path in tmp_path.glob("out*")] == ["out"]
            subprocess.run(["rm", "-r", out], check=True)
    if not here:
        with server.client() as http:
            assert backups(http) == []
        assert server.stop() == 0
    print(dict(killer.killed))


@pytest.mark.slow
@pytest.mark.parametrize("here", [False, True], ids=["with a server", "without a server"])
def test_an_import_that_was_killed_goes_on_and_every_row_is_there(tmp_path: Path, here: bool) -> None:
    killer, settings, data = Killer(random.Random(KILLS + here)), config(tmp_path), tmp_path / "data"
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"_id": id, **fields}) + "\n" for id, fields in RECORDS.items()) * 5)
    at: list[object] = ["--config", settings, "--data-dir", data, "--index", "quickstart", "--namespace", "n"]
    server, kills = RunningServer(settings, data), 0
    if here:
        assert server.stop() == 0
    while kills < KILLS // (10 if here else 3):
        place, program = killer.program(here)
        done = command(tmp_path, "import", file, *at, program=program)
        if done.returncode == -9:
            killer.killed[place] += 1
            kills += 1
            done = command(tmp_path, "import", file, *at, "--resume")
        assert done.returncode == 0, done.stderr
        out = tmp_path / "out.jsonl"
        assert command(tmp_path, "export", *at, "--no-vectors", out).returncode == 0
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert {row["id"]: row["metadata"] for row in rows} == RECORDS
        out.unlink()
        if not here:
            with server.client() as http:
                http.post("/vectors/delete", json={"namespace": "n", "deleteAll": True}).raise_for_status()
    if not here:
        assert server.stop() == 0
    print(dict(killer.killed))
