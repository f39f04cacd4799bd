"""Files that are not as they were written are kept, named and refused; everything else goes on."""

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import apsw
import numpy as np
import pytest
from pinyon.cli.main import main
from pinyon.domain import IndexSpec, PagePlan, Record, Selection
from pinyon.errors import AlreadyExists, DataLoss, FailedPrecondition, NotFound, Unavailable
from pinyon.storage.sqlite.connection import connections, high_water, page_checksums
from pinyon.storage.sqlite.connection.high_water import HighWaterMark, Mark
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.folder import index_files
from pinyon.storage.sqlite.folder.backups import folder_backup as backup
from pinyon.storage.sqlite.folder.data_dir import DataDir
from pinyon.storage.sqlite.schema import migrations
from pinyon.storage.sqlite.upkeep import rebuilding
from pinyon.storage.sqlite.upkeep.folder_check import check_folder, check_index, repair
from pinyon.storage.sqlite.upkeep.scheduler import UpkeepScheduler

from tests.durability.corruption import make, records, specs
from tests.storage.consistency import problems

pytestmark = pytest.mark.anyio


async def opened(folder: Path, **tuning: object) -> SqliteEngine:
    return await SqliteEngine.open_folder(folder, 1, 2**26, **tuning)


VALUES = {"port/7001": '{"index":"docs"}', "port/7002": '{"index":"other"}'}
"""What a service has stored in the catalogue."""


async def values(engine: SqliteEngine) -> dict[str, str]:
    return {key: value.text for key, value in (await engine.catalogue_values()).items()}


async def killed_folder(tmp_path: Path, count: int = 300) -> Path:
    """A folder with the index docs as a kill leaves it: everything is in the logs."""
    engine = await opened(tmp_path / "live")
    await engine.create_index(IndexSpec("docs", 4, "cosine"))
    await engine.create_index(IndexSpec("other", 4, "cosine"))
    for key, text in VALUES.items():
        await engine.put_catalogue_value(key, text, 0)
    for first in range(0, count, 100):
        rows = [Record(f"r{n}", np.full(4, n + 1, np.float32), {"n": n}) for n in range(first, first + 100)]
        await engine.upsert("docs", "a", rows)
    shutil.copytree(tmp_path / "live", tmp_path / "data")
    await engine.close()
    return tmp_path / "data"


def cut_last_frame(log: Path) -> None:
    size = int.from_bytes(log.read_bytes()[8:12], "big")
    os.truncate(log, log.stat().st_size - size - 24)


def flip_in_last_frame(log: Path) -> None:
    content = bytearray(log.read_bytes())
    content[-100] ^= 1
    log.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_last_frame, flip_in_last_frame, Path.unlink, lambda log: log.write_bytes(b"")])
async def test_an_index_that_the_catalogue_has_forgotten_is_taken_in(tmp_path: Path, damage: object) -> None:
    data = await killed_folder(tmp_path)
    damage(data / "catalogue.sqlite-wal")  # type: ignore[operator]
    engine = await opened(data)
    assert [index.name for index in engine.indexes()] == ["docs", "other"]
    assert (await engine.namespace("docs", "a")).record_count == 300
    await engine.close()


@pytest.mark.parametrize("state", ["readx", "creating"])
async def test_a_state_that_the_file_contradicts_removes_nothing(tmp_path: Path, state: str) -> None:
    data = await killed_folder(tmp_path)
    await (await opened(data)).close()
    connection = apsw.Connection(str(data / "catalogue.sqlite"))
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("UPDATE indexes SET state = ? WHERE name = 'docs'", (state,))
    connection.close()
    engine = await opened(data)
    assert (await engine.namespace("docs", "a")).record_count == 300
    assert await values(engine) == VALUES
    await engine.close()


async def test_what_the_catalogue_alone_says_is_being_deleted_is_moved_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = await killed_folder(tmp_path)
    await (await opened(data)).close()
    connection = apsw.Connection(str(data / "catalogue.sqlite"))
    connection.execute("UPDATE indexes SET state = 'deleting' WHERE name = 'docs'")
    connection.close()
    content = (data / "indexes" / "docs.sqlite").read_bytes()
    engine = await opened(data)
    assert [index.name for index in engine.indexes()] == ["other"]
    (aside,) = engine.set_aside()
    assert aside.endswith("docs-was-being-deleted")
    assert aside in caplog.text and "Nothing was deleted" in caplog.text
    assert (data / "set-aside" / aside / "docs.sqlite").read_bytes() == content
    await engine.close()


