"""Backups of single indexes: one moment of an index, which outlasts it and becomes another one."""

import asyncio
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from pinyon import failpoints, filters
from pinyon.domain import (
    DEFAULT_NAMESPACE,
    BackupLabel,
    EmbedSpec,
    Fingerprint,
    IndexDetails,
    IndexSpec,
    Note,
    PagePlan,
    Record,
    Selection,
)
from pinyon.errors import AlreadyExists, NotFound, PermissionDenied
from pinyon.storage.engine import Engine

from tests.storage.engines import EngineKind, every_engine

pytestmark = [pytest.mark.anyio, every_engine]
SPEC = IndexSpec("docs", 3, "cosine", EmbedSpec("m", "text"))
EMBEDDED_BY = Fingerprint("m", "m", "1", "mean", "", "", 3)


def label(number: int = 1) -> BackupLabel:
    return BackupLabel(str(uuid4()), f"2026-01-01T00:00:{number:02}Z", f"copy {number}", "before the change")


def records(first: int, last: int) -> list[Record]:
    return [Record(f"r{n}", np.float32([n, 1, 0]), {"text": f"number {n}"}) for n in range(first, last)]


async def ids(engine: Engine, index: str, namespace: str = DEFAULT_NAMESPACE) -> list[str]:
    return [record.id for record in (await engine.page(index, namespace, PagePlan(100, Selection()))).records]


async def filled(kind: EngineKind, folder: Path) -> Engine:
    engine = await kind.open(folder)
    await engine.create_index(SPEC, IndexDetails(tags={"a": "b"}))
    await engine.upsert("docs", DEFAULT_NAMESPACE, records(0, 5), EMBEDDED_BY)
    await engine.upsert("docs", "other", records(5, 7), EMBEDDED_BY)
    return engine


async def test_a_backup_is_one_moment_and_becomes_an_index_of_its_own(kind: EngineKind, tmp_path: Path) -> None:
    engine = await filled(kind, tmp_path)
    await engine.put_note("docs", Note("import", "half"))
    backup = await engine.create_backup("docs", label())
    assert (backup.records, backup.namespaces, backup.index, backup.embedded_by) == (
        7,
        2,
        engine.index("docs"),
        EMBEDDED_BY,
    )
    assert backup.bytes > 0
    assert await engine.backups() == [backup]
    await engine.delete("docs", DEFAULT_NAMESPACE, Selection())
    await engine.upsert("docs", DEFAULT_NAMESPACE, records(90, 91), EMBEDDED_BY)

    restored = await engine.restore_backup(backup.label.id, "again", "an-id", IndexDetails(tags={"c": "d"}))
    assert (restored.name, restored.handle.id, restored.version) == ("again", "an-id", 1)
    assert (restored.spec.embed, restored.details.tags) == (SPEC.embed, {"c": "d"})
    assert engine.index("again") == restored
    assert await engine.notes("again") == [], "what was being done to the index is not done to its copy"
    assert await ids(engine, "again") == [f"r{n}" for n in range(5)]
    assert await ids(engine, "again", "other") == ["r5", "r6"]
    assert await ids(engine, "docs") == ["r90"], "the index itself is as it was"
    assert await engine.fingerprint("again") == EMBEDDED_BY
    await engine.upsert("again", "more", records(7, 8), EMBEDDED_BY)
    await engine.delete_index("docs")
    await engine.close()

    engine = await kind.open(tmp_path)
    assert await engine.backups() == [backup], "a backup outlasts its index, and a restart"
    assert [index.name for index in engine.indexes()] == ["again"]
    assert await ids(engine, "again", "more") == ["r7"]
    assert [record.id for record in (await engine.page("again", "other", PagePlan(9, Selection()))).records]
    await engine.close()
    assert kind.problems(tmp_path, "again") == []


async def test_writes_go_on_while_a_backup_is_taken(kind: EngineKind, tmp_path: Path) -> None:
    engine = await filled(kind, tmp_path)
    lsns: list[int] = []

    async def write() -> None:
        for n in range(100, 130):
            lsns.append(await engine.upsert("docs", "w", records(n, n + 1), EMBEDDED_BY))

    writing = asyncio.create_task(write())
    backups = [await engine.create_backup("docs", label(number)) for number in range(4)]
    await writing
    before = 2
    for backup in backups:
        assert backup.records == 7 + backup.lsn - before, "every write up to its LSN, and none after it"
    assert await engine.backups() == backups
    await engine.close()


