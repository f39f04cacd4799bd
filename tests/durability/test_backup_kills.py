"""kill -9 while backups are taken, by request and by a schedule, restored and deleted: each is whole or absent."""

import contextlib
import os
import random
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.durability.test_kills import Installation
from tests.storage.consistency import problems

KILLS = int(os.environ.get("KILLS", "50"))
PLACES = ("write", "sync", "commit", "committed", "copied", "remove")
RECORDS = {f"r{n}": f"text {n}" for n in range(20)}


def names(http: httpx.Client) -> list[str]:
    return [index["name"] for index in http.get("/indexes").raise_for_status().json()["indexes"]]


def backups(http: httpx.Client) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = http.get("/backups?limit=100").raise_for_status().json()["data"]
    return data


def stored(http: httpx.Client, index: str) -> dict[str, str]:
    """The records of an index, by id."""
    host = http.get(f"/indexes/{index}").raise_for_status().json()["host"]
    listed = http.get(f"{host}/vectors/list?namespace=n&limit=100").raise_for_status().json()["vectors"]
    ids = [each["id"] for each in listed]
    got = http.get(f"{host}/vectors/fetch", params={"namespace": "n", "ids": ids}).raise_for_status().json()
    return {id: vector["metadata"]["chunk_text"] for id, vector in got["vectors"].items()}


def ended(http: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    while job["status"] == "InProgress":
        job = http.get(f"/restore-jobs/{job['restore_job_id']}").raise_for_status().json()
    return job


def ready(http: httpx.Client) -> list[dict[str, Any]]:
    return [backup for backup in backups(http) if backup["status"] == "Ready"]


def schedule(http: httpx.Client) -> dict[str, Any]:
    """The only schedule."""
    (only,) = http.get("/indexes/docs/backup-schedules").raise_for_status().json()["data"]
    return dict(only)


def work(http: httpx.Client) -> None:
    """Take backups, restore and delete them, until the server is gone."""
    for enabled in (False, True):  # the next run is planned from now on
        path = f"/backup-schedules/{schedule(http)['schedule_id']}"
        http.patch(path, json={"enabled": enabled}).raise_for_status()
    while True:
        http.post("/indexes/docs/backups", json={"name": "b"}).raise_for_status()
        newest = ready(http)[-1]
        made = http.post(f"/backups/{newest['backup_id']}/create-index", json={"name": "again"}).raise_for_status()
        ended(http, http.get(f"/restore-jobs/{made.json()['restore_job_id']}").raise_for_status().json())
        if "again" in names(http):
            http.delete("/indexes/again").raise_for_status()
        for backup in ready(http)[:-2]:
            http.delete(f"/backups/{backup['backup_id']}").raise_for_status()


def scheduled_runs(http: httpx.Client) -> list[dict[str, Any]]:
    """The runs of the schedule, when what was due has been done."""
    path = f"/backup-schedules/{schedule(http)['schedule_id']}/history?limit=100"
    while True:
        runs: list[dict[str, Any]] = http.get(path).raise_for_status().json()["data"]
        planned = [run["scheduled_execution_at"] for run in runs if run["status"] == "Initializing"]
        if all(datetime.fromisoformat(due) > datetime.now(UTC) for due in planned):
            return runs


@pytest.mark.slow
def test_a_backup_and_a_restored_index_are_whole_or_absent_after_kill_9(tmp_path: Path) -> None:
    dice, killed, taken = random.Random(KILLS), Counter[str](), 0
    at = Installation(tmp_path)
    with at.server.client() as http:
        host = http.get("/indexes/docs").json()["host"]
        for id, text in RECORDS.items():
            record = {"_id": id, "chunk_text": text}
            http.post(f"{host}/records/namespaces/n/upsert", json=record).raise_for_status()
        body = {"name": "s", "schedule": {"frequency": "daily"}, "retention": {"expire_after_days": 1}}
        http.post("/indexes/docs/backup-schedules", json=body).raise_for_status()
    assert at.server.stop() == 0
    while killed.total() < KILLS:
        place = dice.choice(PLACES)
        try:
            at.server = at.start("kill", place, str(int(dice.expovariate(0.03)) + 1))
        except AssertionError:  # it killed itself while it started
            killed[f"{place}, while it started"] += 1
        else:
            with at.server.client() as http, contextlib.suppress(httpx.TransportError):
                work(http)
            assert at.server.ended() == -9
            killed[place] += 1
        for file in (at.data / "indexes").glob("*.sqlite"):
            assert file.stem != "docs" or problems(file) == []
        at.server = at.start()
        with at.server.client() as http:
            assert stored(http, "docs") == RECORDS
            if "again" in names(http):
                assert stored(http, "again") == RECORDS
                http.delete("/indexes/again").raise_for_status()
            runs = scheduled_runs(http)
            assert {run["status"] for run in runs} <= {"Initializing", "Ready"}, runs
            assert len({run["name"] for run in runs}) == len(runs), "no run is made twice"
            taken += sum(run["status"] == "Ready" for run in runs)
            for backup in backups(http):
                if backup["status"] == "Failed":
                    assert backup["error"] == "the server was stopped meanwhile"
                    http.delete(f"/backups/{backup['backup_id']}").raise_for_status()
                else:
                    assert (backup["status"], backup["record_count"], backup["namespace_count"]) == ("Ready", 20, 1)
            jobs = http.get("/restore-jobs?limit=100").raise_for_status().json()["data"]
            assert {job["status"] for job in jobs} <= {"Completed", "Failed"}
            if kept := backups(http):
                path = f"/backups/{dice.choice(kept)['backup_id']}/create-index"
                made = http.post(path, json={"name": "checked"}).raise_for_status().json()
                job = ended(http, http.get(f"/restore-jobs/{made['restore_job_id']}").json())
                assert job["status"] == "Completed", job
                assert stored(http, "checked") == RECORDS
                http.delete("/indexes/checked").raise_for_status()
        assert at.server.stop() == 0
        assert {path.suffix for path in (at.data / "backups").glob("*")} <= {""}, "nothing half made is left"
    assert taken, "the schedule took none"
    print(dict(killed))
