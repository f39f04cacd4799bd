"""Lexical and hybrid retrieval against a readable reference, through upserts, updates and deletions."""

import asyncio
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import filters
from app.domain import Change, EmbedSpec, Index, IndexSpec, Match, QueryPlan, Record, Selection
from app.ranking import K1, LEXICAL_WEIGHT, B
from app.storage import migrations, tables
from app.storage.database import connect
from app.storage.sqlite_engine import SqliteEngine
from app.terms import terms

pytestmark = pytest.mark.anyio

SPEC = IndexSpec("docs", 2, "cosine", EmbedSpec("any", "text"))
Rows = dict[str, dict[str, Any]]


def reference(rows: Rows, query: str, language: str = "english") -> dict[str, float]:
    """BM25 of every text that shares a term with the query, term by term as it is in the books."""
    held = {id: terms(m["text"], language) for id, m in rows.items() if isinstance(m.get("text"), str)}
    average = sum(map(len, held.values())) / max(1, len(held))
    scores: dict[str, float] = {}
    for term in terms(query, language):
        having = [id for id, words in held.items() if term in words]
        weight = math.log(1 + (len(held) - len(having) + 0.5) / (len(having) + 0.5))
        for id in having:
            tf, length = held[id].count(term), len(held[id])
            scores[id] = scores.get(id, 0) + weight * tf * (K1 + 1) / (tf + K1 * (1 - B + B * length / average))
    return scores


def most(rows: Rows, query: str) -> float:
    """What a text would score with every term of the query in plenty."""
    held = [terms(m["text"]) for m in rows.values() if isinstance(m.get("text"), str)]
    having = [sum(term in words for words in held) for term in terms(query)]
    return sum(math.log(1 + (len(held) - n + 0.5) / (n + 0.5)) * (K1 + 1) for n in having)


def scores_of(matches: Sequence[Match]) -> list[tuple[str, float]]:
    return [(match.id, match.score) for match in matches]


def assert_ranked(matches: Sequence[Match], expected: dict[str, float], top_k: int) -> None:
    wanted = sorted(((np.float32(score), id) for id, score in expected.items()), key=lambda row: (-row[0], row[1]))
    found = scores_of(matches)
    assert [score for _, score in found] == pytest.approx([float(score) for score, _ in wanted[:top_k]], rel=1e-5)
    for id, score in found:  # equal up to rounding may change places
        assert score == pytest.approx(expected[id], rel=1e-5)


def vector(n: int) -> Any:
    return np.array([math.cos(n), math.sin(n)], np.float32)


def record(id: str, fields: dict[str, Any]) -> Record:
    return Record(id, vector(int(id[1:])), fields)


WORDS = st.sampled_from(["apple", "apples", "pear", "plum tree", "the", "東京", "x"])
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)
FIELDS = st.fixed_dictionaries({"text": TEXTS, "g": st.integers(0, 1)})
OPERATION = st.one_of(
    st.tuples(st.just("upsert"), st.integers(0, 7), FIELDS),
    st.tuples(st.just("update"), st.integers(0, 7), TEXTS),
    st.tuples(st.just("delete"), st.integers(0, 7), st.none()),
    st.tuples(st.just("delete all"), st.none(), st.none()),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations=st.lists(OPERATION, min_size=1, max_size=14), query=TEXTS, kept=st.sampled_from([None, 0, 1]))
