"""kill -9 of `pinyon copy` between a folder and a database: --resume goes on with the same moment, and all is the same."""

import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import Record

from tests.cli.transfer.installations import EXAMPLE, everything, fill, open_folder, settings_file
from tests.postgres.shared_server import open_postgres
from tests.running import GIVEN_UP_S, PROJECT, environment

KILLS = int(os.environ.get("KILLS", "50"))
EVENTS = {"os.rename": 8, "open": 10, "os.remove": 1}
"""Places where the command kills itself, and about how often it comes there."""


def command(state: Path, *arguments: object, program: Sequence[str] = ("pinyon",)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *program, *map(str, arguments)],
        cwd=PROJECT,
        env=environment(XDG_STATE_HOME=str(state)),
        capture_output=True,
        text=True,
        timeout=GIVEN_UP_S,
    )


async def filled(folder: Path) -> None:
    engine = await open_folder(folder)
    await fill(engine, EXAMPLE)
    many = [Record(f"r{n:04}", np.float32([n, 1, -1]), {"n": n}) for n in range(1_300)]  # several pages
    await engine.upsert("mixed", "many", many)
    await engine.close()


@pytest.mark.slow
def test_a_copy_that_was_killed_goes_on_and_everything_is_the_same(tmp_path: Path) -> None:
    dice, killed, resumed = random.Random(KILLS), Counter[str](), 0
    source, database = tmp_path / "data", tmp_path / "database"
    asyncio.run(filled(source))
    wanted = asyncio.run(everything(open_folder, source))
    done = command(tmp_path, "copy", "--from", source, "--to", settings_file(database))
    assert done.returncode == 0, done.stderr
    for number in range(KILLS // 5):
        into_database = number % 2 == 0
        target = tmp_path / f"target-{number}"
        places = (source, settings_file(target)) if into_database else (settings_file(database), target)
        event = dice.choice(sorted(EVENTS))
        program = ("tests.durability.killed_command", event, str(int(dice.expovariate(1 / EVENTS[event])) + 1))
        done = command(tmp_path, "copy", "--from", places[0], "--to", places[1], program=program)
        if done.returncode == -9:
            killed[event] += 1
            begun = list((tmp_path / "pinyon" / "copies").glob("*.json"))
            resumed += bool(begun)
            options = ["--resume"] if begun else []
            done = command(tmp_path, "copy", "--from", places[0], "--to", places[1], *options)
        assert done.returncode == 0 or "has an index mixed already" in done.stderr, done.stderr
        assert asyncio.run(everything(open_postgres if into_database else open_folder, target)) == wanted
        assert not list(tmp_path.glob("*.copying-*"))
    print(dict(killed), resumed)
    assert resumed
    assert asyncio.run(_backups(database)) == 0


async def _backups(folder: Path) -> int:
    engine = await open_postgres(folder)
    number = len(await engine.backups())
    await engine.close()
    return number
