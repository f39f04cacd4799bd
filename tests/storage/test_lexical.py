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
from pinyon import filters
from pinyon.domain import EmbedSpec, Index, IndexSpec, Match, QueryPlan, Record, Selection, UpdatePlan
from pinyon.search.ranking import K1, LEXICAL_WEIGHT, LONGEST_DISCOUNTED, B
from pinyon.search.terms import query_terms, terms
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.schema import migrations, tables, vector_tables

from tests.storage.engines import EngineKind, every_engine

pytestmark = pytest.mark.anyio

SPEC = IndexSpec("docs", 2, "cosine", EmbedSpec("any", "text"))
Rows = dict[str, dict[str, Any]]


def reference(rows: Rows, query: str, language: str = "english", longest: float = math.inf) -> dict[str, float]:
    """BM25 of every text that shares a term with the query, term by term as it is in the books.

    longest: times the average, as which longer texts count.
    """
    held = {id: terms(m["text"], language) for id, m in rows.items() if isinstance(m.get("text"), str)}
    average = sum(map(len, held.values())) / max(1, len(held))
    scores: dict[str, float] = {}
    for term in query_terms(query, language):
        having = [id for id, words in held.items() if term in words]
        weight = math.log(1 + (len(held) - len(having) + 0.5) / (len(having) + 0.5))
        for id in having:
            tf, length = held[id].count(term), min(len(held[id]), longest * average)
            scores[id] = scores.get(id, 0) + weight * tf * (K1 + 1) / (tf + K1 * (1 - B + B * length / average))
    return scores


