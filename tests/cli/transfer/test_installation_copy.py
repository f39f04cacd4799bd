"""`pinyon copy` between data folders and databases: everything arrives, to the last bit, in both directions."""

import asyncio
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pinyon.cli.transfer.installations import job
from pinyon.cli.transfer.installations.snapshots import NAME
from pinyon.domain import Record, Selection

from tests.cli.transfer.commands import Pinyon
from tests.cli.transfer.installations import (
    EXAMPLE,
    contents,
    everything,
    filled,
    interrupted,
    open_folder,
    settings_file,
)
from tests.postgres import consistency as postgres_consistency
from tests.postgres.shared_server import open_postgres
from tests.running import GIVEN_UP_S, RunningServer, config
from tests.storage.consistency import problems

SHARED_COMMAND = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
"""Every example has folders of its own, so they may share the command."""


def stored(folder: Path, in_database: bool = False) -> dict[str, Any]:
    return asyncio.run(everything(open_postgres if in_database else open_folder, folder))


def _round_trip(pinyon: Pinyon, content: dict[str, dict[str, list[tuple[Record, bool]]]]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        source, database, back = filled(folder / "data", content), folder / "database", folder / "back"
        told = pinyon.ok("copy", "--from", source, "--to", settings_file(database)).out
        assert "to the last bit" in told
        pinyon.ok("copy", "--from", settings_file(database), "--to", back)
        wanted = stored(source)
        assert stored(database, in_database=True) == wanted
        assert stored(back) == wanted
        for name in content:
            assert postgres_consistency.problems(database, name) == []
            assert problems(back / "indexes" / f"{name}.sqlite") == []
        assert sorted(path.name for path in folder.iterdir()) == ["back", "data", "database.toml"]
    finally:
        shutil.rmtree(folder)


def test_from_a_folder_to_a_database_and_back_nothing_is_lost(pinyon: Pinyon) -> None:
    _round_trip(pinyon, EXAMPLE)


@pytest.mark.slow
@settings(max_examples=20, suppress_health_check=SHARED_COMMAND)
@given(content=contents(), page=st.sampled_from([1, 2, 500]))
def test_whatever_is_stored_and_however_many_records_a_page_has(
    pinyon: Pinyon, content: dict[str, dict[str, list[tuple[Record, bool]]]], page: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "PAGE", page)
        _round_trip(pinyon, content)


def test_a_copy_of_one_index_leaves_the_others_out(pinyon: Pinyon, tmp_path: Path) -> None:
    source, target = filled(tmp_path / "data"), tmp_path / "copy"
    told = pinyon.ok("copy", "--from", source, "--to", target, "--index", "mixed").out
    assert "Copied 8 records of 1 index." in told
    assert stored(target) == {"mixed": stored(source)["mixed"]}
    refused = pinyon("copy", "--from", source, "--to", tmp_path / "other", "--index", "nobody")
    assert (refused.status, "it has: mixed, terms, texts" in refused.err) == (1, True)


def test_an_interrupted_copy_goes_on_with_its_moment(
    pinyon: Pinyon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both directions. What is written to the source after the copy began is not in it."""
    monkeypatch.setattr(job, "PAGE", 2)
    source, database, back = filled(tmp_path / "data"), tmp_path / "database", tmp_path / "back"
    for start, target in ((source, settings_file(database)), (settings_file(database), back)):
        in_database = target != back
        wanted = stored(source if in_database else database, in_database=not in_database)
        interrupted(pinyon, monkeypatch, start, target)
        again = pinyon("copy", "--from", start, "--to", target)
        assert (again.status, "was interrupted; --resume goes on with it" in again.err) == (1, True)
        asyncio.run(_write_to(source if in_database else database, in_database=not in_database))
        told = pinyon.ok("copy", "--from", start, "--to", target, "--resume").out
        assert "Copied 10 records of 3 indexes." in told
        assert stored(database if in_database else back, in_database) == wanted
    assert asyncio.run(_backup_names(database)) == []
    assert not list(tmp_path.glob("*.copying-*"))
    refused = pinyon("copy", "--from", source, "--to", settings_file(database), "--resume")
    assert "There is no interrupted copy" in refused.err


async def _write_to(folder: Path, in_database: bool) -> None:
    engine = await (open_postgres if in_database else open_folder)(folder)
    if in_database:
        assert [backup.label.name for backup in await engine.backups()] == [NAME] * 3
    await engine.upsert("mixed", "a", [Record("later", np.ones(3, np.float32), {})])
    await engine.delete("mixed", "a", Selection(["r6"]))
    await engine.close()


async def _backup_names(folder: Path) -> list[str | None]:
    engine = await open_postgres(folder)
    names = [backup.label.name for backup in await engine.backups()]
    await engine.close()
    return names


def test_a_difference_is_reported(pinyon: Pinyon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = filled(tmp_path / "data"), tmp_path / "copy"
    store = job.InstallationCopy._store

    async def spoil(self: Any, index: str, namespace: str, records: list[Record], embedded_by: Any) -> None:
        first = Record(records[0].id, np.float32([0, 1, 0.0]), records[0].metadata)  # 0.0 in place of -0.0
        await store(self, index, namespace, [first, *records[1:]], embedded_by)

    monkeypatch.setattr(job.InstallationCopy, "_store", spoil)
    done = pinyon("copy", "--from", source, "--to", target)
    assert done.status == 1
    assert "Record 'r0' of namespace 'a' of index mixed is not the same" in done.err


def test_what_cannot_be_copied_is_refused_and_leaves_nothing(pinyon: Pinyon, tmp_path: Path) -> None:
    source, other = filled(tmp_path / "data"), filled(tmp_path / "other")
    wanted = stored(other)

    def refusal(*arguments: object) -> str:
        done = pinyon("copy", *map(str, arguments))
        assert done.status != 0
        return done.err

    assert "has an index mixed already" in refusal("--from", source, "--to", other)
    assert stored(other) == wanted
    assert not list(tmp_path.glob("*.copying-*"))
    assert "are the same" in refusal("--from", source, "--to", source)
    assert "is the address of an index" in refusal("--from", source, "--to", "http://localhost:5080")
    assert "--namespace is for copies from index to index" in refusal(
        "--from", source, "--to", tmp_path / "new", "--namespace", "a"
    )
    assert "--index is for copies between" in refusal("--from", "localhost:1", "--to", "localhost:2", "--index", "a")
    assert "There is no data folder" in refusal("--from", tmp_path / "nothing", "--to", tmp_path / "new")


def test_a_server_may_have_the_source_open_and_take_writes(pinyon: Pinyon, tmp_path: Path) -> None:
    """The copy has the writes up to one moment: all that came before it, and none of the later ones."""
    server = RunningServer(config(tmp_path), tmp_path / "data")
    written: list[str] = []
    is_copied = threading.Event()

    def write() -> None:
        with server.client() as http:
            while not is_copied.is_set() or len(written) < 3:
                body = {"_id": f"{len(written):05}", "chunk_text": "one"}
                http.post("/records/namespaces/n/upsert", json=body).raise_for_status()
                written.append(body["_id"])

    with ThreadPoolExecutor(1) as threads:
        writer = threads.submit(write)
        try:
            pinyon.ok("copy", "--from", tmp_path / "data", "--to", settings_file(tmp_path / "database"))
        finally:
            is_copied.set()
        writer.result(GIVEN_UP_S)
    assert server.stop() == 0, server.text
    copied = stored(tmp_path / "database", in_database=True)
    ids = [row[0] for _, rows in copied["quickstart"][3] for row in rows]
    assert ids == written[: len(ids)]


def test_the_password_of_a_database_is_not_shown(pinyon: Pinyon, tmp_path: Path) -> None:
    database = "postgresql://someone:a-secret@127.0.0.1:1/db"
    done = pinyon("copy", "--from", filled(tmp_path / "data"), "--to", database)
    assert done.status == 1
    assert "a-secret" not in done.out + done.err