def test_after_any_operations_words_are_found_as_the_reference_finds_them(
    operations: list[tuple[str, int, Any]], query: str, kept: int | None
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            engine = await SqliteEngine.open_folder(Path(folder), 1, 0)
            await engine.create_index(SPEC)
            await engine.upsert("docs", "other", [record("r1", {"text": "apple pear x"})])
            await engine.upsert("docs", "a", [record("r9", {"text": "apple", "g": 0})])
            rows: Rows = {"r9": {"text": "apple", "g": 0}}
            for what, n, value in operations:
                id = f"r{n}"
                if what == "upsert":
                    rows[id] = value
                    await engine.upsert("docs", "a", [record(id, value)])
                elif what == "update" and id in rows:
                    rows[id] = {**rows[id], "text": value}
                    change = Change(metadata={"text": value})
                    await engine.update("docs", "a", Selection(ids=[id]), change, lambda *_: None, 10)
                elif what == "delete":
                    rows.pop(id, None)
                    await engine.delete("docs", "a", Selection(ids=[id]))
                elif what == "delete all":
                    rows.clear()
                    await engine.delete("docs", "a", Selection())
            condition = None if kept is None else filters.parse({"g": kept})
            expected = {id: s for id, s in reference(rows, query).items() if kept in (None, rows[id]["g"])}
            answer = await engine.query("docs", "a", QueryPlan(5, filter=condition, text=query))
            assert_ranked(answer.matches, expected, 5)

            both = await engine.query("docs", "a", QueryPlan(5, vector(0), filter=condition, text=query))
            top, lexical = most(rows, query), reference(rows, query)
            fused = {
                id: (math.cos(int(id[1:])) + LEXICAL_WEIGHT * (lexical.get(id, 0) / top if top else 0))
                / (1 + LEXICAL_WEIGHT)
                for id in rows
                if kept in (None, rows[id]["g"])
            }
            found = scores_of(both.matches)
            wanted = sorted(fused.values(), reverse=True)[:5]
            assert [score for _, score in found] == pytest.approx(wanted, abs=1e-5)
            await engine.close()

    asyncio.run(run())


async def test_the_parts_of_a_hybrid_score_are_told(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(SPEC)
    rows = {"r0": {"text": "pear"}, "r1": {"text": "apple apple"}, "r3": {"text": "apple plum and much more of it"}}
    await engine.upsert("docs", "a", [record(id, fields) for id, fields in rows.items()])
    matches = (await engine.query("docs", "a", QueryPlan(3, vector(0), text="apple"))).matches
    parts = {match.id: match.parts for match in matches}
    lexical = reference(rows, "apple")
    assert parts["r0"] is not None and parts["r1"] is not None and parts["r3"] is not None
    assert (parts["r0"].dense_rank, parts["r0"].lexical, parts["r0"].lexical_rank) == (1, None, None)
    assert (parts["r1"].dense_rank, parts["r1"].lexical_rank) == (2, 1)
    assert parts["r1"].lexical == pytest.approx(lexical["r1"])
    assert (parts["r3"].dense_rank, parts["r3"].lexical_rank) == (3, 2)
    assert parts["r1"].dense == pytest.approx(math.cos(1))
    await engine.close()


async def test_another_language_or_field_finds_the_texts_that_are_there_anew(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("r1", {"text": "Häuser", "title": "apples"})])

    async def found(text: str) -> list[str]:
        return [m.id for m in (await engine.query("docs", "a", QueryPlan(3, text=text))).matches]

    def with_embed(**change: Any) -> Any:
        def changed(index: Index) -> Index:
            spec = index.spec
            assert spec.embed is not None
            embed = msgspec.structs.replace(spec.embed, **change)
            return msgspec.structs.replace(index, spec=msgspec.structs.replace(spec, embed=embed))

        return changed

    assert (await found("Haus"), await found("apple")) == ([], [])
    await engine.configure_index("docs", with_embed(language="german"))
    assert (await found("Haus"), await found("apple")) == (["r1"], [])
    await engine.configure_index("docs", with_embed(language="english", text_field="title"))
    assert (await found("Haus"), await found("apple")) == ([], ["r1"])
    await engine.close()


async def test_texts_of_a_file_of_an_earlier_version_are_found(tmp_path: Path) -> None:
    file = tmp_path / "indexes" / "docs.sqlite"
    file.parent.mkdir()
    connection = connect(file, 0, "write")
    connection.execute("PRAGMA journal_mode = WAL")
    migrations.migrate(connection, migrations.STEPS[:4])
    tables.create_index(connection, SPEC)
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