async def test_a_damaged_catalogue_is_moved_aside_and_made_again_with_its_values(tmp_path: Path) -> None:
    data = await killed_folder(tmp_path)
    await (await opened(data)).close()
    file = data / "catalogue.sqlite"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # of a checksum
    file.write_bytes(content)
    engine = await opened(data)
    assert await values(engine) == VALUES
    (aside,) = engine.set_aside()
    assert (data / "set-aside" / aside / "catalogue.sqlite").read_bytes() == bytes(content)
    await engine.close()


async def test_an_index_whose_main_file_is_empty_keeps_its_log_and_takes_a_backup(tmp_path: Path) -> None:
    data = await killed_folder(tmp_path)
    backup.backup(tmp_path / "live", tmp_path / "backup")
    (data / "indexes" / "docs.sqlite").write_bytes(b"")
    log = (data / "indexes" / "docs.sqlite-wal").read_bytes()
    engine = await opened(data)
    assert [index.name for index in engine.indexes()] == ["other"]
    with pytest.raises(DataLoss, match="it is empty, although its log is not"):
        await engine.namespace("docs", "a")
    with pytest.raises(AlreadyExists, match="cannot be used"):
        await engine.create_index(IndexSpec("docs", 4, "cosine"))
    with pytest.raises(FailedPrecondition, match="is in use by"):
        backup.restore_index(tmp_path / "backup", data, "docs")
    await engine.close()
    assert (data / "indexes" / "docs.sqlite-wal").read_bytes() == log
    with pytest.raises(NotFound, match="it has: docs, other"):
        backup.restore_index(tmp_path / "backup", data, "none")
    aside = backup.restore_index(tmp_path / "backup", data, "docs")
    assert aside is not None and (aside / "docs.sqlite-wal").read_bytes() == log
    engine = await opened(data)
    assert (await engine.namespace("docs", "a")).record_count == 300
    assert await values(engine) == VALUES
    await engine.close()


@pytest.mark.parametrize("place", [100, 5_000, -3_000])
async def test_a_log_with_a_flipped_byte_is_refused_and_kept(tmp_path: Path, place: int) -> None:
    data = await killed_folder(tmp_path)
    log = data / "indexes" / "docs.sqlite-wal"
    content = bytearray(log.read_bytes())
    content[place] ^= 1
    log.write_bytes(content)
    for _ in range(2):  # the second start finds what the first one found
        engine = await opened(data)
        assert isinstance(engine.unusable()["docs"], DataLoss)
        await engine.close()
    assert log.read_bytes() == bytes(content)


async def test_an_older_version_of_a_file_is_not_taken_for_the_newest(tmp_path: Path) -> None:
    data = await killed_folder(tmp_path)
    engine = await opened(data)
    await engine.close()
    older = (data / "indexes" / "docs.sqlite").read_bytes()
    engine = await opened(data)
    await engine.delete("docs", "a", Selection(ids=["r1"]))
    await engine.close()
    (data / "indexes" / "docs.sqlite").write_bytes(older)
    engine = await opened(data)
    with pytest.raises(DataLoss, match=r"ends at write 3, and write 4 was acknowledged.*--accept"):
        await engine.namespace("docs", "a")
    await engine.close()


async def test_a_damaged_or_missing_index_can_be_deleted(tmp_path: Path) -> None:
    data = await killed_folder(tmp_path)
    await (await opened(data)).close()
    (data / "indexes" / "docs.sqlite").write_bytes(b"no")
    (data / "indexes" / "other.sqlite").unlink()
    engine = await opened(data)
    assert sorted(engine.unusable()) == ["docs", "other"]
    for name in ("docs", "other"):
        await engine.delete_index(name)
    assert engine.unusable() == {}
    await engine.create_index(IndexSpec("docs", 4, "cosine"))
    await engine.close()
    engine = await opened(data)
    assert [index.name for index in engine.indexes()] == ["docs"]
    await engine.close()


