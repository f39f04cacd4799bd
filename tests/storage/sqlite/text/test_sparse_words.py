"""Searches of sparse indexes against a readable reference: rarity, filters, and words that must occur."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon import filters
from pinyon.domain import IndexSpec, QueryPlan, Record, SparseVector
from pinyon.search.ranking import idf
from pinyon.storage.sqlite.engine import SqliteEngine

from tests.examples import examples

TERMS = st.dictionaries(st.integers(0, 6), st.sampled_from([0.5, 1.0, 2.0]), min_size=1, max_size=4)
TEXTS = st.text(st.sampled_from("abAB ü%_'\"\\\n東-1"), max_size=12)
ROWS = st.lists(st.tuples(TERMS, TEXTS, st.integers(0, 1)), min_size=1, max_size=9)


def sparse(terms: dict[int, float]) -> SparseVector:
    return SparseVector(np.array(sorted(terms), np.uint32), np.array([terms[t] for t in sorted(terms)], np.float32))


@settings(max_examples=examples(120))
@given(rows=ROWS, query=TERMS, wanted=TEXTS, kept=st.sampled_from([None, 0, 1]), top_k=st.integers(1, 4))
def test_the_best_that_have_the_words_and_pass_the_filter(
    rows: list[tuple[dict[int, float], str, int]], query: dict[int, float], wanted: str, kept: int | None, top_k: int
) -> None:
    words = tuple(filters.words(wanted))
    condition = None if kept is None else filters.parse({"g": kept})

    async def search() -> list[tuple[str, float]]:
        with tempfile.TemporaryDirectory() as folder:
            engine = await SqliteEngine.open_folder(Path(folder), 1, 0)
            await engine.create_index(IndexSpec("docs", 0, "dotproduct"))
            records = [
                Record(f"r{n}", None, {"t": text, "g": group}, sparse(terms))
                for n, (terms, text, group) in enumerate(rows)
            ]
            await engine.upsert("docs", "a", records)
            must = filters.HasWords("t", words) if words else None
            plan = QueryPlan(top_k, sparse=sparse(query), filter=condition, by_rarity=True, words=must)
            answer = await engine.query("docs", "a", plan)
            await engine.close()
            return [(match.id, match.score) for match in answer.matches]

    expected: list[tuple[float, str]] = []
    for n, (terms, text, group) in enumerate(rows):
        if set(terms) & set(query) and kept in (None, group) and set(words) <= set(filters.words(text)):
            score = 0.0
            for term in sorted(set(terms) & set(query)):
                having = sum(term in others for others, _, _ in rows)
                score += terms[term] * query[term] * idf(len(rows), having)
            expected.append((float(np.float32(score)), f"r{n}"))
    expected.sort(key=lambda row: (-row[0], row[1]))
    found = asyncio.run(search())
    assert [id for id, _ in found] == [id for _, id in expected[:top_k]]
    assert [score for _, score in found] == pytest.approx([score for score, _ in expected[:top_k]], rel=1e-6)


def test_a_rarer_term_counts_more_and_none_counts_against() -> None:
    weights = [idf(1000, having) for having in (0, 1, 10, 500, 1000)]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] > 0
    assert idf(1000, 10) == pytest.approx(4.5574, abs=1e-4)


@pytest.mark.anyio
async def test_words_are_found_beyond_the_first_rows_that_are_read(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(IndexSpec("docs", 0, "dotproduct"))
    rows: list[Any] = [
        Record(f"r{n:04}", None, {"t": "rare word" if n >= 1497 else "common"}, sparse({1: 2.0 - n / 2000}))
        for n in range(1500)
    ]
    await engine.upsert("docs", "a", rows)

    async def ids(top_k: int, *words: str) -> list[str]:
        must = filters.HasWords("t", words)
        answer = await engine.query("docs", "a", QueryPlan(top_k, sparse=sparse({1: 1.0}), words=must))
        return [match.id for match in answer.matches]

    assert await ids(2, "rare") == ["r1497", "r1498"]
    assert await ids(2, "common") == ["r0000", "r0001"]
    assert len(await ids(2000, "common")) == 1497
    await engine.close()


@pytest.mark.anyio
async def test_scores_that_float32_cannot_hold_are_its_largest_number(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(IndexSpec("docs", 0, "dotproduct"))
    await engine.upsert("docs", "a", [Record("a", None, {}, sparse({1: 3e38}))])
    (match,) = (await engine.query("docs", "a", QueryPlan(1, sparse=sparse({1: 3e38})))).matches
    assert match.score == pytest.approx(float(np.finfo(np.float32).max))
    await engine.close()
