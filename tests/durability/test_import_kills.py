"""kill -9 while files are imported: the import goes on at the next start, and does nothing twice."""

import contextlib
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.durability.test_kills import Installation
from tests.storage.consistency import problems

KILLS = int(os.environ.get("KILLS", "50"))
PLACES = ("write", "sync", "commit", "committed", "embed")
FILES, ROWS = 12, 20


def fill(folder: Path) -> None:
    """Files with texts, and files with texts that bring their vectors. Each is one batch, and so one write."""
    for number in range(FILES):
        rows: list[dict[str, Any]] = [
            {"_id": f"f{number}-{row}", "chunk_text": f"text {row} of file {number}"} for row in range(ROWS)
        ]
        if number % 2:
            rows = [{**row, "values": [float(number), *[1.0] * 63]} for row in rows]
        file = folder / f"namespace-{number % 3}" / f"{number:02}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def imports(http: httpx.Client, host: str) -> dict[str, dict[str, Any]]:
    """Every import, by id."""
    jobs, query = list[dict[str, Any]](), dict[str, str]()
    while True:
        page = http.get(f"{host}/bulk/imports", params=query).raise_for_status().json()
        jobs += page["data"]
        if "pagination" not in page:
            return {job["id"]: job for job in jobs}
        query = {"paginationToken": page["pagination"]["next"]}


def finished(http: httpx.Client, host: str) -> dict[str, dict[str, Any]]:
    """Every import, as soon as none is unfinished."""
    while True:
        jobs = imports(http, host)
        if not any(job["status"] in ("Pending", "InProgress") for job in jobs.values()):
            return jobs


def lsn(http: httpx.Client, host: str) -> int:
    answer = http.get(f"{host}/vectors/fetch", params={"ids": "x"}).raise_for_status()
    return int(answer.headers["x-pinecone-max-indexed-lsn"])


def work(http: httpx.Client, host: str, folder: Path) -> None:
    """Import again and again, until the server is gone."""
    while True:
        finished(http, host)
        http.post(f"{host}/bulk/imports", json={"uri": str(folder)}).raise_for_status()


@pytest.mark.slow
def test_an_import_goes_on_after_kill_9_and_does_nothing_twice(tmp_path: Path) -> None:
    dice, killed, done = random.Random(KILLS), Counter[str](), 0
    folder = tmp_path / "import"
    fill(folder)
    at = Installation(tmp_path)
    host = at.index
    assert at.server.stop() == 0
    at.config.write_text(f"[import]\nallow = [{json.dumps(str(folder))}]\n")
    at.server = at.start()
    with at.server.client() as http:
        written, known = lsn(http, host), imports(http, host)
    assert at.server.stop() == 0
    while killed.total() < KILLS:
        place = dice.choice(PLACES)
        try:
            at.server = at.start("kill", place, str(int(dice.expovariate(0.03)) + 1))
        except AssertionError:  # it killed itself while it started
            killed[f"{place}, while it started"] += 1
        else:
            with at.server.client() as http, contextlib.suppress(httpx.TransportError):
                work(http, host, folder)
            assert at.server.ended() == -9
            killed[place] += 1
        assert problems(at.data / "indexes" / "docs.sqlite") == []
        at.server = at.start()
        with at.server.client() as http:
            jobs = finished(http, host)
            for job in jobs.values():
                assert (job["status"], job["recordsImported"]) == ("Completed", FILES * ROWS), job
            new = len(jobs.keys() - known.keys())
            assert lsn(http, host) == written + FILES * new, "each file is written once for each import"
            written, known, done = written + FILES * new, jobs, done + new
            if jobs:
                stats = http.post(f"{host}/describe_index_stats", json={}).raise_for_status().json()
                assert stats["totalVectorCount"] == FILES * ROWS
        assert at.server.stop() == 0
    assert done
    print(dict(killed), done)