@pytest.mark.parametrize("column", ["spec", "fingerprint", "details"])
async def test_what_cannot_be_decoded_is_data_loss_of_that_index_alone(tmp_path: Path, column: str) -> None:
    data = await killed_folder(tmp_path)
    await (await opened(data)).close()
    connection = apsw.Connection(str(data / "indexes" / "docs.sqlite"))  # as a program would that fills in checksums
    connection.execute(f"UPDATE state SET {column} = '{{\"name' WHERE only = 1")
    connection.close()
    engine = await opened(data)
    with pytest.raises(DataLoss, match=r"docs\.sqlite is damaged"):
        await engine.fingerprint("docs")
    assert "docs" in engine.unusable()
    assert (await engine.every_namespace("other")) == []
    await engine.close()


async def test_nonsense_in_stored_fields_stops_writes_to_that_index_alone(tmp_path: Path) -> None:
    data = await killed_folder(tmp_path)
    await (await opened(data)).close()
    connection = apsw.Connection(str(data / "indexes" / "docs.sqlite"))
    connection.execute("UPDATE records SET metadata = '{\"n\":' WHERE id = 'r7'")
    connection.close()
    engine = await opened(data)
    with pytest.raises(DataLoss, match="a stored value cannot be read"):
        await engine.page("docs", "a", PagePlan(10, Selection(ids=["r7"])))
    with pytest.raises(DataLoss):
        await engine.upsert("docs", "a", [Record("new", np.ones(4, np.float32), {})])
    await engine.upsert("other", "a", [Record("new", np.ones(4, np.float32), {})])
    assert list(engine.unusable()) == ["docs"]
    assert len((await engine.page("docs", "a", PagePlan(10, Selection(ids=["r8"])))).records) == 1, (
        "what can be read is"
    )
    await engine.close()


async def test_every_page_of_a_new_file_has_a_checksum_and_a_wrong_one_is_found(tmp_path: Path) -> None:
    data = await killed_folder(tmp_path)
    await (await opened(data)).close()
    for file in (data / "indexes" / "docs.sqlite", data / "catalogue.sqlite"):
        assert page_checksums.file_has_room(file) and page_checksums.wrong_pages(file) == []
    file = data / "indexes" / "docs.sqlite"
    content = bytearray(file.read_bytes())
    content[3 * 16_384 + 5_000] ^= 4
    file.write_bytes(content)
    assert page_checksums.wrong_pages(file) == [4]
    with pytest.raises(DataLoss):
        backup.backup(data, tmp_path / "copy")  # a copy would have made it look whole


def test_a_mark_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "docs.sqlite"
    assert high_water.read(file) is None
    mark = HighWaterMark(file, Mark(123, 7, True))
    assert high_water.read(file) == Mark(123, 7, True)
    mark.acknowledge(124)
    mark.note_checkpoint(100)
    mark.note_checkpoint(99)
    assert high_water.read(file) == Mark(124, 100, True)
    mark.close()
    content = bytearray(high_water.mark_file(file).read_bytes())
    content[19] ^= 1
    high_water.mark_file(file).write_bytes(content)
    assert high_water.read(file) is None


async def test_an_older_main_file_under_a_newer_log_is_noticed(tmp_path: Path) -> None:
    data = await killed_folder(tmp_path)
    engine = await opened(data)
    await engine.close()
    older = (data / "indexes" / "docs.sqlite").read_bytes()
    engine = await opened(data)
    await engine.delete("docs", "a", Selection(ids=[f"r{n}" for n in range(200)]))
    await engine.close()
    engine = await opened(data)
    await engine.delete("docs", "a", Selection(ids=["r250"]))
    shutil.copytree(data, tmp_path / "killed")
    await engine.close()
    (tmp_path / "killed" / "indexes" / "docs.sqlite").write_bytes(older)
    engine = await opened(tmp_path / "killed")
    assert "without its log it ends at write 3, and had got to 4" in engine.unusable()["docs"].message
    await engine.close()


async def test_a_foreign_main_file_under_its_log_is_noticed(tmp_path: Path) -> None:
    data = await killed_folder(tmp_path)
    await (await opened(data)).close()
    engine = await opened(data)
    await engine.delete("docs", "a", Selection(ids=["r250"]))
    shutil.copytree(data, tmp_path / "killed")
    await engine.close()
    shutil.copy(data / "indexes" / "other.sqlite", tmp_path / "killed" / "indexes" / "docs.sqlite")
    engine = await opened(tmp_path / "killed")
    assert "holds the index other" in engine.unusable()["docs"].message
    await engine.close()


