"""Jobs that several processes share: seen, cancelled and taken over by any of them, and done once."""

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pinyon.services.backups.schedules import BackupSchedules
from pinyon.services.imports import importer
from pinyon.services.imports.local_files import LocalFiles
from pinyon.storage.postgres.engine import PostgresEngine

from tests.postgres.two_services import Site, hurry, running
from tests.running import GIVEN_UP_S
from tests.services.test_reembeddings import models_with_another

pytestmark = pytest.mark.anyio
HASH, WIDE = "pinyon-hash-embed", "pinyon-hash-wide"
IMPORTS = "/bulk/imports"


def texts(first: int, last: int) -> str:
    return "".join(json.dumps({"id": f"r{n}", "chunk_text": f"text {n}"}) + "\n" for n in range(first, last))


class Gate:
    """Lets nobody open a file of this name before it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        original = LocalFiles.open

        def wait(source: LocalFiles, file: Any) -> Any:
            if file.name == name:
                self.reached.set()
                assert self.opened.wait(GIVEN_UP_S)
            return original(source, file)

        monkeypatch.setattr(LocalFiles, "open", wait)
        monkeypatch.setattr(importer, "ABANDONED_S", 0)


async def get(site: Site, path: str) -> Any:
    return (await site.http.get(path)).raise_for_status().json()


async def post(site: Site, path: str, body: Any) -> Any:
    return (await site.http.post(path, json=body)).raise_for_status().json()


async def until(site: Site, path: str, **wanted: Any) -> Any:
    """What a path tells as soon as it has these values."""
    async with asyncio.timeout(GIVEN_UP_S):
        while True:
            told = await get(site, path)
            if {name: told.get(name) for name in wanted} == wanted:
                return told


async def lsn(site: Site) -> int:
    footprint = await site.service.parts.engine.footprint("quickstart")
    return footprint.lsn


async def test_every_process_tells_of_an_import_and_any_of_them_cancels_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    gate = Gate(monkeypatch, "b.jsonl")
    async with running(tmp_path) as one, running(tmp_path) as other:
        for name, first in (("a", 0), ("b", 10), ("c", 20)):
            (tmp_path / "import" / f"{name}.jsonl").write_text(texts(first, first + 10))
        first = (await post(one, IMPORTS, {"uri": str(tmp_path / "import")}))["id"]
        await until(other, f"{IMPORTS}/{first}", status="InProgress", recordsImported=10)
        second = (await post(other, IMPORTS, {"uri": str(tmp_path / "import" / "c.jsonl")}))["id"]
        waiting = await get(one, f"{IMPORTS}/{second}")
        assert (waiting["status"], waiting["error"]) == ("Pending", "it waits for another import into this index")
        assert await get(one, IMPORTS) == await get(other, IMPORTS)
        for id, site in ((second, one), (first, other)):
            (await site.http.delete(f"{IMPORTS}/{id}")).raise_for_status()
        listed = await get(one, IMPORTS)
        assert [each["status"] for each in listed["data"]] == ["Cancelled", "Cancelled"]
        assert listed == await get(other, IMPORTS)
        gate.opened.set()
        stats = await post(other, "/describe_index_stats", {})
        assert stats["totalVectorCount"] == 10, "what was imported stays"
        third = (await post(other, IMPORTS, {"uri": str(tmp_path / "import")}))["id"]
        await until(one, f"{IMPORTS}/{third}", status="Completed", recordsImported=30)


async def test_an_import_is_taken_over_where_it_was_when_its_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    gate = Gate(monkeypatch, "b.jsonl")
    async with running(tmp_path) as other:
        async with running(tmp_path) as one:
            for name, first in (("a", 0), ("b", 10)):
                (tmp_path / "import" / f"{name}.jsonl").write_text(texts(first, first + 10))
            id = (await post(one, IMPORTS, {"uri": str(tmp_path / "import")}))["id"]
            await until(other, f"{IMPORTS}/{id}", recordsImported=10)
            await post(other, "/vectors/delete", {"ids": ["r3"], "namespace": "__default__"})
            written = await lsn(other)
        gate.opened.set()
        await until(other, f"{IMPORTS}/{id}", status="Completed", recordsImported=20)
        assert await lsn(other) == written + 1, "only the batch that was left is written"
        assert (await post(other, "/describe_index_stats", {}))["totalVectorCount"] == 19


async def test_a_schedule_fires_once_and_is_the_same_everywhere(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    async with running(tmp_path) as one, running(tmp_path) as other:
        schedules = []
        for site in (one, other):
            parts = site.service.parts
            await parts.backup_schedules.close()  # while these look at the schedules, others do nothing
            schedules.append(BackupSchedules(parts.engine, parts.indexes, parts.backups, lambda: now))
        schedule = await schedules[0].create("quickstart", "nightly", "daily", 9)
        assert await schedules[1].get(schedule.id) == schedule
        for _ in range(3):
            now += timedelta(days=1)
            await asyncio.gather(*(each.run_due() for each in schedules))
        assert len(await other.service.parts.engine.backups()) == 3
        paused = await schedules[1].update(schedule.id, None, None, False)
        assert await schedules[0].get(schedule.id) == paused
        path = "/indexes/quickstart/backups"
        assert await get(one, path) == await get(other, path)
        await schedules[0].delete(schedule.id)
        assert (await schedules[1].page("quickstart", None, None))[0] == []


async def write_and_search(site: Site, number: int) -> httpx.Response:
    row = {"_id": f"n{number}", "chunk_text": f"number {number}"}
    (await site.http.post("/records/namespaces/n/upsert", json=row)).raise_for_status()
    query = {"query": {"inputs": {"text": f"number {number}"}, "top_k": 1}}
    return await site.http.post("/records/namespaces/n/search", json=query)


@pytest.mark.slow
async def test_text_is_embedded_by_the_model_that_the_index_has_by_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    models = models_with_another(tmp_path / "models")
    async with running(tmp_path, models) as one, running(tmp_path, models) as other:
        number = 0
        for model in (WIDE, HASH):
            await write_and_search(other, number)
            await post(one, "/indexes/quickstart/reembed", {"model": model})
            while (await get(other, "/indexes/quickstart/reembed"))["running"]:
                number += 1
                found = (await write_and_search(other, number)).raise_for_status().json()
                assert [hit["_id"] for hit in found["result"]["hits"]] == [f"n{number}"]
            assert (await get(other, "/indexes/quickstart"))["embed"]["model"] == model
            found = (await write_and_search(other, number)).raise_for_status().json()
            assert [hit["_id"] for hit in found["result"]["hits"]] == [f"n{number}"]
        listed = await get(one, "/vectors/fetch?namespace=n&ids=" + "&ids=".join(f"n{n}" for n in range(number + 1)))
        assert {len(vector["values"]) for vector in listed["vectors"].values()} == {64}


async def test_a_reembedding_is_taken_over_and_any_process_cancels_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    models, path = models_with_another(tmp_path / "models"), "/indexes/quickstart/reembed"
    keep, may_keep = PostgresEngine.keep_reembedded, asyncio.Event()
    reached = asyncio.Event()

    async def when_allowed(engine: PostgresEngine, *of: Any) -> bool:
        reached.set()
        await may_keep.wait()
        return await keep(engine, *of)

    monkeypatch.setattr(PostgresEngine, "keep_reembedded", when_allowed)
    async with running(tmp_path, models) as other:
        async with running(tmp_path, models) as one:
            await write_and_search(one, 1)
            for cancelled in (True, False):
                reached.clear()
                await post(one, path, {"model": WIDE})
                await reached.wait()
                assert await get(other, path) == await get(one, path)
                if cancelled:
                    (await other.http.delete(path)).raise_for_status()
                    may_keep.set()
                    assert (await until(one, path, running=False))["failed"] == "it was cancelled"
                    assert (await get(one, "/indexes/quickstart"))["embed"]["model"] == HASH
                    may_keep.clear()
        may_keep.set()
        await until(other, path, running=False)
        assert (await get(other, "/indexes/quickstart"))["embed"]["model"] == WIDE
