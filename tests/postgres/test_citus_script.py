"""The script for Citus: what plain PostgreSQL can run of it, and what Citus demands of the tables.

There is no Citus to run it on. Functions and a view in a schema of the test's own stand for those of Citus, and record
what they are called with.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from pinyon.domain import IndexSpec
from pinyon.storage.postgres.schema.citus import DISTRIBUTED, OF_NAMESPACES, OF_RECORDS, ON_COORDINATOR, SETTING, script
from pinyon.storage.postgres.schema.migrations import INDEX_TABLES, index_schema

from tests.postgres.shared_server import open_postgres, schema_of, shared

STAND_IN = """
    CREATE SCHEMA citus_stand_in;
    SET search_path TO citus_stand_in, public;
    CREATE TABLE calls (place integer GENERATED ALWAYS AS IDENTITY, table_name regclass, by text, beside text);
    CREATE VIEW citus_tables AS SELECT table_name FROM calls;
    CREATE FUNCTION create_distributed_table(
        table_name regclass, distribution_column text, distribution_type text DEFAULT 'hash',
        colocate_with text DEFAULT 'default', shard_count integer DEFAULT NULL
    ) RETURNS void LANGUAGE sql AS 'INSERT INTO calls (table_name, by, beside) VALUES ($1, $2, $4)';
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The schema of an index."""
    folder = tmp_path_factory.mktemp("index")

    async def create() -> None:
        engine = await open_postgres(folder)
        await engine.create_index(IndexSpec("docs", 3, "cosine"))
        await engine.close()

    asyncio.run(create())
    return index_schema(schema_of(folder), 1)


@pytest.fixture
def connection() -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A connection whose changes are undone, with the stand-in for Citus."""
    with psycopg.connect(shared().dsn) as connection:
        connection.execute(STAND_IN)
        yield connection
        connection.rollback()


def test_every_table_of_an_index_is_distributed_or_stays_on_the_coordinator(index: str) -> None:
    tables = shared().execute(f"SELECT tablename FROM pg_tables WHERE schemaname = '{index}'")
    assert sorted((*DISTRIBUTED, *ON_COORDINATOR)) == sorted(name for (name,) in tables)
    assert sorted((*DISTRIBUTED, *ON_COORDINATOR)) == sorted(INDEX_TABLES)


def test_the_script_runs_and_puts_every_table_beside_the_records(
    index: str, connection: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    for _ in range(2):  # what is distributed already is left out
        connection.execute(script("postgres", [index]))
    calls = connection.execute("SELECT table_name::text, by, beside FROM calls ORDER BY place").fetchall()
    beside = ["none", *[f'"{index}"."records"'] * (len(DISTRIBUTED) - 1)]
    assert calls == [(f"{index}.{table}", "ns", other) for table, other in zip(DISTRIBUTED, beside, strict=True)]
    settings = connection.execute("SELECT unnest(setconfig) FROM pg_db_role_setting").fetchall()
    assert (f"{SETTING}=local",) in settings


def test_all_unique_keys_of_distributed_tables_contain_the_distribution_column(index: str) -> None:
    keys = shared().execute(
        "SELECT relname, bool_and(EXISTS (SELECT FROM pg_attribute WHERE attrelid = indrelid AND attname = 'ns'"
        " AND attnum = ANY(indkey))) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid"
        f" WHERE relnamespace = '{index}'::regnamespace AND indisunique GROUP BY relname"
    )
    assert {name for name, has_namespace in keys if has_namespace} >= set(DISTRIBUTED)


def test_distributed_tables_have_nothing_that_citus_refuses(index: str) -> None:
    columns = shared().execute(
        "SELECT relname, attname, atttypid::regtype::text, attnotnull, attgenerated, attidentity FROM pg_attribute"
        f" JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = '{index}'::regnamespace AND relkind = 'r'"
        " AND attnum > 0 AND NOT attisdropped"
    )
    of_distributed = [column for column in columns if column[0] in DISTRIBUTED]
    assert {(name, kind, needed) for name, column, kind, needed, *_ in of_distributed if column == "ns"} == {
        (table, "bigint", True) for table in DISTRIBUTED
    }, "tables are put beside each other by columns of one type"
    assert not [column for column in of_distributed if column[4] or column[5]], "generated or identity"
    others = shared().execute(
        "SELECT conrelid::regclass::text, contype FROM pg_constraint"
        f" WHERE connamespace = '{index}'::regnamespace AND contype IN ('f', 'x', 't')"
    )
    assert others == [], "foreign keys, exclusion constraints and triggers"


def test_rows_of_single_records_are_known_by_the_number_of_the_record(index: str) -> None:
    """They are divided among the buckets of a namespace, so division() must know them."""
    tables = shared().execute(
        "SELECT relname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        f" WHERE relnamespace = '{index}'::regnamespace AND relkind = 'r' AND attname = 'record'"
    )
    assert {name for (name,) in tables} == set(OF_RECORDS) == set(DISTRIBUTED) - set(OF_NAMESPACES)


def test_the_command_prints_the_divisions_first_and_says_that_nobody_ran_it_on_citus() -> None:
    command = [sys.executable, "-m", "pinyon.storage.postgres.schema.citus", "db", "pinyon_1"]
    printed = subprocess.run(
        [*command, "--divide", "pinyon_1", "it's", "64"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()
    assert printed[0].startswith("-- NOT RUN ON CITUS")
    assert printed.index("COMMIT;") < next(n for n, line in enumerate(printed) if "create_distributed_table" in line)
    assert any("UPDATE" in line and "SET buckets = 64 WHERE name = 'it''s'" in line for line in printed)
