"""What a process is doing is seen at the other processes while it does it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pinyon.domain import Backup, Index
from pinyon.errors import FailedPrecondition, Unavailable
from pinyon.services.data_plane.records.records import Records
from pinyon.services.data_plane.records.text_upserts import TextUpserts
from pinyon.services.judgements.measurements import Measurements
from pinyon.services.judgements.stored_measurements import Measurement
from pinyon.storage.postgres.engine import PostgresEngine

from tests.postgres.test_jobs import IMPORTS, get, post, texts, until
from tests.postgres.two_services import Site, hurry, running
from tests.running import GIVEN_UP_S

pytestmark = pytest.mark.anyio


async def until_status(site: Site, path: str, status: int) -> Any:
    """The answer as soon as it has this status code."""
    async with asyncio.timeout(GIVEN_UP_S):
        while (answer := await site.http.get(path)).status_code != status:
            pass
    return answer.json()


async def test_backups_and_restored_indexes_are_the_same_everywhere_while_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinyon.services.backups.backups.WAIT_S", 0)
    create, restore = PostgresEngine.create_backup, PostgresEngine.restore_backup
    reached, allowed, is_full = asyncio.Event(), asyncio.Event(), False

    async def wait() -> None:
        reached.set()
        await allowed.wait()
        if is_full:
            raise Unavailable("The disk is full")

    async def created(engine: PostgresEngine, *of: Any) -> Backup:
        await wait()
        return await create(engine, *of)

    async def restored(engine: PostgresEngine, *of: Any) -> Index:
        await wait()
        return await restore(engine, *of)

    monkeypatch.setattr(PostgresEngine, "create_backup", created)
    monkeypatch.setattr(PostgresEngine, "restore_backup", restored)
    async with running(tmp_path) as one, running(tmp_path) as other:
        (await one.http.post("/records/namespaces/n/upsert", json={"_id": "a", "chunk_text": "b"})).raise_for_status()

        backups = "/indexes/quickstart/backups"
        id = (await post(one, backups, {"name": "first"}))["backup_id"]
        await reached.wait()
        assert (await get(other, f"/backups/{id}"))["status"] == "Initializing"
        assert await get(other, backups) == await get(one, backups)
        assert (await other.http.delete(f"/backups/{id}")).status_code == 412, "it is in use"
        allowed.set()
        assert await until(other, f"/backups/{id}", status="Ready") == await get(one, f"/backups/{id}")

        is_full = True
        reached.clear()
        failed = (await post(one, backups, {}))["backup_id"]
        await reached.wait()
        described = await until(other, f"/backups/{failed}", status="Failed")
        assert (described["error"], described) == ("The disk is full", await get(one, f"/backups/{failed}"))
        (await other.http.delete(f"/backups/{failed}")).raise_for_status()
        assert (await one.http.get(f"/backups/{failed}")).status_code == 404

        for is_full in (True, False):
            reached.clear()
            allowed.clear()
            job = (await post(one, f"/backups/{id}/create-index", {"name": "again"}))["restore_job_id"]
            await reached.wait()
            described = await until_status(other, "/indexes/again", 200)
            assert described["status"] == {"ready": False, "state": "Initializing"}
            listed = await get(other, "/indexes")
            assert listed == await get(one, "/indexes")
            assert [index["name"] for index in listed["indexes"]] == ["again", "quickstart"]
            early = await other.http.post("/describe_index_stats", json={}, headers={"Host": "again.localhost"})
            assert (early.status_code, "is being restored" in early.text) == (503, True)
            assert (await get(other, f"/restore-jobs/{job}"))["status"] == "InProgress"
            assert (await other.http.delete(f"/backups/{id}")).status_code == 412, "it is in use"
            taken = await other.http.post(f"/backups/{id}/create-index", json={"name": "again"})
            assert taken.status_code == 409
            allowed.set()
            done = await until(other, f"/restore-jobs/{job}", status="Failed" if is_full else "Completed")
            assert done == await get(one, f"/restore-jobs/{job}")
            if is_full:
                await until_status(other, "/indexes/again", 404)
        assert (await get(other, "/indexes/again"))["status"] == {"ready": True, "state": "Ready"}
        assert len((await get(other, "/indexes"))["indexes"]) == 2
        stats = await other.http.post("/describe_index_stats", json={}, headers={"Host": "again.localhost"})
        assert stats.json()["totalVectorCount"] == 1


async def test_why_an_import_pauses_is_told_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    embed, is_busy = TextUpserts.embed, True

    async def when_idle(upserts: TextUpserts, *of: Any) -> Any:
        if is_busy:
            raise Unavailable("The models are busy", 0)
        return await embed(upserts, *of)

    monkeypatch.setattr(TextUpserts, "embed", when_idle)
    async with running(tmp_path) as one, running(tmp_path) as other:
        (tmp_path / "import" / "a.jsonl").write_text(texts(0, 3))
        path = f"{IMPORTS}/{(await post(one, IMPORTS, {'uri': str(tmp_path / 'import')}))['id']}"
        paused = await until(other, path, error="paused, and goes on by itself: The models are busy")
        assert (paused["status"], paused) == ("InProgress", await get(one, path))
        is_busy = False
        done = await until(other, path, status="Completed")
        assert ("error" in done, done) == (False, await get(one, path))
        notes = await other.service.parts.engine.notes("quickstart")
        assert [note.key.partition(":")[0] for note in notes] == ["import"], "the reason is gone"


async def test_a_measurement_is_seen_everywhere_and_has_failed_if_its_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    search, searches, allowed = Records.search, 0, asyncio.Event()

    async def third_waits(records: Records, *of: Any) -> Any:
        nonlocal searches
        searches += 1
        if searches % 4 == 3:
            await allowed.wait()
        return await search(records, *of)

    monkeypatch.setattr(Records, "search", third_waits)

    async def measured(measurements: Measurements, index: Index, is_running: bool) -> Measurement:
        async with asyncio.timeout(GIVEN_UP_S):
            while True:
                last = await measurements.last(index, "n")
                if last is not None and last.running == is_running and last.done >= 2:
                    return last

    async with running(tmp_path) as other:
        elsewhere = other.service.parts.measurements
        async with running(tmp_path) as one:
            row = {"_id": "a", "chunk_text": "one"}
            (await one.http.post("/records/namespaces/n/upsert", json=row)).raise_for_status()
            parts = one.service.parts
            index = parts.engine.index("quickstart")
            await parts.judgements.mark(index, "n", "one", "a", "good")
            await parts.measurements.start(index, "n", "bm25")
            last = await measured(elsewhere, index, True)
            assert (last.done, last.total) == (2, 4)
            with pytest.raises(FailedPrecondition, match="is running already"):
                await elsewhere.start(index, "n", "bm25")
        last = await measured(elsewhere, index, False)
        assert last.failed == "the server that measured was stopped meanwhile"

        searches = 0
        async with running(tmp_path) as one:
            await elsewhere.start(index, "n", "bm25")
            measurements = one.service.parts.measurements
            assert (await measured(measurements, index, True)).done == 2
            allowed.set()
            last = await measured(measurements, index, False)
            assert last == await elsewhere.last(index, "n")
            assert [each.pipeline for each in last.qualities] == ["dense", "lexical", "hybrid", "hybrid+bm25"]