def most(rows: Rows, query: str) -> float:
    """What a text would score with every term of the query in plenty."""
    held = [terms(m["text"]) for m in rows.values() if isinstance(m.get("text"), str)]
    having = [sum(term in words for words in held) for term in query_terms(query, "english")]
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
@every_engine
def test_after_any_operations_words_are_found_as_the_reference_finds_them(
    kind: EngineKind, operations: list[tuple[str, int, Any]], query: str, kept: int | None
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            engine = await kind.open(Path(folder))
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
                    await engine.update("docs", "a", UpdatePlan(Selection(ids=[id]), metadata={"text": value}))
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
            top, lexical = most(rows, query), reference(rows, query, longest=LONGEST_DISCOUNTED)
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


@every_engine
async def test_the_parts_of_a_hybrid_score_are_told(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
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


@every_engine
async def test_another_language_or_field_finds_the_texts_that_are_there_anew(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("r1", {"text": "Häuser", "title": "apples"})])

    async def found(text: str) -> list[str]:
        return [m.id for m in (await engine.query("docs", "a", QueryPlan(3, text=text))).matches]

    def with_embed(**change: Any) -> Index:
        index = engine.index("docs")
        assert index.spec.embed is not None
        embed = msgspec.structs.replace(index.spec.embed, **change)
        return msgspec.structs.replace(index, spec=msgspec.structs.replace(index.spec, embed=embed))

    assert (await found("Haus"), await found("apple")) == ([], [])
    await engine.configure_index(with_embed(language="german"))
    assert (await found("Haus"), await found("apple")) == (["r1"], [])
    await engine.configure_index(with_embed(language="english", text_field="title"))
    assert (await found("Haus"), await found("apple")) == ([], ["r1"])
    await engine.close()


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


NOTES = [
    "the lease of the office ends in May", "milk and bread are in the fridge", "call the plumber about the sink",
    "the meeting was moved to Monday", "a new printer stands in the hall", "please water the plants",
    "the keys are with the neighbour", "we need more paper cups", "the train leaves at noon",
    "our guests arrive on Friday", "the window in the kitchen is open", "the invoice was paid yesterday",
    "remember to back up the laptop", "the garden needs a new fence", "there is cake in the kitchen",
    "the bus stop has moved", "his phone number has changed", "the heating is fixed again",
    "lunch is at one today", "the parcel is at the post office",
]  # fmt: skip


@every_engine
async def test_a_long_text_that_alone_has_the_rare_words_is_not_buried(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(SPEC)
    chance = np.random.default_rng(5)
    filler = " ".join(f"word{chance.integers(300)}" for _ in range(598))
    rows = [record(f"r{n}", {"text": text}) for n, text in enumerate(NOTES)]
    # Its vector is as far from the query's as that of a text of everything is, the notes' are near to it.
    rows = [Record(row.id, np.array([1.0, 0.9 + n / 200], np.float32), row.metadata) for n, row in enumerate(rows)]
    rows.append(Record("long", np.array([1.0, -0.1], np.float32), {"text": f"{filler} zorblatt clause"}))
    await engine.upsert("docs", "a", rows)
    plan = QueryPlan(21, np.array([1.0, 1.0], np.float32), text="zorblatt clause")
    assert (await engine.query("docs", "a", plan)).matches[0].id == "long"
    await engine.close()


WORDS = {
    "हिन्दी में किताब": ["किताब", "हिन्दी"],
    "தமிழ் நூல்": ["தமிழ்"],
    "বাংলা ভাষা": ["ভাষা"],
    "كِتَابٌ جَدِيد": ["كتاب", "كِتَابٌ"],
    "שָׁלוֹם עוֹלָם": ["שלום"],
    "un café noir": ["cafe", "café", "CAFÉ"],
    "猫と犬": ["猫", "犬", "猫と犬"],
    "한국어를 배운다": ["한국어", "한국어를", "어"],
    "ภาษาไทยง่าย": ["ไทย", "ภาษา"],
}


@every_engine
async def test_words_of_many_scripts_are_found_and_not_by_parts_of_others(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record(f"r{n}", {"text": text}) for n, text in enumerate(WORDS)])
    for n, queries in enumerate(WORDS.values()):
        for query in queries:
            found = (await engine.query("docs", "a", QueryPlan(10, text=query))).matches
            assert [match.id for match in found] == [f"r{n}"], query
    for part in ("क", "த", "caf", "水"):
        assert (await engine.query("docs", "a", QueryPlan(10, text=part))).matches == [], part
    await engine.close()


@pytest.mark.parametrize(("query", "first"), [("cafe", "r2"), ("café", "r1")])
@every_engine
async def test_the_exact_form_of_a_word_is_found_first(
    kind: EngineKind, tmp_path: Path, query: str, first: str
) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(SPEC)
    rows = [record("r1", {"text": "a café here"}), record("r2", {"text": "a cafe here"})]
    await engine.upsert("docs", "a", rows)
    found = (await engine.query("docs", "a", QueryPlan(10, text=query))).matches
    assert [match.id for match in found] == [first, ({"r1", "r2"} - {first}).pop()]
    await engine.close()


@every_engine
async def test_diacritics_can_be_kept(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    kept = msgspec.structs.replace(SPEC, embed=EmbedSpec("any", "text", language="none", diacritics="keep"))
    await engine.create_index(kept)
    await engine.upsert("docs", "a", [record("r1", {"text": "a café"})])
    assert (await engine.query("docs", "a", QueryPlan(10, text="cafe"))).matches == []
    assert len((await engine.query("docs", "a", QueryPlan(10, text="café"))).matches) == 1
    await engine.close()


async def test_a_file_of_an_earlier_analysis_is_brought_up_at_a_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(SPEC)
    monkeypatch.setattr("pinyon.storage.sqlite.text.lexical.terms", lambda text, language: text.split())
    await engine.upsert("docs", "a", [record("r1", {"text": "猫と犬"})])
    monkeypatch.undo()
    await engine._opened["docs"].database.write(lambda c: c.execute("UPDATE state SET analysis = 0") and None)
    assert (await engine.query("docs", "a", QueryPlan(10, text="猫"))).matches == []
    await engine.close()
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    assert len((await engine.query("docs", "a", QueryPlan(10, text="猫"))).matches) == 1
    assert "the words of index docs are brought up to date: 1 of 1 texts" in caplog.text
    await engine.close()
