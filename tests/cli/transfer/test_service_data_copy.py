"""`pinyon copy` between data folders and databases takes API keys, judgements and measurements along."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pinyon.auth.stored_keys import StoredKey, digest
from pinyon.cli.transfer.installations import job
from pinyon.cli.transfer.installations.service_data import stores_of
from pinyon.services.judgements import stored_measurements
from pinyon.services.judgements.files import JudgedQuery
from pinyon.services.judgements.stored_measurements import Interval, Measurement, Quality
from pinyon.settings import StorageSettings

from tests.cli.transfer.commands import Pinyon
from tests.cli.transfer.installations import filled, interrupted, open_folder, settings_file
from tests.postgres.shared_server import open_postgres

JUDGED = {
    "a": {
        "1": JudgedQuery("1", "line\nbreak", {"r1": 1, "r 'x'": 0}),
        "0": JudgedQuery("0", "second", {"r2": 1}),
    },
    "a/b": {"2": JudgedQuery("2", "third", {"r3": 1})},
}
ENDED = Measurement(
    "a", "2026-01-02T03:04:05.000000Z", 2, 4, 4, False, None,
    [Quality("dense", Interval(0.5, 0.1, 1.0), 1.0, None, "", ["m"])],
)  # fmt: skip
RUNNING = msgspec.structs.replace(ENDED, namespace="ü", running=True, qualities=[])


def secret(pinyon: Pinyon, folder: Path, name: str, *options: str) -> str:
    """A new key of a data folder."""
    return pinyon.ok("keys", "create", name, "--data-dir", folder, *options).out.strip()


async def judge(folder: Path) -> None:
    """Store judgements and measurements in a data folder."""
    engine = await open_folder(folder)
    judgements = stores_of(StorageSettings(data_dir=str(folder)), None).judgements
    for namespace, queries in JUDGED.items():
        await judgements.write("mixed", namespace, queries, 0)
    for measurement in (ENDED, RUNNING):
        await engine.put_note("mixed", measurement.note(None))
    await engine.close()


class Stored(msgspec.Struct):
    """What services have stored in an installation."""

    keys: list[StoredKey]
    judged: dict[str, list[JudgedQuery]]
    measured: list[Measurement | None]


def stored(folder: Path, in_database: bool = False, index: str = "mixed") -> Stored:
    async def run() -> Stored:
        engine: Any = await (open_postgres if in_database else open_folder)(folder)
        stores = stores_of(StorageSettings(data_dir=str(folder)), engine.files)
        judged = {
            name: list((await stores.judgements.read(index, name))[0].values())
            for name in await stores.judgements.namespaces(index)
        }
        notes = await engine.notes(index)
        measured = [stored_measurements.of_namespace(notes, each.namespace) for each in (ENDED, RUNNING)]
        keys = await stores.keys.stored()
        await engine.close()
        return Stored(keys, judged, measured)

    return asyncio.run(run())


def test_keys_judgements_and_measurements_come_along_in_both_directions(pinyon: Pinyon, tmp_path: Path) -> None:
    source, database, back = filled(tmp_path / "data"), tmp_path / "database", tmp_path / "back"
    asyncio.run(judge(source))
    keys = [secret(pinyon, source, "all"), secret(pinyon, source, "some", "--index", "mixed", "--scope", "read")]
    for start, target in ((source, settings_file(database)), (settings_file(database), back)):
        told = pinyon.ok("copy", "--from", start, "--to", target)
        assert "Copied 2 API keys, 3 judged queries and 1 measurement." in told.out
        assert "Not copied: ports," in told.out
        assert not any(key in told.out + told.err for key in keys)
    wanted = stored(source)
    assert [key.sha256 for key in wanted.keys] == [digest(key) for key in keys]
    assert wanted.judged == {name: list(queries.values()) for name, queries in JUDGED.items()}
    assert wanted.measured == [ENDED, RUNNING]
    wanted.measured = [ENDED, None]  # one that runs is not copied
    assert stored(database, in_database=True) == wanted
    assert stored(back) == wanted


def test_a_key_that_is_revoked_while_a_copy_is_interrupted_is_not_valid_in_the_target(
    pinyon: Pinyon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "PAGE", 2)
    source, target = filled(tmp_path / "data"), tmp_path / "copy"
    for name in ("old", "kept"):
        secret(pinyon, source, name)
    interrupted(pinyon, monkeypatch, source, target)
    assert [key.name for key in stored(target).keys] == ["old", "kept"], "before the records, so that nobody reads them"
    pinyon.ok("keys", "revoke", "old", "--data-dir", source)
    secret(pinyon, source, "new")
    pinyon.ok("copy", "--from", source, "--to", target, "--resume")
    assert stored(target).keys == stored(source).keys


def test_keys_are_copied_only_where_they_open_nothing_else(pinyon: Pinyon, tmp_path: Path) -> None:
    source, target = filled(tmp_path / "data"), filled(tmp_path / "copy", {"terms": {}})
    secret(pinyon, source, "all")
    pinyon.ok("copy", "--from", source, "--to", target, "--index", "texts")
    assert stored(target, index="texts").keys == [], "a copy of one index has no keys"
    other = filled(tmp_path / "other", {"mixed": {}})
    secret(pinyon, other, "all")
    refused = pinyon("copy", "--from", other, "--to", target)
    assert (refused.status, "the key all of the source would be valid for them too" in refused.err) == (1, True)
    told = pinyon.ok("copy", "--from", other, "--to", target, "--without-keys").out
    assert "Not copied: API keys, ports" in told
    assert stored(target).keys == []
    named_alike = filled(tmp_path / "empty", {})
    secret(pinyon, named_alike, "all")
    refused = pinyon("copy", "--from", other, "--to", named_alike)
    assert (refused.status, "There is another key named all already" in refused.err) == (1, True)
    assert (
        "--without-keys is for copies between"
        in pinyon("copy", "--from", "localhost:1", "--to", "localhost:2", "--without-keys").err
    )
