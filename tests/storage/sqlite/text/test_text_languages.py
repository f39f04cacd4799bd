"""Lexical retrieval of texts in several languages: every word is found after any writes, and the counts stay exact."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon.domain import EmbedSpec, QueryPlan, Selection, UpdatePlan
from pinyon.search.text.analysis import language_of_word, stop_words
from pinyon.search.text.terms import tokens
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.text import lexical
from pinyon.storage.sqlite.upkeep import checking
from pinyon.storage.sqlite.upkeep.folder_check import check_index, repair

from tests.examples import examples
from tests.storage.lexical_reference import SPEC, assert_ranked, record, reference, vector
from tests.storage.sqlite.index_file import with_file

pytestmark = pytest.mark.anyio

AUTO = msgspec.structs.replace(SPEC, embed=EmbedSpec("any", "text", language="auto"))
SENTENCES = [
    "Die Häuser stehen an dem Fluss und nicht in der Stadt",
    "Neue Häuser",
    "The houses are on the river",
    "new houses",
    "Les maisons sont dans la ville avec des arbres",
    "Дома стоят на реке",
    "東京タワー",
    "ภาษาไทยง่าย",
    "the",
    "",
]
LANGUAGE_OPERATION = st.one_of(
    st.tuples(st.just("upsert"), st.integers(0, 5), st.sampled_from(SENTENCES)),
    st.tuples(st.just("update"), st.integers(0, 5), st.sampled_from(SENTENCES)),
    st.tuples(st.just("delete"), st.integers(0, 5), st.none()),
    st.tuples(st.just("delete all"), st.none(), st.none()),
    st.tuples(st.just("rebuild"), st.none(), st.none()),
)


@settings(max_examples=examples(20))
@given(operations=st.lists(LANGUAGE_OPERATION, min_size=1, max_size=12))
def test_after_any_operations_texts_of_each_language_are_found_by_their_words(
    operations: list[tuple[str, int, Any]],
) -> None:
    async def run(folder: str) -> dict[str, str]:
        engine = await SqliteEngine.open_folder(Path(folder), 1, 0)
        await engine.create_index(AUTO)
        texts: dict[str, str] = {}
        for what, n, text in operations:
            id = f"r{n}"
            if what == "upsert":
                texts[id] = text
                await engine.upsert("docs", "a", [record(id, {"text": text})])
            elif what == "update" and id in texts:
                texts[id] = text
                await engine.update("docs", "a", UpdatePlan(Selection(ids=[id]), metadata={"text": text}))
            elif what == "delete" and texts:
                texts.pop(id, None)
                await engine.delete("docs", "a", Selection(ids=[id]))
            elif what == "delete all" and texts:
                texts.clear()
                await engine.delete("docs", "a", Selection())
            elif what == "rebuild":
                await engine._opened["docs"].database.write(lambda connection: lexical.rebuild(connection, AUTO))
        languages: dict[str, str] = with_file(
            Path(folder), "docs", lambda connection: dict(connection.execute("SELECT id, language FROM records"))
        )
        for id, text in texts.items():
            for word in set(tokens(text)[1]):
                if word in stop_words(language_of_word(word, languages[id])):
                    continue
                for plan in (QueryPlan(9, text=word), QueryPlan(9, vector(0), text=word)):
                    matches = (await engine.query("docs", "a", plan)).matches
                    match = next(match for match in matches if match.id == id)
                    assert match.parts is None or match.parts.lexical, (word, text)
        await engine.close()
        return texts

    with tempfile.TemporaryDirectory() as folder:
        texts = asyncio.run(run(folder))
        connection = connect(Path(folder) / "indexes" / "docs.sqlite", 0, "write")
        assert checking.problems(connection) == []
        assert connection.execute("SELECT coalesce(sum(texts), 0) FROM text_languages").get == len(texts)
        connection.close()


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE records SET language = 'french' WHERE id = 'r1'", "words of texts"),
        ("UPDATE records SET certain = 1 WHERE id = 'r1'", "numbers of words"),
        ("UPDATE records SET language = NULL WHERE id = 'r0'", "numbers of words"),
        ("UPDATE text_languages SET texts = texts + 1", "languages of texts"),
        ("DELETE FROM text_languages", "languages of texts"),
    ],
)
async def test_a_check_finds_wrong_languages_and_a_repair_makes_them_again(
    tmp_path: Path, damage: str, found: str
) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(AUTO)
    await engine.upsert("docs", "a", [record(f"r{n}", {"text": text}) for n, text in enumerate(SENTENCES)])
    await engine.close()
    file = tmp_path / "indexes" / "docs.sqlite"
    connection = connect(file, 0, "write")
    connection.execute(damage)
    kinds = {problem.kind for problem in checking.problems(connection)}
    sentences = " ".join(problem.words for problem in checking.problems(connection))
    connection.close()
    assert kinds == {"derived"} and found in sentences
    assert "made again with 10 records" in repair(tmp_path, check_index(file), accept=False)
    assert check_index(file).problems == []


async def test_a_change_of_language_indexes_the_texts_again_and_back(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record(f"r{n}", {"text": text}) for n, text in enumerate(SENTENCES)])

    async def ids(query: str) -> list[str]:
        return [match.id for match in (await engine.query("docs", "a", QueryPlan(3, text=query))).matches]

    async def set_language(language: str) -> None:
        index = engine.index("docs")
        spec = msgspec.structs.replace(SPEC, embed=EmbedSpec("any", "text", language=language))
        await engine.configure_index(msgspec.structs.replace(index, spec=spec))

    assert await ids("Haus") == []
    await set_language("auto")
    assert await ids("Haus") == ["r0"]
    await set_language("english")
    assert await ids("Haus") == []
    await engine.close()
    connection = connect(tmp_path / "indexes" / "docs.sqlite", 0, "write")
    assert checking.problems(connection) == []
    assert connection.execute("SELECT count(*) FROM text_languages").get == 0
    connection.close()


async def test_an_index_from_before_languages_were_detected_answers_as_before(tmp_path: Path) -> None:
    rows = {"r1": {"text": "die Häuser und der Fluss"}, "r2": {"text": "the houses are on the rivers"}}
    file = tmp_path / "indexes" / "docs.sqlite"
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record(id, fields) for id, fields in rows.items()])
    await engine.close()
    connection = connect(file, 0, "write")
    connection.execute("DROP TABLE notes; DROP TABLE token_vectors; ALTER TABLE reembedded DROP COLUMN token_codes")
    connection.execute("DROP TABLE learned_vectors; DROP TABLE learned_sums")
    connection.execute("ALTER TABLE namespaces DROP COLUMN learned; ALTER TABLE reembedded DROP COLUMN learned")
    connection.execute("DROP TABLE text_languages")
    connection.execute("ALTER TABLE records DROP COLUMN certain")
    connection.execute("ALTER TABLE records DROP COLUMN language")
    connection.execute("UPDATE state SET spec = json_remove(spec, '$.embed.language')")  # as in the oldest files
    connection.execute("PRAGMA user_version = 12")
    connection.close()
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    for query in ("the river", "Haus", "der Häuser", "house"):
        answer = await engine.query("docs", "a", QueryPlan(5, text=query))
        assert_ranked(answer.matches, reference(rows, query, "english"), 5)
    rows["r1"] = {"text": "der Fluss"}
    await engine.upsert("docs", "a", [record("r1", rows["r1"])])
    answer = await engine.query("docs", "a", QueryPlan(5, text="der rivers"))
    assert_ranked(answer.matches, reference(rows, "der rivers", "english"), 5)
    await engine.close()
