"""The index of words in a file: whole, and brought up to date in files of earlier versions."""

from pathlib import Path

import apsw
import pytest
from pinyon.domain import QueryPlan, Selection
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.schema import migrations, tables, vector_tables

from tests.storage.lexical_reference import SPEC, assert_ranked, record, reference, vector

pytestmark = pytest.mark.anyio


async def test_texts_of_a_file_of_an_earlier_version_are_found(tmp_path: Path) -> None:
    file = tmp_path / "indexes" / "docs.sqlite"
    file.parent.mkdir()
    connection = connect(file, 0, "write")
    connection.execute("PRAGMA journal_mode = WAL")
    migrations.migrate(connection, migrations.STEPS[:4])
    connection.execute("INSERT INTO state (only, spec, details) VALUES (1, ?, '{}')", (tables.to_json(SPEC),))
    vector_tables.create_vectors(connection, SPEC.dimension, SPEC.metric)
    connection.execute("INSERT INTO namespaces (name, record_count) VALUES ('a', 2)")
    for n, text in ((1, "an apple"), (2, "a pear")):
        fields = tables.to_json({"text": text})
        connection.execute("INSERT INTO records (record, ns, id, metadata) VALUES (?, 1, ?, ?)", (n, f"r{n}", fields))
        values = "INSERT INTO vectors (rowid, ns, embedding) VALUES (?, 1, ?)"
        connection.execute(values, (n, vector(n).tobytes()))
    connection.close()
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    matches = (await engine.query("docs", "a", QueryPlan(3, text="apples"))).matches
    assert_ranked(matches, reference({"r1": {"text": "an apple"}, "r2": {"text": "a pear"}}, "apples"), 3)
    await engine.close()


async def test_the_index_agrees_with_the_texts_and_is_whole(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record(f"r{n}", {"text": f"number {n} apple"}) for n in range(50)])
    await engine.upsert("docs", "a", [record(f"r{n}", {"text": f"changed {n}"}) for n in range(0, 50, 2)])
    await engine.delete("docs", "a", Selection(ids=[f"r{n}" for n in range(10)]))
    await engine.delete_namespace("docs", "a")
    await engine.upsert("docs", "b", [record("r1", {"text": "apple"}), record("r2", {"no text": 1})])
    await engine.close()
    connection = apsw.Connection(str(tmp_path / "indexes" / "docs.sqlite"))
    connection.execute("INSERT INTO lexical (lexical) VALUES ('integrity-check')")
    assert connection.execute("SELECT name, texts, words FROM namespaces").fetchall() == [("b", 1, 1)]
    assert connection.execute("SELECT count(*) FROM lexical_instances").get == 1
    connection.close()


async def test_a_file_of_an_earlier_analysis_is_brought_up_at_a_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(SPEC)
    monkeypatch.setattr("pinyon.search.text.terms.terms", lambda text, language: text.split())
    await engine.upsert("docs", "a", [record("r1", {"text": "猫と犬"})])
    monkeypatch.undo()
    assert (await engine.query("docs", "a", QueryPlan(10, text="猫"))).matches == []
    await engine.close()
    connection = connect(tmp_path / "indexes" / "docs.sqlite", 0, "write")
    connection.execute("UPDATE state SET analysis = 0")
    connection.close()
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    assert len((await engine.query("docs", "a", QueryPlan(10, text="猫"))).matches) == 1
    assert "the words of index docs are brought up to date: 1 of 1 texts" in caplog.text
    await engine.close()
