"""Lexical and hybrid retrieval against a readable reference, through upserts, updates and deletions."""

import asyncio
import math
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon import filters
from pinyon.domain import EmbedSpec, Index, QueryPlan, Record, Selection, UpdatePlan
from pinyon.search.fusion import BELOW_CHANCE, LEXICAL_WEIGHT
from pinyon.search.ranking import IN_MIX, LONGEST_DISCOUNTED

from tests.examples import examples
from tests.storage.engines import EngineKind, every_engine
from tests.storage.lexical_reference import SPEC, Rows, assert_ranked, most, record, reference, scores_of, vector

pytestmark = pytest.mark.anyio

WORDS = st.sampled_from(["apple", "apples", "pear", "plum tree", "the", "東京", "x"])
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)
FIELDS = st.fixed_dictionaries({"text": TEXTS, "g": st.integers(0, 1)})
OPERATION = st.one_of(
    st.tuples(st.just("upsert"), st.integers(0, 7), FIELDS),
    st.tuples(st.just("update"), st.integers(0, 7), TEXTS),
    st.tuples(st.just("delete"), st.integers(0, 7), st.none()),
    st.tuples(st.just("delete all"), st.none(), st.none()),
)


@settings(max_examples=examples(60))
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
            top = most(rows, query, IN_MIX.k1)
            lexical = reference(rows, query, k1=IN_MIX.k1, longest=LONGEST_DISCOUNTED, added=IN_MIX.added)
            chance = sum(math.cos(int(id[1:])) for id in rows) / max(1, len(rows))
            similarity = {id: max(-1.0, (math.cos(int(id[1:])) - chance) / max(1 - chance, 1e-3)) for id in rows}
            similarity = {id: value if value > 0 else BELOW_CHANCE * value for id, value in similarity.items()}
            fused = {
                id: (similarity[id] + LEXICAL_WEIGHT * (lexical.get(id, 0) / top if top else 0)) / (1 + LEXICAL_WEIGHT)
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
    # Its vector is as far from the query's as that of a text of everything is, the notes' are nearer to it: cosines of
    # 0.26, and of 0.36 to 0.64.
    rows = [Record(row.id, vector(math.radians(50 + n)), row.metadata) for n, row in enumerate(rows)]
    rows.append(Record("long", vector(math.radians(75)), {"text": f"{filler} zorblatt clause"}))
    await engine.upsert("docs", "a", rows)
    plan = QueryPlan(21, vector(0), text="zorblatt clause")
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


AUTO = msgspec.structs.replace(SPEC, embed=EmbedSpec("any", "text", language="auto"))


@every_engine
async def test_a_namespace_of_several_languages_finds_each_by_its_own_endings(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(AUTO)
    german = ["Die Häuser stehen an dem Fluss", "Der Hund ist nicht in der Stadt", "Neue Bücher", "Wir sind in Berlin"]
    await engine.upsert("docs", "a", [record(f"r{n}", {"text": text}) for n, text in enumerate(german)])
    await engine.upsert("docs", "a", [record("r4", {"text": "The dogs are barking at the heating engineers"})])
    await engine.upsert("docs", "a", [record("r5", {"text": "Собаки лают на прохожих, и это не всем нравится"})])
    asked = {"Haus": "r0", "das Haus am Fluss": "r0", "Buch": "r2", "barks": "r4", "heated": "r4", "собака лает": "r5"}
    for query, id in asked.items():
        assert [match.id for match in (await engine.query("docs", "a", QueryPlan(1, text=query))).matches] == [id], (
            query
        )
    await engine.close()
    assert kind.problems(tmp_path, "docs") == []
