"""Backups while they are being taken, and restore jobs of a catalogue that cannot be written."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pinyon.domain import BackupLabel, CatalogueValue, Handle, Index, IndexSpec, Lease
from pinyon.errors import Unavailable
from pinyon.services.backups import backups, run_times, schedules
from pinyon.services.backups.backups import Backups
from pinyon.storage.sqlite.engine import SqliteEngine

from tests.durability.test_power import serving

pytestmark = pytest.mark.anyio
DOCS = Index(IndexSpec("docs", 2, "cosine"), Handle("docs", "1"))


class Indexes:
    """Stands for the indexes of an installation."""

    def __init__(self) -> None:
        self.after_deletion: list[Any] = []

    def index(self, name: str) -> Index:
        return DOCS


class Engine:
    """Stands for storage. A backup gets ready just after the list of those that are ready was read."""

    def __init__(self) -> None:
        self.listed, self.taken = asyncio.Event(), asyncio.Event()

    def indexes(self) -> list[Index]:
        return [DOCS]

    def unusable(self) -> dict[str, Any]:
        return {}

    def being_opened(self) -> set[str]:
        return set()

    async def catalogue_values(self) -> dict[str, CatalogueValue]:
        return {}

    async def put_catalogue_value(self, key: str, text: str, version: int) -> None:
        """Nobody reads it."""

    async def take_lease(self, lease: Lease, seconds: float) -> bool:
        return True

    async def release_lease(self, lease: Lease) -> None:
        """Nobody else wants it."""

    async def create_backup(self, index: Handle, label: BackupLabel) -> None:
        await self.listed.wait()
        self.taken.set()

    async def backups(self) -> list[Any]:
        self.listed.set()
        await self.taken.wait()
        await asyncio.sleep(0)  # lets the service hear of it
        return []


async def test_a_backup_that_gets_ready_while_backups_are_listed_is_in_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backups, "WAIT_S", 0)
    parts: Any = Engine(), Indexes()
    state = await Backups(*parts).create("docs", None, None)
    assert (state.index, state.status) == (DOCS, "Initializing")


async def test_a_restore_job_that_cannot_be_stored_is_not_begun_and_holds_no_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise Unavailable("The disk is full")

    async with serving(tmp_path, tmp_path / "data") as http:
        backup = (await http.post("/indexes/quickstart/backups", json={})).json()
        with monkeypatch.context() as patched:
            patched.setattr(SqliteEngine, "put_catalogue_value", fail)
            refused = await http.post(f"/backups/{backup['backup_id']}/create-index", json={"name": "again"})
        assert (refused.status_code, (await http.get("/restore-jobs")).json()) == (503, {"data": []})
        assert (await http.get("/indexes/again")).status_code == 404
        assert (await http.delete(f"/backups/{backup['backup_id']}")).status_code == 202


async def test_a_server_takes_the_backups_of_its_schedules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(run_times.DAYS, "daily", 1e-6)
    monkeypatch.setattr(schedules, "CHECK_S", 0)
    async with serving(tmp_path, tmp_path / "data") as http:
        body = {"name": "often", "schedule": {"frequency": "daily"}, "retention": {"expire_after_days": 1}}
        schedule = (await http.post("/indexes/quickstart/backup-schedules", json=body)).json()
        path = f"/backup-schedules/{schedule['schedule_id']}"
        while "Ready" not in {run["status"] for run in (await http.get(f"{path}/history")).json()["data"]}:
            pass
        assert (await http.delete(path)).status_code == 202
        backups = (await http.get("/backups")).json()["data"]
        assert {backup["name"][:6] for backup in backups} == {"often-"}
