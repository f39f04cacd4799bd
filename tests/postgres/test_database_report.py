"""What `pinyon doctor` says about a database, and which databases a start refuses."""

from pathlib import Path

import psycopg
import pytest
from pinyon.errors import FailedPrecondition
from pinyon.settings import StorageSettings
from pinyon.storage.installation import Finding
from pinyon.storage.postgres import server_check
from pinyon.storage.postgres.database_report import findings

from tests.postgres.shared_server import open_postgres, schema_of, shared

pytestmark = pytest.mark.anyio


def settings(folder: Path, **more: object) -> StorageSettings:
    return StorageSettings(**{"engine": "postgres", "dsn": shared().dsn, "schema": schema_of(folder), **more})  # type: ignore[arg-type]


def about(told: list[Finding], subject: str) -> list[Finding]:
    return [finding for finding in told if finding.subject == subject]


async def test_an_empty_database_can_be_used_and_is_left_empty(tmp_path: Path) -> None:
    told = await findings(settings(tmp_path))
    assert not [finding for finding in told if finding.level == "FAIL"]
    assert about(told, "data")[0].message.endswith("yet; the first start makes it")
    with psycopg.connect(shared().dsn) as connection:
        row = connection.execute("SELECT to_regnamespace(%s)", (schema_of(tmp_path),)).fetchone()
        assert row == (None,)


async def test_the_tables_the_room_for_processes_and_unsafe_settings_are_told(tmp_path: Path) -> None:
    await (await open_postgres(tmp_path)).close()
    told = await findings(settings(tmp_path, connections=95))
    assert about(told, "tables")[0].level == "ok"
    assert "so there is room for 3 processes" in about(told, "connections")[0].message  # 297 of 300, with 97 each
    assert "fsync is off: a power cut can destroy the database" in [each.message for each in about(told, "durability")]
    assert "shared_buffers is 64 MB" in about(told, "memory")[0].message
    assert about(await findings(settings(tmp_path, connections=400)), "connections")[0].level == "FAIL"


async def test_tables_of_a_later_version_are_told(tmp_path: Path) -> None:
    await (await open_postgres(tmp_path)).close()
    shared().execute(f"INSERT INTO {schema_of(tmp_path)}.catalogue_steps VALUES (999)")
    (finding,) = about(await findings(settings(tmp_path)), "tables")
    assert (finding.level, finding.message.partition(":")[0]) == ("FAIL", "a later Pinyon made them")


async def test_a_role_that_may_not_make_schemas_is_told_what_to_grant(tmp_path: Path) -> None:
    shared().execute("CREATE ROLE reader LOGIN")
    (finding,) = about(
        await findings(settings(tmp_path, dsn=shared().dsn.replace("user=postgres", "user=reader"))), "rights"
    )
    assert finding.level == "FAIL"
    assert finding.message.endswith("GRANT CREATE ON DATABASE postgres TO reader")


@pytest.mark.parametrize(
    ("version", "safe"), [("0.8.3", False), ("0.8.4", True), ("0.8.10", True), ("0.9", True), ("1.0.0", True)]
)
def test_a_pgvector_that_damages_indexes_is_not_safe(version: str, safe: bool) -> None:
    assert server_check.is_safe(version) == safe


async def test_a_start_refuses_an_older_pgvector_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_check, "OLDEST_PGVECTOR", (99, 0, 0))
    sentence = r"which can damage an index; Pinyon needs 99.0.0 or later: update it, then run ALTER EXTENSION"
    with pytest.raises(FailedPrecondition, match=sentence):
        await open_postgres(tmp_path)
    (failure,) = [each for each in await findings(settings(tmp_path)) if each.level == "FAIL"]
    assert "which can damage an index" in failure.message


async def test_a_database_of_another_encoding_is_refused(tmp_path: Path) -> None:
    shared().execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    dsn = shared().dsn.replace("dbname=postgres", "dbname=ascii")
    (failure,) = [each for each in await findings(settings(tmp_path, dsn=dsn)) if each.level == "FAIL"]
    assert failure.message.startswith("The database has the encoding SQL_ASCII; Pinyon needs UTF8")
