"""kill -9 of `pinyon ingest` at its requests: a further run makes the same records as one run."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.ingest.ingested import Ingested, Records, records
from tests.running import PROJECT, environment

KILLS = int(os.environ.get("KILLS", "50"))
WRITES = 12
"""So many requests a run from the folder of before to that of after makes, or a few more."""


def long(word: str, parts: int = 210) -> str:
    return "\n\n".join(f"## Part {number}\n\nThis is {word} {number}." for number in range(parts))


BEFORE = {
    "same.md": "Same.",
    "grows.md": long("apple", 100),
    "shrinks.md": long("pear"),
    "gone.md": long("plum"),
    "small.md": "Old.",
}
AFTER = {
    "same.md": "Same.",
    "grows.md": long("apple"),
    "shrinks.md": long("peach", 40),
    "new.md": long("fig"),
    "small.md": "New.",
}


def fill(folder: Path, documents: dict[str, str], modified: int) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name, text in documents.items():
        (folder / name).write_text(text)
        os.utime(folder / name, (modified, modified if name != "same.md" else 0))


def ingested_once(ingested: Ingested, documents: dict[str, str], modified: int) -> Records:
    fill(ingested.folder, documents, modified)
    ingested.ok()
    found = records(ingested.url, ingested.namespace, vectors=True)
    ingested.ok("--exclude", "*", "--allow-empty")
    assert ingested.records == {}
    return found


@pytest.mark.slow
def test_a_run_that_was_killed_is_made_good_by_the_next_one(ingested: Ingested) -> None:
    """The next run finds the new folder, or the old one again."""
    dice = random.Random(0)
    before, after = ingested_once(ingested, BEFORE, 1_000), ingested_once(ingested, AFTER, 2_000)
    assert len(before) == 100 + 210 + 210 + 2 and len(after) == 210 + 40 + 210 + 2
    killed = 0
    for kill in range(KILLS):
        fill(ingested.folder, BEFORE, 1_000)
        ingested.ok()
        fill(ingested.folder, AFTER, 2_000)
        moment, number = dice.choice(("before", "after")), str(1 + kill % WRITES)
        program = ["tests.cli.ingest.killed", moment, number, *map(str, ingested.arguments)]
        done = subprocess.run(
            [sys.executable, "-m", *program], cwd=PROJECT, env=environment(), capture_output=True, timeout=300
        )
        assert done.returncode in (0, -signal.SIGKILL), done
        killed += done.returncode != 0
        if kill % 2:
            fill(ingested.folder, BEFORE, 1_000)
        ingested.ok()
        found = records(ingested.url, ingested.namespace, vectors=True)
        assert found == (before if kill % 2 else after), f"killed {moment} write {number}"
    assert killed > KILLS * 0.9