async def test_two_files_are_not_taken_for_each_other(tmp_path: Path) -> None:
    data = await killed_folder(tmp_path)
    await (await opened(data)).close()
    shutil.copy(data / "indexes" / "other.sqlite", data / "indexes" / "docs.sqlite")
    (data / "indexes" / "docs.lsn").unlink()
    engine = await opened(data)
    assert "or its log holds the index other" in engine.unusable()["docs"].message
    await engine.close()


async def test_check_finds_nothing_wrong_with_whole_folders(tmp_path: Path) -> None:
    closed, killed, _ = await make(tmp_path, ["docs", "large", "sparse"])
    for folder in (closed, killed):
        reports = list(check_folder(folder, []))
        assert [report.name for report in reports] == ["catalogue", "docs", "large", "sparse"]
        assert [report.problems for report in reports] == [[]] * 4


DERIVED = {
    "sum": "UPDATE vector_sums SET sum = zeroblob(length(sum))",
    "postings": "DELETE FROM postings WHERE record = 7",
    "words of texts": "DELETE FROM lexical WHERE rowid = 7",
    "sparse": "UPDATE sparse_postings SET weight = 9 WHERE record = 7",
    "learned": "UPDATE learned_sums SET sum = sum + 1 WHERE term = 7",
    "counts": "UPDATE namespaces SET record_count = record_count + 1",
    "numbers of words": "UPDATE records SET words = 99 WHERE record = 7",
    "token vectors": "INSERT OR REPLACE INTO token_vectors VALUES (7, x'0102')",
}


@pytest.mark.parametrize("what", DERIVED)
async def test_repair_makes_again_what_follows_from_the_stored_values(tmp_path: Path, what: str) -> None:
    name = "sparse" if what == "sparse" else "docs"
    engine = await opened(tmp_path)
    await engine.create_index(specs(name))
    await engine.upsert(name, "a", records(name, 0, 60))
    wanted = [(r.id, str(r)) for r in (await engine.page(name, "a", PagePlan(100))).records]
    await engine.close()
    file = tmp_path / "indexes" / f"{name}.sqlite"
    page_checksums.available()
    connection = apsw.Connection(str(file), vfs=page_checksums.CHECKED)
    connection.execute(DERIVED[what])
    connection.close()
    report = check_index(file)
    assert report.problems and report.repairable, report.problems
    assert any(what.split()[0] in problem.words for problem in report.problems), report.problems
    assert "made again with 60 records" in repair(tmp_path, report, accept=False)
    assert check_index(file).problems == [] and problems(file) == []
    engine = await opened(tmp_path)
    assert [(r.id, str(r)) for r in (await engine.page(name, "a", PagePlan(100))).records] == wanted
    await engine.upsert(name, "a", records(name, 50, 20))
    assert (await engine.namespace(name, "a")).record_count == 70
    await engine.close()
    assert problems(file) == []


STORED = {
    "vectors": "DELETE FROM vectors WHERE rowid = 7",
    "cannot be read": "UPDATE records SET metadata = 'x' WHERE record = 7",
    "learned": "UPDATE learned_vectors SET record = 9999 WHERE record = 7",
    "not there": "UPDATE records SET ns = 99 WHERE record = 7",
}


@pytest.mark.parametrize("what", STORED)
async def test_hurt_stored_values_are_named_and_not_made_up(tmp_path: Path, what: str) -> None:
    engine = await opened(tmp_path)
    await engine.create_index(specs("docs"))
    await engine.upsert("docs", "a", records("docs", 0, 60))
    await engine.close()
    file = tmp_path / "indexes" / "docs.sqlite"
    page_checksums.available()
    from pinyon.storage.sqlite.connection.database import connect

    connection = connect(file, 0, "write")
    connection.execute(STORED[what])
    connection.close()
    report = check_index(file)
    assert any(problem.kind == "stored" and what in problem.words for problem in report.problems), report.problems
    with pytest.raises(FailedPrecondition, match="restore DIR --index docs"):
        repair(tmp_path, report, accept=False)


async def test_pages_of_derived_tables_that_were_damaged_are_made_again(tmp_path: Path) -> None:
    engine = await opened(tmp_path)
    await engine.create_index(specs("docs"))
    await engine.upsert("docs", "a", records("docs", 0, 60))
    await engine.close()
    file = tmp_path / "indexes" / "docs.sqlite"
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'postings'").get
    connection.close()
    with file.open("r+b") as stream:
        stream.seek((page - 1) * 16_384)
        stream.write(bytes([0xA5]) * 16_384)
    report = check_index(file)
    assert f"page {page} first, of postings" in report.problems[0].words
    repair(tmp_path, report, accept=False)
    assert check_index(file).problems == []


