"""Learned sparse vectors beside the dense ones: what searches make of them, whatever happens to the records."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon.domain import (
    EmbedSpec,
    Fingerprint,
    IndexSpec,
    PagePlan,
    QueryPlan,
    Record,
    ReembeddedText,
    Selection,
    SparseVector,
    UpdatePlan,
)
from pinyon.errors import EmbeddingMismatch
from pinyon.search.fusion import Sides, fused, learned_words
from pinyon.storage.engine import Engine

from tests.examples import examples
from tests.storage.engines import EngineKind, every_engine

pytestmark = pytest.mark.anyio

SPEC = IndexSpec("docs", 2, "cosine", EmbedSpec("m", "text", sparse_model="s"))
PRINTED = Fingerprint("m", "m", "1", "mean", "", "", 2, "s", "1")
QUERY = SparseVector(np.uint32([7, 2, 9]), np.float32([1.5, 0.25, 1.0]))


def learned(*weights: float) -> SparseVector | None:
    """Weights of the terms 0, 1, 2, ... without those that are 0; None if there are none."""
    terms = np.flatnonzero(weights).astype(np.uint32)
    return SparseVector(terms, np.float32(weights)[terms]) if len(terms) else None


def record(id: str, vector: SparseVector | None, text: str = "apple") -> Record:
    return Record(id, np.float32([1, 0]), {"text": text}, learned=vector)


def plan(**more: Any) -> QueryPlan:
    return QueryPlan(**{"top_k": 20, "vector": np.float32([1, 1]), "text": "pear", "learned": QUERY, **more})


def product(vector: SparseVector | None) -> float:
    if vector is None:
        return np.nan
    weights = dict(zip(QUERY.indices.tolist(), QUERY.values.tolist(), strict=True))
    return sum(weights.get(term, 0) * value for term, value in zip(vector.indices, vector.values.tolist(), strict=True))


def expected(vectors: dict[str, SparseVector | None]) -> dict[str, float]:
    """The learned side of each record, from the formula."""
    products = np.array([product(vector) for vector in vectors.values()])
    own = float(np.vdot(QUERY.values, QUERY.values))
    values = learned_words(products, own, float(np.nansum(products)), int(np.isfinite(products).sum()))
    return dict(zip(vectors, values.tolist(), strict=True))


async def shown(engine: Engine, namespace: str, **more: Any) -> dict[str, float]:
    answer = await engine.query("docs", namespace, plan(**more))
    return {match.id: np.nan if match.learned is None else match.learned for match in answer.matches}


WEIGHTS = st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.25, 3.0]), min_size=12, max_size=12).map(lambda w: learned(*w))
OPERATION = st.one_of(
    st.tuples(st.just("upsert"), st.sampled_from("abcd"), WEIGHTS),
    st.tuples(st.just("bring"), st.sampled_from("abcd"), st.none()),
    st.tuples(st.just("new text"), st.sampled_from("abcd"), st.none()),
    st.tuples(st.just("other field"), st.sampled_from("abcd"), st.none()),
    st.tuples(st.just("delete"), st.sampled_from("abcd"), st.none()),
    st.tuples(st.just("delete all"), st.just(""), st.none()),
    st.tuples(st.just("delete namespace"), st.just(""), st.none()),
    st.tuples(st.just("compact"), st.just(""), st.none()),
    st.tuples(st.just("reopen"), st.just(""), st.none()),
)


@settings(max_examples=examples(40))
@given(operations=st.lists(OPERATION, min_size=1, max_size=12))
@every_engine
def test_after_any_operations_scores_follow_from_the_vectors_of_the_records(
    kind: EngineKind, operations: list[Any]
) -> None:
    async def run(folder: Path) -> None:
        engine = await kind.open(folder)
        await engine.create_index(SPEC)
        other = {"x": learned(*[1.0] * 12), "y": learned(0, 0, 1)}
        await engine.upsert("docs", "other", [record(*each) for each in other.items()], PRINTED)
        await engine.upsert("docs", "n", [record("z", QUERY)], PRINTED)
        vectors: dict[str, SparseVector | None] = {"z": QUERY}
        for what, id, vector in operations:
            if what == "upsert":
                await engine.upsert("docs", "n", [record(id, None), record(id, vector)], PRINTED)
                vectors[id] = vector
            elif what == "bring":  # the vector of a caller, whose text no model has read
                await engine.upsert("docs", "n", [record(id, None)])
                vectors[id] = None
            elif what == "new text" and id in vectors:
                change = UpdatePlan(Selection(ids=[id]), np.float32([0, 1]), metadata={"text": "plum"})
                await engine.update("docs", "n", change)
                vectors[id] = None
            elif what == "other field" and id in vectors:
                await engine.update("docs", "n", UpdatePlan(Selection(ids=[id]), metadata={"g": 1}))
            elif what == "delete" and id in vectors:
                await engine.delete("docs", "n", Selection(ids=[id]))
                del vectors[id]
            elif what == "delete all":
                await engine.upsert("docs", "n", [record("last", QUERY)], PRINTED)
                await engine.delete("docs", "n", Selection())
                vectors = {}
            elif what == "delete namespace":
                await engine.upsert("docs", "n", [record("last", QUERY)], PRINTED)
                await engine.delete_namespace("docs", "n")
                vectors = {}
            elif what == "compact":
                await engine.compact("docs")
            elif what == "reopen":
                await engine.close()
                engine = await kind.open(folder)
        assert await shown(engine, "n") == pytest.approx(expected(vectors), nan_ok=True)
        assert await shown(engine, "n", text=None) == pytest.approx(expected(vectors), nan_ok=True)
        assert await shown(engine, "other") == pytest.approx(expected(other))
        await engine.close()
        assert kind.problems(folder, "docs") == []

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


async def test_they_are_a_third_side_of_hybrid_scores_and_explained(engine: Engine) -> None:
    await engine.create_index(SPEC)
    vectors = {"a": learned(0, 0, 0, 0, 0, 0, 0, 2), "b": learned(1), "c": None}
    await engine.upsert("docs", "n", [record(*each) for each in vectors.items()], PRINTED)
    answer = await engine.query("docs", "n", plan())
    third = expected(vectors)
    assert [match.id for match in answer.matches] == ["a", "c", "b"]
    for match in answer.matches:
        parts = match.parts
        assert parts is not None
        value = np.array([third[match.id]])
        sides = Sides(np.array([parts.similarity]), np.array([parts.share]), learned=value)
        assert match.score == pytest.approx(fused(sides)[0], abs=1e-6)
        if match.id == "c":
            assert (parts.learned, parts.learned_weight, parts.lexical_weight) == (None, None, 0.5)
        else:
            assert parts.learned == pytest.approx(third[match.id], abs=1e-6)
            assert parts.learned_weight == pytest.approx(0.2)


async def test_a_search_without_learned_words_has_two_sides(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "n", [record("a", QUERY)], PRINTED)
    (match,) = (await engine.query("docs", "n", plan(learned=None))).matches
    assert match.learned is None
    assert match.parts is not None
    assert match.parts.learned is None


async def test_they_never_appear_as_the_records_own_sparse_values(engine: Engine) -> None:
    await engine.create_index(msgspec.structs.replace(SPEC, metric="dotproduct"))
    await engine.upsert("docs", "n", [record("a", QUERY)], PRINTED)
    page = await engine.page("docs", "n", PagePlan(10))
    assert [each.sparse for each in page.records] == [None]
    (match,) = (await engine.query("docs", "n", plan(include_values=True))).matches
    assert match.sparse is None
    (by_vector,) = (await engine.query("docs", "n", QueryPlan(1, np.float32([1, 0]), QUERY))).matches
    assert by_vector.score == 1


async def test_one_index_never_has_those_of_two_models(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "n", [record("a", QUERY)], PRINTED)
    other = msgspec.structs.replace(PRINTED, sparse_version="2")
    with pytest.raises(EmbeddingMismatch, match=r"with 's' \(1\).*with 's' \(2\)"):
        await engine.upsert("docs", "n", [record("b", QUERY)], other)
    with pytest.raises(EmbeddingMismatch):
        await engine.query("docs", "n", plan(embedded_by=other))


@pytest.mark.parametrize("adds", [True, False])
async def test_re_embedding_adds_replaces_and_removes_them(engine: Engine, adds: bool) -> None:
    before = msgspec.structs.replace(PRINTED, sparse_model="", sparse_version="") if adds else PRINTED
    after = PRINTED if adds else msgspec.structs.replace(PRINTED, sparse_model="", sparse_version="")
    await engine.create_index(SPEC)
    await engine.upsert("docs", "n", [record(id, None if adds else QUERY) for id in "ab"], before)
    await engine.begin_reembedding("docs", SPEC, after)
    new = learned(0, 0, 4)
    texts = await engine.texts_to_reembed("docs", 10)
    rows = [ReembeddedText(text, np.float32([0, 1]), False, new if adds else None) for text in texts]
    await engine.keep_reembedded("docs", after, rows)
    assert await engine.finish_reembedding("docs")
    wanted = {id: new if adds else None for id in "ab"}
    assert await shown(engine, "n") == pytest.approx(expected(wanted), nan_ok=True)
    await engine.delete("docs", "n", Selection(ids=["a"]))
    assert await shown(engine, "n") == pytest.approx(expected({"b": wanted["b"]}), nan_ok=True)