async def test_backups_can_be_deleted_and_unknown_ones_are_not_found(kind: EngineKind, tmp_path: Path) -> None:
    engine = await filled(kind, tmp_path)
    first, second = [await engine.create_backup("docs", label(number)) for number in (1, 2)]
    await engine.delete_backup(first.label.id)
    assert await engine.backups() == [second]
    for unknown in (first.label.id, "", ".", "..", "../indexes", f"{second.label.id}/"):
        with pytest.raises(NotFound):
            await engine.delete_backup(unknown)
        with pytest.raises(NotFound):
            await engine.restore_backup(unknown, "again", "id", IndexDetails())
    with pytest.raises(NotFound):
        await engine.create_backup("nothing", label())
    with pytest.raises(AlreadyExists):
        await engine.restore_backup(second.label.id, "docs", "id", IndexDetails())
    assert [index.name for index in engine.indexes()] == ["docs"]
    await engine.close()


async def test_a_second_backup_with_the_same_id_is_refused_and_the_first_stays(
    kind: EngineKind, tmp_path: Path
) -> None:
    engine = await filled(kind, tmp_path)
    first = await engine.create_backup("docs", label())
    await engine.delete("docs", DEFAULT_NAMESPACE, Selection())
    with pytest.raises(AlreadyExists, match=first.label.id):
        await engine.create_backup("docs", first.label)
    assert await engine.backups() == [first]
    assert [each.record_count for each in await engine.backup_namespaces(first.label.id)] == [5, 2]
    await engine.close()


async def test_what_is_not_finished_is_absent(kind: EngineKind, tmp_path: Path) -> None:
    engine = await filled(kind, tmp_path)

    def fail() -> None:
        raise OSError(28, "No space left on device")

    failpoints.arm("copied", fail)
    try:
        with pytest.raises(Exception, match="No space left on device"):
            await engine.create_backup("docs", label())
    finally:
        failpoints.disarm()
    assert await engine.backups() == []
    await engine.upsert("docs", "n", records(8, 9), EMBEDDED_BY)
    await engine.close()


async def test_a_read_only_engine_lists_backups_and_makes_none(kind: EngineKind, tmp_path: Path) -> None:
    engine = await filled(kind, tmp_path)
    backup = await engine.create_backup("docs", label())
    await engine.close()
    reader = await kind.open_to_read(tmp_path)
    assert await reader.backups() == [backup]
    with pytest.raises(PermissionDenied):
        await reader.create_backup("docs", label())
    with pytest.raises(PermissionDenied):
        await reader.delete_backup(backup.label.id)
    with pytest.raises(PermissionDenied):
        await reader.restore_backup(backup.label.id, "again", "id", IndexDetails())
    await reader.close()


async def test_the_records_of_a_backup_are_read_as_they_were_page_by_page(kind: EngineKind, tmp_path: Path) -> None:
    engine = await filled(kind, tmp_path)
    backup = await engine.create_backup("docs", label())
    await engine.delete("docs", DEFAULT_NAMESPACE, Selection())
    namespaces = await engine.backup_namespaces(backup.label.id)
    assert [(each.name, each.record_count) for each in namespaces] == [(DEFAULT_NAMESPACE, 5), ("other", 2)]
    first = await engine.backup_page(backup.label.id, DEFAULT_NAMESPACE, PagePlan(3))
    second = await engine.backup_page(backup.label.id, DEFAULT_NAMESPACE, PagePlan(3, after=first.records[-1].id))
    assert (first.more, second.more) == (True, False)
    read = [*first.records, *second.records]
    assert [(each.id, each.metadata) for each in read] == [(each.id, each.metadata) for each in records(0, 5)]
    for each, stored in zip(read, records(0, 5), strict=True):
        assert each.vector is not None
        assert stored.vector is not None
        assert each.vector.tobytes() == stored.vector.tobytes()
    wanted = Selection(filter=filters.parse({"text": "number 6"}))
    assert [each.id for each in (await engine.backup_page(backup.label.id, "other", PagePlan(3, wanted))).records] == [
        "r6"
    ]
    assert (await engine.backup_page(backup.label.id, "none", PagePlan(3))).records == []
    with pytest.raises(NotFound):
        await engine.backup_namespaces("none")
    await engine.close()