async def test_a_folder_of_an_earlier_version_gets_checksums_when_it_is_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(page_checksums, "available", lambda: False)
        engine = await opened(tmp_path)
        await engine.create_index(IndexSpec("docs", 4, "cosine"))
        await engine.upsert("docs", "a", [Record("r1", np.ones(4, np.float32), {"n": 1})])
        await engine.close()
    file = tmp_path / "indexes" / "docs.sqlite"
    assert not page_checksums.file_has_room(file)
    assert any("have no checksums" in note for note in check_index(file).notes)
    engine = await opened(tmp_path)
    await engine.compact("docs")
    await engine.upsert("docs", "a", [Record("r2", np.ones(4, np.float32), {"n": 1})])
    await engine.close()
    assert page_checksums.file_has_room(file) and page_checksums.wrong_pages(file) == []
    assert page_checksums.file_has_room(tmp_path / "catalogue.sqlite"), "it is small, and was made over at the start"
    assert check_index(file) == type(check_index(file))("docs")


async def test_without_the_extension_a_file_with_checksums_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await killed_folder(tmp_path)
    monkeypatch.setattr(page_checksums, "available", lambda: False)
    with pytest.raises(FailedPrecondition, match="cksumvfs is missing"):
        await opened(tmp_path / "live")


LOADS_AND_DIES = """
import asyncio, os, sys
from pathlib import Path
from pinyon.storage.sqlite.ivf import ivf_index
from tests.durability.corruption import opened

ivf_index.IvfIndex.load = lambda *_: os.abort()

async def main():
    engine = await opened(Path(sys.argv[1]))
    await engine.upkeep_done()

asyncio.run(main())
"""


