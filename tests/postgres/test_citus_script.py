"""The script for Citus names every table of an index. Nothing here runs it: there is no Citus to run it on."""

import asyncio
from pathlib import Path

from pinyon.domain import IndexSpec
from pinyon.storage.postgres.schema.citus import DISTRIBUTED, ON_COORDINATOR, script
from pinyon.storage.postgres.schema.migrations import INDEX_TABLES

from tests.postgres.shared_server import open_postgres, schema_of, shared


def test_every_table_of_an_index_is_distributed_or_stays_on_the_coordinator() -> None:
    assert sorted((*DISTRIBUTED, *ON_COORDINATOR)) == sorted(INDEX_TABLES)


def test_all_keys_of_distributed_tables_contain_the_namespace(tmp_path: Path) -> None:
    """Citus asks for it."""

    async def run() -> None:
        engine = await open_postgres(tmp_path)
        await engine.create_index(IndexSpec("docs", 3, "cosine"))
        await engine.close()

    asyncio.run(run())
    keys = shared().execute(
        "SELECT relname, bool_and(EXISTS (SELECT FROM pg_attribute WHERE attrelid = indrelid AND attname = 'ns'"
        " AND attnum = ANY(indkey))) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid"
        f" WHERE relnamespace = '{schema_of(tmp_path)}_1'::regnamespace AND indisunique GROUP BY relname"
    )
    assert {name for name, has_namespace in keys if has_namespace} >= set(DISTRIBUTED)


def test_the_script_begins_with_the_table_that_the_others_are_beside() -> None:
    lines = script("db", ["pinyon_1"]).splitlines()
    assert len(lines) == 1 + len(DISTRIBUTED)
    assert """'"pinyon_1"."records"', 'ns', colocate_with => 'none'""" in lines[1]
    assert all("""colocate_with => '"pinyon_1"."records"'""" in line for line in lines[2:])