async def test_a_crash_while_an_inverted_file_is_loaded_happens_once(tmp_path: Path) -> None:
    closed, *_ = await make(tmp_path, ["large"])
    done = subprocess.run([sys.executable, "-c", LOADS_AND_DIES, str(closed)], capture_output=True, timeout=300)
    assert done.returncode == -6, done.stderr
    done = subprocess.run([sys.executable, "-c", LOADS_AND_DIES, str(closed)], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert b"the process ended while it was read before" in done.stderr


@pytest.mark.parametrize("suffix", ["ivf", "codes", "json"])
async def test_a_flipped_bit_of_an_inverted_file_is_noticed_before_it_is_read(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, *_ = await make(tmp_path, ["large"])
    (file,) = (closed / "indexes").glob(f"large.ns*.{suffix}")
    content = bytearray(file.read_bytes())
    content[min(182, len(content) // 2)] ^= 1
    file.write_bytes(content)
    assert [problem.kind for problem in check_index(closed / "indexes" / "large.sqlite").problems] == ["derived"]

    def never(*_: object) -> None:
        raise AssertionError("damaged bytes were handed to the library")

    monkeypatch.setattr("pinyon.storage.sqlite.ivf.ivf_index.IvfIndex.load", never)
    with caplog.at_level(logging.INFO):
        engine = await opened(closed, approximate_from=400)
        await engine.upkeep_done()
    assert "is searched by an inverted file" in caplog.text, "it was made again"
    assert "damaged bytes" not in caplog.text
    await engine.close()


async def test_repair_of_an_inverted_file_leaves_the_records_alone_and_goes_on_past_what_it_must_not_touch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed, *_ = await make(tmp_path, ["docs", "large"])
    connection = apsw.Connection(str(closed / "indexes" / "docs.sqlite"), vfs=page_checksums.CHECKED)
    connection.execute("UPDATE records SET metadata = 'x' WHERE record = 7")
    connection.close()
    (note,) = (closed / "indexes").glob("large.ns*.json")
    note.write_bytes(b"{}")
    content = (closed / "indexes" / "large.sqlite").read_bytes()
    assert main(["check", "--repair", "--data-dir", str(closed)]) == 1
    told = capsys.readouterr().out
    assert "left     Stored values of the index docs are damaged" in told
    assert "repaired removed the inverted files" in told
    assert (closed / "indexes" / "large.sqlite").read_bytes() == content
    assert check_index(closed / "indexes" / "large.sqlite").problems == []
    assert not (closed / "set-aside").exists()


def test_files_set_aside_have_names_that_say_when_and_why(tmp_path: Path) -> None:
    folder = DataDir(tmp_path)
    folder.index_file("docs").write_text("x")
    aside = folder.set_aside(folder.index_file("docs"), "says nothing")
    assert aside.name.endswith("-docs-says-nothing") and aside.name[:2] == "20"
    assert folder.set_aside_folders() == [aside.name]
    folder.close()


async def test_a_log_that_another_program_folded_is_told_from_a_damaged_file(tmp_path: Path) -> None:
    data = await killed_folder(tmp_path)
    for file in (data / "catalogue.sqlite", data / "indexes" / "docs.sqlite"):
        connection = sqlite3.connect(file)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        connection.close()  # the last one to close a file folds its log, and knows of no checksums
    engine = await opened(data)
    assert await values(engine) == VALUES, "the catalogue is made again with its values"
    with pytest.raises(DataLoss, match=r"perhaps sqlite3 or an earlier .* `pinyon check docs --accept`"):
        engine.index("docs")
    await engine.close()
    repair(data, check_index(data / "indexes" / "docs.sqlite"), accept=True)
    engine = await opened(data)
    assert (await engine.namespace("docs", "a")).record_count == 300
    assert await values(engine) == VALUES
    await engine.close()


@pytest.mark.parametrize("stops_at", [1, 2, 3, 4])
async def test_a_deletion_that_stops_anywhere_is_finished_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops_at: int
) -> None:
    """Also while another process reads the file, so that its log, which says that it is being deleted, stays."""
    monkeypatch.setattr(connections, "BUSY_MS", 100)  # how long the deletion waits for the reader
    data = await killed_folder(tmp_path)
    engine = await opened(data)
    reader = apsw.Connection(str(data / "indexes" / "docs.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN; SELECT count(*) FROM records").fetchall()
    removed = 0
    unlink = Path.unlink

    def some(path: Path, missing_ok: bool = False) -> None:
        nonlocal removed
        removed += path.exists()
        if removed >= stops_at:
            raise OSError("the power went")
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", some)
        await engine.delete_index("docs")
    shutil.copytree(data, tmp_path / "after")
    reader.close()
    await engine.close()
    engine = await opened(tmp_path / "after")
    assert [index.name for index in engine.indexes()] == ["other"]
    assert not engine.unusable()
    await engine.create_index(IndexSpec("docs", 4, "cosine"))
    await engine.close()


async def test_whatever_opening_an_index_raises_is_trouble_of_that_index_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = await killed_folder(tmp_path)
    real = index_files._update_words

    async def stumbles(database: object, spec: IndexSpec) -> None:
        if spec.name == "docs":
            raise AttributeError("'list' object has no attribute 'get'")
        await real(database, spec)  # type: ignore[arg-type]

    monkeypatch.setattr(index_files, "_update_words", stumbles)
    engine = await opened(data)
    assert [index.name for index in engine.indexes()] == ["other"]
    assert "opening it failed with AttributeError" in engine.unusable()["docs"].message
    await engine.close()


async def test_an_index_that_cannot_see_to_its_large_namespaces_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise Unavailable("The disk is full; nothing was written")

    data = await killed_folder(tmp_path)
    monkeypatch.setattr(UpkeepScheduler, "open", fails)
    engine = await opened(data)
    assert [index.name for index in engine.indexes()] == ["docs", "other"] and not engine.unusable()
    await engine.close()


async def test_a_file_from_before_indexes_had_an_id_is_repaired_and_gets_one(tmp_path: Path) -> None:
    engine = await opened(tmp_path)
    await engine.create_index(specs("docs"))
    await engine.upsert("docs", "a", records("docs", 0, 60))
    await engine.close()
    file = tmp_path / "indexes" / "docs.sqlite"
    page_checksums.available()
    connection = apsw.Connection(str(file), vfs=page_checksums.CHECKED)
    connection.execute("ALTER TABLE state DROP COLUMN id; ALTER TABLE state DROP COLUMN version")
    connection.pragma("user_version", migrations.STEP_OF_INDEX_ID - 1)
    connection.close()
    target = tmp_path / "rebuilt.sqlite"
    assert rebuilding.rebuild(file, target) == 60
    connection = apsw.Connection(str(target), vfs=page_checksums.CHECKED)
    id, version = connection.execute("SELECT id, version FROM state").get
    connection.close()
    assert id and version == 1
